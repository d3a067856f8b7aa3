"""Distribution matching: how far the mean embedding of what is kept lies from the pool's, over random networks.

The objective of dataset condensation by distribution matching (Zhao and Bilen 2021, arXiv 2110.04181), with the CLIP
embedding for input: its own means, and those of random one-layer networks, which see more than the mean.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

NETWORKS, UNITS, SEED = 2, 64, 0


@dataclass(frozen=True, slots=True)
class RandomFeatures:
    """Features whose means are compared: the embedding, and the rectified units of random networks.

    Weights, float32 (d, networks * units), are normal, of variance 1: unit-norm rows give units of variance 1.
    """

    weights: Float32Array

    @classmethod
    def of(cls, dimension: int) -> "RandomFeatures":
        """Return the networks for vectors of a dimension, always the same."""
        random = np.random.default_rng(SEED)
        return cls(random.standard_normal((dimension, NETWORKS * UNITS), dtype=np.float32))

    def sums(self, vectors: Float32Array) -> Float64Array:
        """Return the sum of the features of unit-norm vectors, float32 (n, d), float64 (d + networks * units,)."""
        units = np.maximum(vectors @ self.weights, 0)
        return np.concatenate([part.sum(axis=0, dtype=np.float64) for part in (vectors, units)])


def matching_distance(pool: Float64Array, pool_rows: int, kept: Float64Array, kept_rows: int) -> float | None:
    """Return the squared distance between two means of features, the embedding's and each network's on average.

    Sums of features are float64 (d + networks * units,); None where either is of no rows.
    """
    if pool_rows == 0 or kept_rows == 0:
        return None
    squared = (pool / pool_rows - kept / kept_rows) ** 2
    networks = squared[-NETWORKS * UNITS :].reshape(NETWORKS, UNITS).mean(axis=1)
    return float(f"{np.mean([squared[: -NETWORKS * UNITS].sum(), *networks]):.4g}")
