"""Expected novelty: picks that are probably right and not covered yet, most expected gain first.

Pair i is right with probability p_i. A pick s covers its neighbour i with probability p_s * exp(-d2_si / u), where d2
is the squared length of their edge and u a unit; nu_i, the product of (1 - p_s * exp(-d2_si / u)) over the picked
neighbours s, is the probability that none covers i (a noisy-or). The gain of a pick, q_i * p_i * nu_i - (1 - p_i), is
its expected novelty, weighed by q_i, less its expected harm. Gains only fall, and the order of the picks does not
depend on the budget.
"""

import math

import numpy as np
import numpy.typing as npt

from filtering.core.csr import FloatArray, Int64Array, KnnGraph
from filtering.core.errors import InputError
from filtering.selection.kernel import Float64Array, pick_novel


def select(
    graph: KnnGraph,
    probabilities: npt.ArrayLike,
    budget: int,
    *,
    weights: npt.ArrayLike | None = None,
    unit: float | None = None,
) -> Int64Array:
    """Return the nodes with the largest expected gains in greedy order: the i-th pick does not depend on the budget.

    Repeatedly picks i = argmax of q_i * p_i * nu_i - (1 - p_i) over the unpicked, with nu_i = product over picked
    neighbours s of (1 - p_s * exp(-d2_si / unit)).

    Parameters
    ----------
    graph : KnnGraph
        A graph of n nodes with squared Euclidean distances.
    probabilities : float (n,)
        The probability p of each node to be right, from 0 to 1.
    budget : int
        Picks wanted; a budget above n picks every node.
    weights : float (n,), optional
        What the novelty q of each node counts, from 0 to 1. By default 1.
    unit : float, optional
        The squared length at which a sure pick leaves its neighbour 1 - 1/e of its novelty; above 0. By default
        `unit_of` the graph's edges.

    Returns
    -------
    int64 (min(budget, n),)
        Node ids in the order they were picked; ties go to the lowest id.

    Raises
    ------
    InputError
        If probabilities or weights are not n numbers from 0 to 1, the budget is negative, or the unit is not above 0.
    """
    return _picked(graph, probabilities, budget, unit, weights)[0]


def distinct_right(graph: KnnGraph, probabilities: npt.ArrayLike, *, unit: float | None = None) -> float:
    """Return the sum of the positive gains of the picks of `select`: how many distinct right nodes a graph holds.

    Parameters
    ----------
    graph : KnnGraph
        A graph of n nodes with squared Euclidean distances.
    probabilities : float (n,)
        The probability of each node to be right, from 0 to 1.
    unit : float, optional
        As in `select`.

    Returns
    -------
    float
        From 0 to the sum of the probabilities.

    Raises
    ------
    InputError
        As `select` does.
    """
    picks, gains = _picked(graph, probabilities, graph.nodes, unit)
    return float(np.maximum(gains[picks], 0.0).sum())


def unit_of(distances: FloatArray) -> float:
    """Return the median of squared lengths, float (m,), or where that is 0 of those above 0; 1 if there are none.

    Where half of the edges or more join equal vectors, the median says nothing about the other edges.
    """
    lengths = distances.astype(np.float64)
    for some in (lengths, lengths[lengths > 0]):
        if len(some) and (median := float(np.median(some))) > 0:
            return median
    return 1.0


def weights_of(ranks: FloatArray) -> Float64Array:
    """Return (1 + rank) / 2, float64 (n,), of ranks in the pool, float (n,), from 0 to 1, of how well pairs fit."""
    return (1.0 + ranks.astype(np.float64)) / 2.0


def gain_of(p: float, nu: float, weight: float = 1.0) -> float:
    """Return the gain of a pick that is right with probability p, and not covered yet with probability nu."""
    return weight * p * nu - (1.0 - p)


def _picked(
    graph: KnnGraph,
    probabilities: npt.ArrayLike,
    budget: int,
    unit: float | None,
    weights: npt.ArrayLike | None = None,
) -> tuple[Int64Array, Float64Array]:
    """Return the picks, and the gain of every node, that of a picked one as it was then."""
    p = _checked("probabilities", probabilities, graph.nodes)
    worth = p if weights is None else p * _checked("weights", weights, graph.nodes)
    unit = unit_of(graph.distances) if unit is None else unit
    if not (math.isfinite(unit) and unit > 0):
        raise InputError(f"unit must be finite and above 0, got {unit}")
    if budget < 0:
        raise InputError(f"budget must not be negative, got {budget}")
    nu, gain, picks = np.ones(len(p)), worth - (1.0 - p), np.empty(min(int(budget), len(p)), dtype=np.int64)
    heap, place = np.arange(len(p)), np.arange(len(p))
    pick_novel(graph.indptr, graph.indices, graph.distances, p, worth, nu, gain, heap, place, picks, unit)
    return picks, gain


def _checked(name: str, values: npt.ArrayLike, nodes: int) -> Float64Array:
    array = np.asarray(values)
    if array.shape != (nodes,):
        raise InputError(f"{name} must have shape ({nodes},), one for each node, got {array.shape}")
    try:
        array = array.astype(np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be numbers, got {array.dtype}") from None
    outside = ~((array >= 0) & (array <= 1))
    if outside.any():
        node = int(np.flatnonzero(outside)[0])
        raise InputError(f"{name} must lie between 0 and 1, found {array[node]} at node {node}")
    return array
