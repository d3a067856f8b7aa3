"""D2 Pruning (Maharana et al. 2023, arXiv 2310.07931): the exact greedy over a kNN graph.

Forward message passing mixes a sample's difficulty with its neighbours'; reverse message passing picks the best
sample again and again, each pick weighing on its neighbours. Distances are squared, as in the paper's kernel.
"""

import math

import numpy as np
import numpy.typing as npt
from numba import njit

from filtering.errors import InputError
from filtering.graph.csr import FloatArray, Int64Array, KnnGraph

Float64Array = npt.NDArray[np.float64]


def select(
    graph: KnnGraph,
    scores: npt.ArrayLike,
    budget: int,
    *,
    gamma_forward: float = 1.0,
    gamma_reverse: float = 1.0,
) -> Int64Array:
    """Return the D2 coreset in greedy order: the i-th pick does not depend on the budget.

    Parameters
    ----------
    graph : KnnGraph
        n nodes, squared Euclidean distances.
    scores : float (n,)
        Higher means more worth keeping. Finite.
    budget : int
        Picks wanted; a budget above n picks every node.
    gamma_forward, gamma_reverse : float
        Messages are weighted by exp(-gamma * distance); finite and not negative.

    Returns
    -------
    int64 (min(budget, n),)
        Node ids in the order they were picked; ties go to the lowest id.

    Raises
    ------
    InputError
        If scores are not n finite numbers, or the budget or a gamma is negative.
    """
    messages = forward_messages(graph, scores, gamma_forward)
    return greedy_picks(graph, messages, budget, gamma_reverse)


def forward_messages(graph: KnnGraph, scores: npt.ArrayLike, gamma: float = 1.0) -> Float64Array:
    """Return x_i = s_i + sum over neighbours j of exp(-gamma * d_ij) * s_j, float64 (n,)."""
    checked = _checked_scores(scores, graph.nodes)
    _check_gamma("gamma_forward", gamma)
    messages: Float64Array = _forward(graph.indptr, graph.indices, graph.distances, checked, gamma)
    return messages


def greedy_picks(graph: KnnGraph, messages: npt.ArrayLike, budget: int, gamma: float = 1.0) -> Int64Array:
    """Return the picks of reverse message passing, int64 (min(budget, n),), in greedy order.

    Repeatedly picks i = argmax of x over the unpicked (ties: lowest id) and subtracts
    exp(-gamma * d_ij) * x_i from every unpicked neighbour j. Scores may fall below zero, after which a pick
    raises its neighbours: the queue moves entries both ways.
    """
    checked = _checked_scores(messages, graph.nodes)
    _check_gamma("gamma_reverse", gamma)
    if budget < 0:
        raise InputError(f"budget must not be negative, got {budget}")
    budget = min(int(budget), graph.nodes)
    picks: Int64Array = _greedy(graph.indptr, graph.indices, graph.distances, checked.copy(), budget, gamma)
    return picks


def _checked_scores(scores: npt.ArrayLike, nodes: int) -> Float64Array:
    array = np.asarray(scores)
    if array.shape != (nodes,):
        raise InputError(f"scores must have shape ({nodes},), one for each node, got {array.shape}")
    try:
        array = array.astype(np.float64)
    except (TypeError, ValueError):
        raise InputError(f"scores must be numbers, got {array.dtype}") from None
    if not np.isfinite(array).all():
        node = int(np.flatnonzero(~np.isfinite(array))[0])
        raise InputError(f"scores must be finite, found {array[node]} at node {node}")
    return array


def _check_gamma(name: str, gamma: float) -> None:
    if not (math.isfinite(gamma) and gamma >= 0):
        raise InputError(f"{name} must be finite and not negative, got {gamma}")


@njit(cache=True)  # type: ignore[untyped-decorator]
def _forward(
    indptr: Int64Array, indices: Int64Array, distances: FloatArray, scores: Float64Array, gamma: float
) -> Float64Array:
    messages = scores.copy()
    for node in range(len(indptr) - 1):
        for edge in range(indptr[node], indptr[node + 1]):
            messages[node] += math.exp(-gamma * np.float64(distances[edge])) * scores[indices[edge]]
    return messages


@njit(cache=True)  # type: ignore[untyped-decorator]
def _before(x: Float64Array, a: int, b: int) -> bool:
    return bool(x[a] > x[b] or (x[a] == x[b] and a < b))


@njit(cache=True)  # type: ignore[untyped-decorator]
def _rise(heap: Int64Array, place: Int64Array, x: Float64Array, at: int) -> int:
    node = heap[at]
    while at > 0:
        parent = (at - 1) >> 1
        if not _before(x, node, heap[parent]):
            break
        heap[at] = heap[parent]
        place[heap[at]] = at
        at = parent
    heap[at] = node
    place[node] = at
    return at


@njit(cache=True)  # type: ignore[untyped-decorator]
def _sink(heap: Int64Array, place: Int64Array, x: Float64Array, at: int, size: int) -> None:
    node = heap[at]
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and _before(x, heap[child + 1], heap[child]):
            child += 1
        if not _before(x, heap[child], node):
            break
        heap[at] = heap[child]
        place[heap[at]] = at
        at = child
    heap[at] = node
    place[node] = at


@njit(cache=True)  # type: ignore[untyped-decorator]
def _greedy(
    indptr: Int64Array, indices: Int64Array, distances: FloatArray, x: Float64Array, budget: int, gamma: float
) -> Int64Array:
    """Indexed binary heap, largest x first; `place[i]` is i's position in the heap, -1 once it is picked."""
    size = len(indptr) - 1
    heap = np.arange(size)
    place = np.arange(size)
    for at in range(size // 2 - 1, -1, -1):
        _sink(heap, place, x, at, size)
    picks = np.empty(budget, dtype=np.int64)
    for rank in range(budget):
        pick = heap[0]
        picks[rank] = pick
        place[pick] = -1
        size -= 1
        if size > 0:
            heap[0] = heap[size]
            _sink(heap, place, x, 0, size)
        for edge in range(indptr[pick], indptr[pick + 1]):
            neighbour = indices[edge]
            if place[neighbour] >= 0:
                x[neighbour] -= math.exp(-gamma * np.float64(distances[edge])) * x[pick]
                at = _rise(heap, place, x, place[neighbour])
                _sink(heap, place, x, at, size)
    return picks


__all__ = ["forward_messages", "greedy_picks", "select"]
