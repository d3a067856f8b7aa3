"""Recall@k: how many of the true nearest neighbours the graph found."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
TOLERANCE = 1e-6
# Rows of the pool whose neighbours are searched exactly in every run.
QUERIES = 512


def merged_nearest(parts: Sequence[Float32Array], k: int) -> Float32Array:
    """Return the k smallest of each query's distances over all parts, ascending, float32 (q, k)."""
    together = np.concatenate(parts, axis=1)
    nearest: Float32Array = np.sort(together, axis=1)[:, :k]
    return nearest


def recall_at_k(found: Float32Array, exact: Float32Array) -> float:
    """Return the share of true neighbours found, by distance, so that equally far neighbours count alike.

    Parameters
    ----------
    found : float32 (q, k)
        Distances of the neighbours found, infinite where there was none.
    exact : float32 (q, k)
        Distances of the true nearest neighbours, ascending, infinite where the pool has fewer than k others.

    Returns
    -------
    float
        Between 0 and 1; 1 where there is nothing to find.
    """
    there = np.isfinite(exact)
    if not there.any():
        return 1.0
    farthest = np.where(there, exact, -np.inf).max(axis=1, initial=-np.inf)
    near = (found <= farthest[:, None] + TOLERANCE) & np.isfinite(found)
    return float(np.minimum(near.sum(axis=1), there.sum(axis=1)).sum() / there.sum())
