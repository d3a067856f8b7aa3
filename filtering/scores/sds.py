"""Sample diversity score: how far a sample lies from its nearest neighbours of the same concept."""

import numpy as np
import numpy.typing as npt
from numba import njit

from filtering.core.csr import FloatArray, Int64Array, KnnGraph


def same_class_distances(graph: KnnGraph, k: int) -> npt.NDArray[np.float32]:
    """Return the mean Euclidean distance of each node to its k nearest neighbours (SDS, arXiv 2410.11215).

    The graph has the edges inside one concept, with squared distances; the paper's classes are the concepts. A node
    with fewer than k edges has all of them counted; one without gets the largest distance of the others, 0 where there
    is none. Float32 (n,), higher for a sample that adds more diversity.
    """
    means: npt.NDArray[np.float64] = _mean_lengths(graph.indptr, graph.distances, k)
    alone = np.isnan(means)
    means[alone] = means[~alone].max(initial=0.0)
    return means.astype(np.float32)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _mean_lengths(indptr: Int64Array, distances: FloatArray, k: int) -> npt.NDArray[np.float64]:
    """Return the mean root of each row's k least values, NaN where a row is empty."""
    means = np.full(len(indptr) - 1, np.nan)
    for node in range(len(means)):
        nearest = np.sort(distances[indptr[node] : indptr[node + 1]])[:k]
        if len(nearest):
            means[node] = np.sqrt(nearest.astype(np.float64)).mean()
    return means
