"""The figures of a selection, as pure functions: concepts, coverage, distribution matching.

Matching is the objective of dataset condensation by distribution matching (Zhao and Bilen 2021, arXiv 2110.04181), with
the CLIP embedding for input: its own means, and those of random one-layer networks, which see more than the mean.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

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


def nearest_distances(queries: Float32Array, vectors: Float32Array, choices: npt.NDArray[np.bool_]) -> Float32Array:
    """Return each query's squared distance to the nearest vector of two choices, float32 (2, q); infinite without one.

    Queries, float32 (q, d), and vectors, float32 (n, d), are unit-norm rows; `choices`, bool (2, n), may share rows,
    whose products are computed once.
    """
    one, other = choices
    # Those of the first choice stand first, and those of the second last.
    parts = [np.flatnonzero(part) for part in (one & ~other, one & other, other & ~one)]
    products = queries @ vectors[np.concatenate(parts)].T
    ends = len(parts[0]) + len(parts[1]), len(parts[0])
    spans = (products[:, : ends[0]], products[:, ends[1] :])
    largest = [span.max(axis=1, initial=np.float32(-np.inf)) for span in spans]
    return np.asarray(np.maximum(2 - 2 * np.stack(largest), 0))


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

    def sums(self, vectors: Float32Array, choices: npt.NDArray[np.bool_]) -> Float64Array:
        """Return the sums of the features of the rows in each choice, float64 (c, d + networks * units).

        `vectors`, float32 (n, d), are unit-norm rows; `choices`, bool (c, n), may share rows, whose features are
        computed once.
        """
        units = np.maximum(vectors @ self.weights, 0)
        found = np.zeros((len(choices), vectors.shape[1] + units.shape[1]))
        _add_chosen(vectors, choices, found[:, : vectors.shape[1]])
        _add_chosen(units, choices, found[:, vectors.shape[1] :])
        return found


@njit(cache=True)  # type: ignore[untyped-decorator]
def _add_chosen(rows: Float32Array, choices: npt.NDArray[np.bool_], sums: Float64Array) -> None:
    for row in range(len(rows)):
        for choice in range(len(choices)):
            if choices[choice, row]:
                _add(rows[row], sums[choice])


@njit(cache=True)  # type: ignore[untyped-decorator]
def _add(row: Float32Array, sums: Float64Array) -> None:
    for column in range(len(row)):
        sums[column] += row[column]


def matching_distance(pool: Float64Array, pool_rows: int, kept: Float64Array, kept_rows: int) -> float | None:
    """Return the squared distance between two means of features, the embedding's and each network's on average.

    Sums of features are float64 (d + networks * units,); None where either is of no rows.
    """
    if pool_rows == 0 or kept_rows == 0:
        return None
    squared = (pool / pool_rows - kept / kept_rows) ** 2
    networks = squared[-NETWORKS * UNITS :].reshape(NETWORKS, UNITS).mean(axis=1)
    return float(f"{np.mean([squared[: -NETWORKS * UNITS].sum(), *networks]):.4g}")
