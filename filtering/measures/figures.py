"""The figures of a selection, as pure functions: concepts, coverage, distribution matching.

Matching is the objective of dataset condensation by distribution matching (Zhao and Bilen 2021, arXiv 2110.04181), with
the CLIP embedding for input: its own means, and those of random one-layer networks, which see more than the mean.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filtering.core.csr import KnnGraph

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

NETWORKS, UNITS, SEED = 2, 64, 0


def effective_concepts(counts: npt.NDArray[np.int64]) -> float:
    """Return exp(entropy) of samples over concepts, counts int64 (C,): C where all have as many, 1 where one has."""
    shares = counts[counts > 0] / max(int(counts.sum()), 1)
    return round(float(np.exp(-(shares * np.log(shares)).sum())), 3) if len(shares) else 0.0


def support_distances(graph: KnnGraph, kept: npt.NDArray[np.bool_]) -> Float64Array:
    """Return how far each dropped sample of a concept is from the nearest kept one among its neighbours, float64 (m,).

    The few-shot hardness of a concept, its Spread: dropped samples are the tests, kept ones the support set. Euclidean,
    of the dropped nodes in order, from a graph of the edges inside the concept; infinite where no neighbour is kept.
    """
    lengths = np.where(kept[graph.indices], graph.distances.astype(np.float64), np.inf)
    nearest = np.full(graph.nodes, np.inf)
    np.minimum.at(nearest, np.repeat(np.arange(graph.nodes), graph.degrees), lengths)
    apart: Float64Array = np.sqrt(nearest[~kept])
    return apart


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
