"""What reverse messages did to one sample: D2's picks taken again, with an eye on its score."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filtering.core.csr import Int64Array, KnnGraph
from filtering.selection.d2 import PAPER, Float64Array
from filtering.selection.kernel import Kernel


@dataclass(frozen=True, slots=True)
class Push:
    """What one pick took from a sample.

    Attributes
    ----------
    rank : the pick's place in the order, from 0.
    pick : its node.
    amount : what it took; negative where a pick of a score below zero gave.
    """

    rank: int
    pick: int
    amount: float


@dataclass(frozen=True, slots=True)
class Replay:
    """What became of one sample's score.

    Attributes
    ----------
    heard : its score after forward messages, before any pick.
    pushes : what picks took from it, in their order, before it was picked or the last pick was.
    left : what was left of it then.
    last : the score of the last pick, when it was picked; NaN where there was none.
    """

    heard: float
    pushes: tuple[Push, ...]
    left: float
    last: float


def replay(
    graph: KnnGraph, messages: Float64Array, picks: Int64Array, node: int, gamma: float, kernel: Kernel = PAPER
) -> Replay:
    """Take the picks of `greedy_picks` once more and note what they did to one node.

    Parameters
    ----------
    graph : KnnGraph
        The graph that was picked from, n nodes.
    messages : float64 (n,)
        Scores after forward messages.
    picks : int64 (p,)
        In their order.
    node : int
        Of which the score is followed, until it is picked itself.
    gamma : float
        As `greedy_picks` had it.
    kernel : Kernel
        As `greedy_picks` had it.
    """
    x = np.array(messages, dtype=np.float64)
    there = np.ones(graph.nodes, dtype=bool)
    pushes, left, last = list[Push](), float(x[node]), np.nan
    for rank, pick in enumerate(picks.tolist()):
        there[pick], last = False, float(x[pick])
        if there[node] or pick == node:
            left = float(x[node])
        if rank == len(picks) - 1:
            break
        for neighbour, weight in _edges(graph, pick, gamma, kernel):
            if there[neighbour]:
                x[neighbour] -= weight * last
                if neighbour == node:
                    pushes.append(Push(rank, pick, weight * last))
    return Replay(float(messages[node]), tuple(pushes), left, last)


def _edges(graph: KnnGraph, node: int, gamma: float, kernel: Kernel) -> Iterator[tuple[int, float]]:
    first, last = int(graph.indptr[node]), int(graph.indptr[node + 1])
    weights: npt.NDArray[np.float64] = kernel.weights(graph.distances[first:last], gamma)
    return zip(graph.indices[first:last].tolist(), weights.tolist(), strict=True)
