"""Coverage: how far the pool's samples are from the nearest one kept."""

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]


def nearest_distances(queries: Float32Array, vectors: Float32Array, before: Float32Array) -> Float32Array:
    """Return each query's squared distance to the nearest vector, or `before` where that is less, float32 (q,).

    Queries, float32 (q, d), and vectors, float32 (n, d), are unit-norm rows; `before` is infinite at first.
    """
    if len(vectors) == 0 or len(queries) == 0:
        return before
    found: Float32Array = np.minimum(before, np.maximum(2 - 2 * (queries @ vectors.T).max(axis=1), 0))
    return found


def mean_distance(squared: Float32Array) -> float | None:
    """Return the mean Euclidean distance, None where there is no query or nothing is kept."""
    if len(squared) == 0 or not np.isfinite(squared).all():
        return None
    return round(float(np.sqrt(squared.astype(np.float64)).mean()), 5)
