"""The effect of reverse messages on one sample: D2's picks taken again, noting its score."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filtering.core.csr import Int64Array, KnnGraph
from filtering.selection.d2 import PAPER
from filtering.selection.kernel import Float64Array, Kernel


@dataclass(frozen=True, slots=True)
class Push:
    """A pick's message to a sample: the pick's rank from 0, its node, and what the sample's score fell by.

    The amount is negative where the pick's score was below zero.
    """

    rank: int
    pick: int
    amount: float


@dataclass(frozen=True, slots=True)
class Replay:
    """The score of one sample during the picks."""

    initial: float  # after forward messages, before any pick
    pushes: tuple[Push, ...]  # the messages that it got before it was picked, or before the last pick, in order
    left: float  # when it was picked, or at the last pick
    last: float  # the score of the last pick, when it was picked; NaN where there was none


def replay(
    graph: KnnGraph, messages: Float64Array, picks: Int64Array, node: int, gamma: float, kernel: Kernel = PAPER
) -> Replay:
    """Take the picks of `greedy_picks` again and note their messages to one node until it is picked itself.

    `messages`, float64 (n,), are the scores after forward messages, `picks`, int64 (p,), in order; gamma and kernel are
    those that `greedy_picks` had.
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
