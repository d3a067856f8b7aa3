"""The effect of picks on one sample: D2's reverse messages to it, and what covers it, noted pick by pick."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filtering.core.csr import Int64Array, KnnGraph
from filtering.selection.d2 import PAPER
from filtering.selection.kernel import Float64Array, Kernel
from filtering.selection.novelty import gain_of, unit_of


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
    last: float | None  # the score of the last pick, when it was picked; None where there was none


def replay(
    graph: KnnGraph, messages: Float64Array, picks: Int64Array, node: int, gamma: float, kernel: Kernel = PAPER
) -> Replay:
    """Take the picks of `greedy_picks` again and note their messages to one node until it is picked itself.

    `messages`, float64 (n,), are the scores after forward messages, `picks`, int64 (p,), in order; gamma and kernel are
    those that `greedy_picks` had.
    """
    x = np.array(messages, dtype=np.float64)
    there = np.ones(graph.nodes, dtype=bool)
    pushes, left, last = list[Push](), float(x[node]), None
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


@dataclass(frozen=True, slots=True)
class Cover:
    """A pick that covers a sample: the pick's rank from 0, its node, and by which factor the sample's novelty fell."""

    rank: int
    pick: int
    factor: float


@dataclass(frozen=True, slots=True)
class Novelty:
    """The expected novelty of one sample during the picks."""

    covers: tuple[Cover, ...]  # the picks before it was picked, or before the last pick, in order
    novelty: float  # nu, when it was picked, or at the last pick
    last_gain: float | None  # the gain of the last pick, when it was picked; None where there was none


def replay_novelty(
    graph: KnnGraph, probabilities: Float64Array, picks: Int64Array, node: int, weights: Float64Array | None = None
) -> Novelty:
    """Return which picks of `novelty.select` cover a node, and what that and the last pick were worth.

    `probabilities` and `weights` are float64 (n,), `picks`, int64 (p,), in order.
    """
    ranks = np.full(graph.nodes, graph.nodes)
    ranks[picks] = np.arange(len(picks))
    unit, last = unit_of(graph.distances), len(picks) - 1
    covers = _covers(graph, probabilities, ranks, node, min(int(ranks[node]), max(last, 0)), unit)
    if last < 0:
        return Novelty((), 1.0, None)
    end = int(picks[last])
    before = _covers(graph, probabilities, ranks, end, last, unit)
    weight = 1.0 if weights is None else float(weights[end])
    return Novelty(covers, _product(covers), gain_of(float(probabilities[end]), _product(before), weight))


def _covers(graph: KnnGraph, p: Float64Array, ranks: Int64Array, node: int, end: int, unit: float) -> tuple[Cover, ...]:
    """Return the neighbours of a node whose ranks are below `end`, in the order of their ranks."""
    weights = {at: weight for at, weight in _edges(graph, node, 1.0, Kernel(unit=unit)) if ranks[at] < end}
    order = sorted(weights, key=lambda at: int(ranks[at]))
    return tuple(Cover(int(ranks[at]), at, 1.0 - float(p[at]) * weights[at]) for at in order)


def _product(covers: tuple[Cover, ...]) -> float:
    return math.prod(cover.factor for cover in covers)


def _edges(graph: KnnGraph, node: int, gamma: float, kernel: Kernel) -> Iterator[tuple[int, float]]:
    first, last = int(graph.indptr[node]), int(graph.indptr[node + 1])
    weights: npt.NDArray[np.float64] = kernel.weights(graph.distances[first:last], gamma)
    return zip(graph.indices[first:last].tolist(), weights.tolist(), strict=True)
