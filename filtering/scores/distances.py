"""Scores that are distances: to a concept's centre (prototypicality), to its nearest samples (diversity, SDS)."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from filtering.core.csr import FloatArray, Int64Array, KnnGraph
from filtering.core.errors import InputError
from filtering.core.portable_math import row_products

Float32Array = npt.NDArray[np.float32]

# Images whose centroids are gathered at once.
BLOCK_ROWS = 16_384


def prototypicalities(
    images: Float32Array, homes: npt.NDArray[np.integer[Any]], centroids: Float32Array
) -> Float32Array:
    """Return the cosine distance of each image to its own concept's centroid, float32 (n,) (arXiv 2206.14486).

    `images`, float32 (n, d), and `centroids`, float32 (K, d), are unit-norm rows; `homes`, integers (n,), is each
    image's own centroid. Higher is less typical and harder: the paper keeps those where data are plenty.
    """
    scores = np.empty(len(images), dtype=np.float32)
    for start in range(0, len(images), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        scores[block] = 1 - row_products(images[block], centroids[homes[block]])
    return scores


def same_class_distances(graph: KnnGraph, k: int) -> npt.NDArray[np.float32]:
    """Return the mean Euclidean distance of each node to its k nearest neighbours (SDS, arXiv 2410.11215).

    The graph has the edges inside one concept, with squared distances; the paper's classes are the concepts. A node
    with fewer than k edges has all of them counted; one without gets the largest distance of the others, 0 where there
    is none. Float32 (n,), higher for a sample that adds more diversity.
    """
    if k < 1:
        raise InputError(f"k must be at least 1, got {k}")
    means = np.full(graph.nodes, np.nan)
    least = np.empty(min(k, int(graph.degrees.max(initial=0))), dtype=graph.distances.dtype)
    _mean_lengths(graph.indptr, graph.distances, least, means)
    alone = np.isnan(means)
    means[alone] = means[~alone].max(initial=0.0)
    return means.astype(np.float32)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _mean_lengths(indptr: Int64Array, distances: FloatArray, least: FloatArray, means: npt.NDArray[np.float64]) -> None:
    """Write the mean root of each row's k least values, those that `least`, (k,), has room for; not of empty rows."""
    for node in range(len(means)):
        count = 0
        for edge in range(indptr[node], indptr[node + 1]):
            distance = distances[edge]
            if count < len(least) or distance < least[count - 1]:
                count = min(count + 1, len(least))
                at = count - 1
                while at > 0 and least[at - 1] > distance:
                    least[at] = least[at - 1]
                    at -= 1
                least[at] = distance
        if count:
            total = 0.0
            for at in range(count):
                total += math.sqrt(np.float64(least[at]))
            means[node] = total / count
