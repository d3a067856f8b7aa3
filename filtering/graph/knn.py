"""Exact k nearest neighbours of one partition, by blocked search and exact re-ranking."""

import faiss
import numpy as np
import numpy.typing as npt
from numba import njit

from filtering.core.csr import Int64Array, KnnGraph, symmetrised
from filtering.core.errors import InputError

# The search works with |a|^2 + |b|^2 - 2ab, which loses digits for near-duplicates; a few more candidates
# than asked for are fetched and re-ranked with sum((a - b)^2), so that ties and duplicates come out exact.
SPARE_CANDIDATES = 8
# Elements held at once while searching in float64: 100 MB.
PRECISE_ELEMENTS = 1 << 22
PRECISE_DIGITS = 13


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
    """Return the k nearest candidates, finite float32 (c, d), of each query, finite float32 (q, d), itself left out.

    `own`, int64 (q,), is the candidate that is the query itself, -1 where it is not among them. Neighbours, int64
    (q, k), are positions of candidates, nearest first, ties to the lowest position, -1 where there are fewer than k;
    distances, float32 (q, k), are squared Euclidean ones, infinite where there is no neighbour.
    """
    if k < 1:
        raise InputError(f"k must be a positive whole number, got {k}")
    width = min(len(candidates), k + 1 + SPARE_CANDIDATES)
    if width == 0 or len(queries) == 0:
        return _no_neighbours(len(queries), k)
    found, reach = _search(queries, candidates, width)
    neighbours, distances = _ranked(queries, candidates, found, own, k)
    # The last candidate fetched must lie beyond the k-th neighbour by more than the search may have erred.
    unsure = np.flatnonzero(reach <= distances[:, -1] + _search_error(queries, candidates))
    step = max(1, PRECISE_ELEMENTS // len(candidates))
    for start in range(0, len(unsure), step):
        rows = unsure[start : start + step]
        precise = _precise_search(queries[rows], candidates, width)
        neighbours[rows], distances[rows] = _ranked(queries[rows], candidates, precise, own[rows], k)
    return neighbours, distances


def checked_embeddings(embeddings: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Return the embeddings as contiguous float32 (n, d), refusing other shapes and non-finite values."""
    array = np.ascontiguousarray(embeddings, dtype=np.float32)
    if array.ndim != 2:
        raise InputError(f"embeddings must have shape (n, d), got {array.shape}")
    if not np.isfinite(array).all():
        raise InputError("embeddings must be finite, found NaN or infinity")
    return array


def _search(
    queries: npt.NDArray[np.float32], candidates: npt.NDArray[np.float32], width: int
) -> tuple[Int64Array, npt.NDArray[np.float32]]:
    """Return `width` candidates of each query and how far they reach: infinitely, if they are all there are."""
    if width == len(candidates):
        return np.tile(np.arange(width), (len(queries), 1)), np.full(len(queries), np.inf, dtype=np.float32)
    index = faiss.IndexFlatL2(candidates.shape[1])
    index.add(candidates)
    distances, found = index.search(queries, width)
    return found, distances[:, -1]


def _search_error(queries: npt.NDArray[np.float32], candidates: npt.NDArray[np.float32]) -> float:
    """Return a bound on the rounding error of |a|^2 + |b|^2 - 2ab in float32."""
    largest = max(float(np.einsum("nd,nd->n", rows, rows).max()) for rows in (queries, candidates))
    return 16 * float(np.finfo(np.float32).eps) * largest


def _precise_search(queries: npt.NDArray[np.float32], candidates: npt.NDArray[np.float32], width: int) -> Int64Array:
    """Search in float64, where near-duplicates keep their order; equal distances go to the lowest position."""
    left, right = queries.astype(np.float64), candidates.astype(np.float64)
    norms = np.einsum("nd,nd->n", right, right)
    apart = np.einsum("nd,nd->n", left, left)[:, None] + norms - 2 * (left @ right.T)
    return np.argsort(np.round(apart, PRECISE_DIGITS), axis=1, kind="stable")[:, :width]


def _ranked(
    queries: npt.NDArray[np.float32],
    candidates: npt.NDArray[np.float32],
    found: Int64Array,
    own: Int64Array,
    k: int,
) -> tuple[Int64Array, npt.NDArray[np.float32]]:
    """Return the k nearest of the candidates found, by exact distance."""
    distances = _squared_distances(queries, candidates, found)
    distances[found == own[:, None]] = np.inf
    order = np.lexsort((found, distances), axis=1)[:, :k]
    return _padded(np.take_along_axis(found, order, 1), np.take_along_axis(distances, order, 1), k)


def _squared_distances(
    queries: npt.NDArray[np.float32], candidates: npt.NDArray[np.float32], found: Int64Array
) -> npt.NDArray[np.float32]:
    distances = np.empty(found.shape, dtype=np.float32)
    _measure(queries, candidates, found, distances)
    return distances


@njit(cache=True)  # type: ignore[untyped-decorator]
def _measure(
    queries: npt.NDArray[np.float32],
    candidates: npt.NDArray[np.float32],
    found: Int64Array,
    distances: npt.NDArray[np.float32],
) -> None:
    """Write squared distances, added up in one order, so that they are the same on every CPU."""
    for query in range(found.shape[0]):
        for at in range(found.shape[1]):
            total, candidate = 0.0, candidates[found[query, at]]
            for place in range(len(candidate)):
                difference = np.float64(candidate[place]) - np.float64(queries[query, place])
                total += difference * difference
            distances[query, at] = total


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
