"""The nearest centroids of vectors, exactly: by a flat scan, or through levels of groups where there are many.

Vectors and centroids are rounded to steps of 2^-15 (`core.fixed_point`). Their distances are then whole numbers, the
same on every CPU and in any order, and equally near centroids are told apart by their index.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from filtering.core.fixed_point import SQUARED_STEPS, from_steps, in_steps, product, squared_lengths

Float32Array = npt.NDArray[np.float32]
Int16Array = npt.NDArray[np.int16]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]

# Rows that are compared group by group, so that the centroids of a group are read once for all of them.
BLOCK_ROWS = 16_384
# Groups whose centroids a vector is compared with: its true nearest centroid is among them in 98 of 100 cases. One of
# so many groups is, where that is more: the more there are, the more lie near each other.
PROBES, PROBED_SHARE = 8, 8
# The same where groups lie in groups, and these in others, from the largest groups to the smallest.
DEEP_PROBES = (12, 48, 128)
# With fewer groups a flat scan is as fast.
FEW_GROUPS = 24
# Centroids that stay in the fastest cache while rows pass.
TILE = 24
# Of a place that no centroid has taken.
FARTHEST = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Centroids:
    """Centroids in the order of their groups."""

    steps: Int16Array  # int16 (K, d), unit norm, in steps of 2^-15
    groups: Int32Array  # int32 (K,), ascending
    spreads: Float32Array  # float32 (K,), the mean cosine distance of the rows that moved it last, 1 if none has
    # int32 (K, b), ascending: the groups of groups, the largest first; none (b = 0) of some ten thousand centroids
    branches: Int32Array

    @classmethod
    def unmoved(cls, vectors: Float32Array, groups: Int32Array) -> "Centroids":
        """Return unit-norm centroids, float32 (K, d), over two levels, whose spreads are not known yet."""
        return cls.in_groups(in_steps(vectors), groups, np.zeros((len(vectors), 0), dtype=np.int32))

    @classmethod
    def in_groups(cls, steps: Int16Array, groups: Int32Array, branches: Int32Array) -> "Centroids":
        """Return centroids whose spreads are not known yet."""
        return cls(steps, groups, np.ones(len(steps), dtype=np.float32), branches)

    @property
    def vectors(self) -> Float32Array:
        """All centroids as float32 (K, d)."""
        return from_steps(self.steps)

    def take(self, places: Any) -> "Centroids":
        """Return some of them, in their order."""
        return Centroids(self.steps[places], self.groups[places], self.spreads[places], self.branches[places])


@dataclass(frozen=True, slots=True)
class _Level:
    """The groups of one level."""

    # int16 (n, d), the means of their centroids: not scaled to length 1, for the centre of a loose group is short, and
    # its distances stay large
    centres: Int16Array
    starts: Int64Array  # int64 (n + 1,), where their groups of the next level begin, of the last one their centroids


class CentroidIndex:
    """Finds nearest centroids through their groups: a vector is compared with those of its 8 nearest groups or more.

    With sqrt(K) groups of sqrt(K) centroids that is 9 * sqrt(K) distances a vector and not K, up to K = 4,096. With no
    more than 24 groups every centroid is compared. Where `Centroids.branches` has further levels, a vector goes down
    them: 189 * K^(1/4) distances, with two of them. Memory beside the centroids: 2 * d + 8 bytes a group, 8 a centroid.
    """

    def __init__(self, centroids: Centroids) -> None:
        # Mapped arrays are arrays of another class, which numba does not know.
        self.steps = np.asarray(centroids.steps)
        self.lengths = squared_lengths(self.steps)
        self.levels = _levels(self.steps, centroids)
        self.probes = DEEP_PROBES if len(self.levels) > 1 else (probed_groups(len(np.unique(centroids.groups))),)

    def nearest(self, vectors: Float32Array, count: int) -> tuple[Int32Array, Float32Array]:
        """Return the `count` centroids nearest to unit-norm vectors, float32 (n, d), nearest first, with distances.

        Concepts are int32 (n, min(count, K)), -1 where the groups compared have fewer centroids; distances, 1 - cosine,
        are float32, infinite there. Equally near centroids: the lowest index first.
        """
        concepts, squared = self.nearest_steps(in_steps(vectors), count)
        return concepts, as_cosine_distances(squared)

    def nearest_steps(self, rows: Int16Array, count: int) -> tuple[Int32Array, Int64Array]:
        """Return the same of vectors in steps, int16 (n, d), with squared distances in squared steps, int64.

        These are `FARTHEST` where there is no centroid.
        """
        count = min(count, len(self.steps))
        concepts, squared = _lists(len(rows), count)
        for start in range(0, len(rows) if count else 0, BLOCK_ROWS):
            block = slice(start, start + BLOCK_ROWS)
            self._search(rows[block], concepts[block], squared[block])
        return concepts, squared

    def _search(self, rows: Int16Array, concepts: Int32Array, squared: Int64Array) -> None:
        if not self.levels:
            _scan(rows, self.steps, self.lengths, concepts, squared)
        else:
            nodes, apart = _lists(len(rows), self.probes[0])
            # Of centres the product alone counts: no length is added.
            _scan(rows, self.levels[0].centres, _no_lengths(self.levels[0]), nodes, apart)
            for (level, below), probes in zip(pairwise(self.levels), self.probes[1:], strict=True):
                found, apart = _lists(len(rows), probes)
                _descend(rows, *_by_node(nodes), level.starts, below.centres, _no_lengths(below), found, apart)
                nodes = found
            _descend(rows, *_by_node(nodes), self.levels[-1].starts, self.steps, self.lengths, concepts, squared)
        _add_lengths(squared, squared_lengths(rows))


def probed_groups(groups: int) -> int:
    """Return with the centroids of how many groups a vector is compared."""
    return max(PROBES, groups // PROBED_SHARE)


def nearest_centroids(vectors: Float32Array, centroids: Float32Array, count: int) -> tuple[Int32Array, Float32Array]:
    """Return the `count` nearest of all centroids, by a flat scan; values as in `CentroidIndex.nearest`."""
    concepts, squared = nearest_of_all(in_steps(vectors), in_steps(centroids), count)
    return concepts, as_cosine_distances(squared)


def nearest_of_all(rows: Int16Array, centroids: Int16Array, count: int) -> tuple[Int32Array, Int64Array]:
    """Return the `count` nearest of all centroids, both in steps; values as in `CentroidIndex.nearest_steps`."""
    concepts, squared = _lists(len(rows), min(count, len(centroids)))
    if concepts.size:
        _scan(rows, centroids, squared_lengths(centroids), concepts, squared)
        _add_lengths(squared, squared_lengths(rows))
    return concepts, squared


def as_cosine_distances(squared: Int64Array) -> Float32Array:
    """Return squared distances in squared steps as 1 - cosine, float32: half of them, as of unit vectors."""
    halves: Float32Array = (squared * (0.5 / SQUARED_STEPS)).astype(np.float32)
    halves[squared == FARTHEST] = np.inf
    return halves


def _levels(steps: Int16Array, centroids: Centroids) -> list[_Level]:
    """Return the levels of groups, the largest groups first; none of few groups."""
    labels = [*centroids.branches.T, centroids.groups]
    bounds = [np.flatnonzero(np.diff(label, prepend=-1, append=-1)) for label in labels] if len(steps) else []
    if not bounds or len(bounds[-1]) - 1 <= FEW_GROUPS:
        return []
    levels = []
    for first, below in zip(bounds, [*bounds[1:], None], strict=True):
        starts = first if below is None else np.searchsorted(below, first)
        levels.append(_Level(_means(steps, first), starts.astype(np.int64)))
    return levels


def _means(steps: Int16Array, bounds: Int64Array) -> Int16Array:
    means = np.empty((len(bounds) - 1, steps.shape[1]), dtype=np.int16)
    _average(steps, bounds, means)
    return means


def _no_lengths(level: _Level) -> Int64Array:
    return np.zeros(len(level.centres), dtype=np.int64)


def _lists(rows: int, count: int) -> tuple[Int32Array, Int64Array]:
    return np.full((rows, count), -1, dtype=np.int32), np.full((rows, count), FARTHEST, dtype=np.int64)


def _by_node(nodes: Int32Array) -> tuple[Int64Array, Int32Array]:
    """Return the rows that ask for a node, and the nodes, by node: int64 (m,), int32 (m,)."""
    order = np.argsort(nodes, axis=None, kind="stable")
    asked = nodes.ravel()[order]
    there = asked >= 0
    return order[there] // max(nodes.shape[1], 1), asked[there]


@njit(cache=True)  # type: ignore[untyped-decorator]
def _scan(rows: Int16Array, targets: Int16Array, lengths: Int64Array, found: Int32Array, apart: Int64Array) -> None:
    for first in range(0, len(targets), TILE):
        for row in range(len(rows)):
            _compare(rows[row], targets, lengths, first, min(first + TILE, len(targets)), found[row], apart[row])


@njit(cache=True)  # type: ignore[untyped-decorator]
def _descend(
    rows: Int16Array,
    asking: Int64Array,
    nodes: Int32Array,
    starts: Int64Array,
    targets: Int16Array,
    lengths: Int64Array,
    found: Int32Array,
    apart: Int64Array,
) -> None:
    begin = 0
    while begin < len(nodes):
        node, end = nodes[begin], begin
        while end < len(nodes) and nodes[end] == node:
            end += 1
        for first in range(starts[node], starts[node + 1], TILE):
            last = min(first + TILE, starts[node + 1])
            for at in range(begin, end):
                _compare(rows[asking[at]], targets, lengths, first, last, found[asking[at]], apart[asking[at]])
        begin = end


@njit(cache=True)  # type: ignore[untyped-decorator]
def _compare(
    vector: Int16Array,
    targets: Int16Array,
    lengths: Int64Array,
    first: int,
    end: int,
    found: Int32Array,
    apart: Int64Array,
) -> None:
    """Offer some targets to the list of a vector, which stays sorted: by |target|^2 - 2 <vector, target>, by index."""
    last = len(found) - 1
    for at in range(first, end):
        value = lengths[at] - 2 * np.int64(product(vector, targets[at]))
        if value < apart[last] or (value == apart[last] and at < found[last]):
            place = last
            while place > 0 and (apart[place - 1] > value or (apart[place - 1] == value and found[place - 1] > at)):
                apart[place], found[place] = apart[place - 1], found[place - 1]
                place -= 1
            apart[place], found[place] = value, at


@njit(cache=True)  # type: ignore[untyped-decorator]
def _add_lengths(squared: Int64Array, lengths: Int64Array) -> None:
    for row in range(len(squared)):
        for at in range(squared.shape[1]):
            if squared[row, at] != FARTHEST:
                squared[row, at] += lengths[row]


@njit(cache=True)  # type: ignore[untyped-decorator]
def _average(steps: Int16Array, bounds: Int64Array, means: Int16Array) -> None:
    for node in range(len(means)):
        total = np.zeros(steps.shape[1], dtype=np.int64)
        for at in range(bounds[node], bounds[node + 1]):
            for column in range(steps.shape[1]):
                total[column] += steps[at, column]
        for column in range(steps.shape[1]):
            means[node, column] = np.int16(np.rint(total[column] / (bounds[node + 1] - bounds[node])))


@njit(cache=True)  # type: ignore[untyped-decorator]
def offer(
    offered: Float32Array, rows: npt.NDArray[np.int64], first: int, concepts: Int32Array, distances: Float32Array
) -> None:
    """Offer the candidates `first`, `first` + 1, ... to the lists of some rows, which stay sorted by distance."""
    count = concepts.shape[1]
    for at in range(len(rows)):
        row = rows[at]
        worst = distances[row, count - 1]
        for column in range(offered.shape[1]):
            distance = offered[at, column]
            if distance < worst:
                place = count - 1
                while place > 0 and distances[row, place - 1] > distance:
                    distances[row, place] = distances[row, place - 1]
                    concepts[row, place] = concepts[row, place - 1]
                    place -= 1
                distances[row, place] = distance
                concepts[row, place] = first + column
                worst = distances[row, count - 1]
