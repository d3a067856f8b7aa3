"""D2 Pruning (Maharana et al. 2023, arXiv 2310.07931): the exact greedy over a kNN graph.

Forward message passing mixes a sample's difficulty with its neighbours'; reverse message passing picks the best
sample again and again, each pick weighing on its neighbours. Distances are squared, as in the paper's kernel, unless
the caller asks for the unsquared ones of the released code's dense path.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from filtering.core.csr import FloatArray, Int64Array, KnnGraph
from filtering.core.errors import InputError
from filtering.selection.kernel import Distance, Float64Array, Kernel, Scale, check_option, pick_greedily, with_messages

Messages = Literal["sum", "mean"]


@dataclass(frozen=True, slots=True, eq=False)
class Border:
    """Edges that leave the graph: they carry forward messages, from scores that stay as they are.

    Of each of the m edges: the node at this end, int64, the squared Euclidean distance, and the other end's score.
    """

    rows: Int64Array
    distances: FloatArray
    scores: Float64Array


PAPER = Kernel()
CLOSED = Border(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32), np.zeros(0))


def select(
    graph: KnnGraph,
    scores: npt.ArrayLike,
    budget: int,
    *,
    gamma_forward: float = 1.0,
    gamma_reverse: float = 1.0,
    rounds: int = 1,
    distance: Distance = "squared",
    scale: Scale = "fixed",
    messages: Messages = "sum",
) -> Int64Array:
    """Return the D2 coreset in greedy order: the i-th pick does not depend on the budget.

    Parameters
    ----------
    graph : KnnGraph
        A graph of n nodes with squared Euclidean distances.
    scores : float (n,)
        Higher means more worth keeping. Finite.
    budget : int
        Picks wanted; a budget above n picks every node.
    gamma_forward, gamma_reverse : float
        Messages are weighted by exp(-gamma * distance); finite and not negative.
    rounds : int
        Rounds of forward messages; 0 picks by the scores themselves, the paper has 1.
    distance : "squared" or "euclidean"
        The distance in the weight.
    scale : "fixed" or "median"
        Whether distances are divided by their median over the graph's edges.
    messages : "sum" or "mean"
        Whether a node's score grows by the weighted sum of its neighbours' scores or by their weighted mean.

    Returns
    -------
    int64 (min(budget, n),)
        Node ids in the order they were picked; ties go to the lowest id.

    Raises
    ------
    InputError
        If scores are not n finite numbers, the budget, a gamma or the rounds are negative, or an option is unknown.
    """
    kernel = Kernel.of(graph.distances, distance=distance, scale=scale)
    mixed = forward_messages(graph, scores, gamma_forward, rounds=rounds, messages=messages, kernel=kernel)
    return greedy_picks(graph, mixed, budget, gamma_reverse, kernel=kernel)


def forward_messages(
    graph: KnnGraph,
    scores: npt.ArrayLike,
    gamma: float = 1.0,
    *,
    rounds: int = 1,
    messages: Messages = "sum",
    kernel: Kernel = PAPER,
    border: Border = CLOSED,
) -> Float64Array:
    """Return x_i = s_i + sum over neighbours j of w_ij * s_j, w_ij = exp(-gamma * d_ij / unit).

    With `mean` the sum is divided by sum_j w_ij; a node without neighbours (or with none in reach) keeps its score.
    Every further round takes the last one's x for the scores. The border's edges count among the neighbours.

    Parameters
    ----------
    graph : KnnGraph
        A graph of n nodes with squared Euclidean distances.
    scores : float (n,)
        The scores s, finite.
    gamma : float
        How fast a message fades with distance; finite and not negative.
    rounds : int
        How often messages are passed; after 0 rounds x is s.
    messages : "sum" or "mean"
        Whether a node's score grows by the weighted sum of its neighbours' scores or by their weighted mean.
    kernel : Kernel
        Which distance d is, and its unit; by default the squared one, undivided.
    border : Border
        Edges that leave the graph; none unless given. The scores at their other ends are the same in every round.

    Returns
    -------
    float64 (n,)
        The scores with their messages.

    Raises
    ------
    InputError
        If scores are not n finite numbers, gamma or the rounds are negative, or `messages` is unknown.
    """
    x = _checked_scores(scores, graph.nodes)
    _check_gamma("gamma_forward", gamma)
    check_option("messages", messages, Messages)
    if rounds < 0:
        raise InputError(f"rounds must not be negative, got {rounds}")
    for _ in range(rounds):
        if messages == "mean":
            x = x + _message_means(graph, x, gamma, kernel, border)
        else:
            x = _message_sums(graph, x, x, gamma, kernel, border)
    return x


def greedy_picks(
    graph: KnnGraph, messages: npt.ArrayLike, budget: int, gamma: float = 1.0, *, kernel: Kernel = PAPER
) -> Int64Array:
    """Return the picks of reverse message passing, in greedy order.

    Repeatedly picks i = argmax of x over the unpicked (ties: lowest id) and subtracts
    exp(-gamma * d_ij / unit) * x_i from every unpicked neighbour j. Scores may fall below zero, after which a pick
    raises its neighbours: the queue moves entries both ways.

    Parameters
    ----------
    graph : KnnGraph
        A graph of n nodes with squared Euclidean distances.
    messages : float (n,)
        Scores after forward messages, x; finite.
    budget : int
        Picks wanted; a budget above n picks every node.
    gamma : float
        How fast a pick's weight on its neighbours fades with distance; finite and not negative.
    kernel : Kernel
        Which distance d is, and its unit; by default the squared one, undivided.

    Returns
    -------
    int64 (min(budget, n),)
        Node ids in the order they were picked; ties go to the lowest id.

    Raises
    ------
    InputError
        If messages are not n finite numbers, or the budget or gamma is negative.
    """
    x = _checked_scores(messages, graph.nodes)
    _check_gamma("gamma_reverse", gamma)
    if budget < 0:
        raise InputError(f"budget must not be negative, got {budget}")
    budget = min(int(budget), graph.nodes)
    edges = graph.indptr, graph.indices, graph.distances
    heap, place, picks = np.arange(len(x)), np.arange(len(x)), np.empty(budget, dtype=np.int64)
    pick_greedily(*edges, x, heap, place, picks, gamma, kernel.root, kernel.unit)
    return picks


def _message_sums(
    graph: KnnGraph, start: Float64Array, scores: Float64Array, gamma: float, kernel: Kernel, border: Border
) -> Float64Array:
    """Return start_i + sum_j w_ij * scores_j."""
    edges = graph.indptr, graph.indices, graph.distances
    sums: Float64Array = with_messages(*edges, start, scores, gamma, kernel.root, kernel.unit)
    np.add.at(sums, border.rows, kernel.weights(border.distances, gamma) * border.scores)
    return sums


def _message_means(graph: KnnGraph, scores: Float64Array, gamma: float, kernel: Kernel, border: Border) -> Float64Array:
    """Return sum_j w_ij * scores_j / sum_j w_ij, 0 where no neighbour is in reach."""
    nothing, ones = np.zeros(graph.nodes), np.ones(graph.nodes)
    sums = _message_sums(graph, nothing, scores, gamma, kernel, border)
    # The weights' sum is the message where every score is 1.
    weights = _message_sums(graph, nothing, ones, gamma, kernel, replace(border, scores=np.ones(len(border.rows))))
    mean: Float64Array = np.divide(sums, weights, out=nothing, where=weights > 0)
    return mean


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
