"""Exact k nearest neighbours of one partition, by blocked search and exact re-ranking."""

import faiss
import numpy as np
import numpy.typing as npt

from filtering.errors import InputError
from filtering.graph.csr import Int64Array, KnnGraph, symmetrised

# The search works with |a|^2 + |b|^2 - 2ab, which loses digits for near-duplicates; a few more candidates
# than asked for are fetched and re-ranked with sum((a - b)^2), so that ties and duplicates come out exact.
SPARE_CANDIDATES = 8
RERANK_ROWS = 4096


def knn_graph(embeddings: npt.NDArray[np.float32], k: int) -> KnnGraph:
    """Return the exact kNN graph of one partition, symmetrised by union.

    Parameters
    ----------
    embeddings : float32 (n, d)
        Finite rows; usually unit-norm CLIP embeddings.
    k : int
        Neighbours of each node before symmetrising; at most n - 1 are used.

    Returns
    -------
    KnnGraph
        Distances are squared Euclidean, float32. Equally far neighbours: the lowest index first.

    Raises
    ------
    InputError
        If the embeddings are not a finite (n, d) array or k is not positive.
    """
    embeddings = checked_embeddings(embeddings)
    nodes = len(embeddings)
    everyone = np.arange(nodes)
    neighbours, distances = nearest_neighbours(embeddings, embeddings, everyone, k)
    sources = np.repeat(everyone, neighbours.shape[1])
    found = neighbours.ravel() >= 0
    return symmetrised(sources[found], neighbours.ravel()[found], distances.ravel()[found], nodes)


def nearest_neighbours(
    queries: npt.NDArray[np.float32], candidates: npt.NDArray[np.float32], own: Int64Array, k: int
) -> tuple[Int64Array, npt.NDArray[np.float32]]:
    """Return the k nearest candidates of each query, itself left out.

    Parameters
    ----------
    queries : float32 (q, d)
    candidates : float32 (c, d)
    own : int64 (q,)
        The candidate that is the query itself, -1 where it is not among them.
    k : int
        Neighbours wanted.

    Returns
    -------
    neighbours : int64 (q, k)
        Candidate positions, nearest first, ties to the lowest position; -1 where there are fewer than k.
    distances : float32 (q, k)
        Squared Euclidean distances; infinite where there is no neighbour.
    """
    if k < 1:
        raise InputError(f"k must be a positive whole number, got {k}")
    width = min(len(candidates), k + 1 + SPARE_CANDIDATES)
    if width == 0 or len(queries) == 0:
        return _no_neighbours(len(queries), k)
    found = _search(queries, candidates, width)
    distances = _squared_distances(queries, candidates, found)
    distances[found == own[:, None]] = np.inf
    order = np.lexsort((found, distances), axis=1)[:, :k]
    return _padded(np.take_along_axis(found, order, 1), np.take_along_axis(distances, order, 1), k)


def checked_embeddings(embeddings: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Return the embeddings as contiguous float32 (n, d), refusing other shapes and non-finite values."""
    array = np.ascontiguousarray(embeddings, dtype=np.float32)
    if array.ndim != 2:
        raise InputError(f"embeddings must have shape (n, d), got {array.shape}")
    if not np.isfinite(array).all():
        raise InputError("embeddings must be finite, found NaN or infinity")
    return array


def _search(queries: npt.NDArray[np.float32], candidates: npt.NDArray[np.float32], width: int) -> Int64Array:
    if width == len(candidates):
        return np.tile(np.arange(width), (len(queries), 1))
    index = faiss.IndexFlatL2(candidates.shape[1])
    index.add(candidates)
    found: Int64Array = index.search(queries, width)[1]
    return found


def _squared_distances(
    queries: npt.NDArray[np.float32], candidates: npt.NDArray[np.float32], found: Int64Array
) -> npt.NDArray[np.float32]:
    distances = np.empty(found.shape, dtype=np.float32)
    for start in range(0, len(queries), RERANK_ROWS):
        rows = slice(start, start + RERANK_ROWS)
        difference = candidates[found[rows]] - queries[rows, None, :]
        np.einsum("qkd,qkd->qk", difference, difference, out=distances[rows])
    return distances


def _padded(
    neighbours: Int64Array, distances: npt.NDArray[np.float32], k: int
) -> tuple[Int64Array, npt.NDArray[np.float32]]:
    ids, lengths = _no_neighbours(len(neighbours), k)
    width = neighbours.shape[1]
    ids[:, :width] = np.where(np.isinf(distances), -1, neighbours)
    lengths[:, :width] = distances
    return ids, lengths


def _no_neighbours(queries: int, k: int) -> tuple[Int64Array, npt.NDArray[np.float32]]:
    return np.full((queries, k), -1, dtype=np.int64), np.full((queries, k), np.inf, dtype=np.float32)
