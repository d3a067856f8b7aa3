"""Where oversized concepts are cut: between rows that lie apart, and never between equal ones.

The rows nearest to one centroid are divided by a tree of hyperplanes until each leaf, a section, is small enough. A
plane lies across the direction in which the rows spread most, in the widest gap near their middle. One vector that
more rows have than a section may hold cannot be divided by any plane: such copies have sections of their own, among
which the uid decides. Near-duplicates stay together where a gap sets them apart; a group of them larger than a section
is cut.

Rows, directions and products are whole numbers (`core.fixed_point`): a row lies on the same side on every CPU, at any
place of any block.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from filtering.concepts.nearest import Int16Array, Int32Array, Int64Array
from filtering.core.fixed_point import SQUARED_STEPS, STEPS, in_steps, product
from filtering.embedding.artifacts import unit_steps

Halves = npt.NDArray[np.float16]
# Power iterations for the direction of the largest spread, and the rows they take; an approximate one does as well.
ITERATIONS, DIRECTING_ROWS = 12, 8_192
# A gap is looked for among the middle half of the rows.
MIDDLE = 0.25
DEEPEST = 64
# Of a vector that has sections of its own, about so many copies are replicas in the leaf of what lies around it.
ANCHORS = 64


@dataclass(frozen=True, slots=True)
class Cut:
    """The sections of one centroid's rows: leaves of a tree first, then those of each vector that many rows have."""

    directions: Int16Array  # int16 (t, d), of the tree's planes, unit norm in steps; none where there is one leaf
    thresholds: Int64Array  # int64 (t,), squared steps: rows with a product at or above it are on the right
    children: Int32Array  # int32 (t, 2), left and right: another plane, or a leaf as -1 - its number
    vectors: Halves  # float16 (h, d), those that many rows have
    first: Int32Array  # int32 (h,), the first section of each
    count: Int32Array  # int32 (h,), its sections
    every: Int32Array  # int32 (h,): one in so many of its copies is also searched in the leaf in which it lies

    @property
    def sections(self) -> int:
        """How many sections there are."""
        return len(self.thresholds) + 1 + int(self.count.sum())

    def leaves(self, vectors: Halves) -> Int32Array:
        """Return the leaf in which each vector lies, int32 (n,); equal vectors lie in one."""
        steps, found = unit_steps(vectors), np.zeros(len(vectors), dtype=np.int32)
        # By node, the rows that lie there.
        waiting = {0: np.arange(len(steps))} if len(self.thresholds) else {}
        while waiting:
            node, rows = waiting.popitem()
            right = _products(steps[rows], self.directions[node]) >= self.thresholds[node]
            for side, part in zip(self.children[node].tolist(), (rows[~right], rows[right]), strict=True):
                if side < 0:
                    found[part] = -1 - side
                else:
                    waiting[side] = part
        return found

    def copies(self, vectors: Halves) -> Int32Array:
        """Return which of the vectors that many rows have each vector equals, int32 (n,); -1 for none."""
        found = np.full(len(vectors), -1, dtype=np.int32)
        for number, vector in enumerate(self.vectors):
            found[(vectors == vector).all(axis=1)] = number
        return found

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays that `cut_of` makes a cut of."""
        return {name: getattr(self, name) for name in self.__slots__}


def cut_of(arrays: Mapping[str, npt.NDArray[Any]]) -> Cut:
    """Return the cut of its arrays; planes of an older version, float32, are rounded to steps."""
    found = Cut(**arrays)
    if found.directions.dtype == np.int16:
        return found
    thresholds = np.ceil(found.thresholds.astype(np.float64) * SQUARED_STEPS).astype(np.int64)
    return replace(found, directions=in_steps(np.asarray(arrays["directions"])), thresholds=thresholds)


def cut_rows(vectors: Halves, size: int, largest: int) -> Cut:
    """Return where `size` rows of one centroid are cut, so that a section has about `largest` rows at most.

    `vectors`, float16 (m, d), are a random sample of them. Memory: 10 * m * d bytes.
    """
    each = size / max(len(vectors), 1)
    values, place, times = np.unique(_as_bytes(vectors), return_inverse=True, return_counts=True)
    many = np.flatnonzero((times * each > largest) & (times > 1))
    rest = vectors[~np.isin(place, many)]
    tree = _Tree(each, largest)
    tree.grow(unit_steps(rest), 0)
    count = np.ceil(times[many] * each / largest).astype(np.int32)
    width = vectors.shape[1]
    return Cut(
        directions=np.array(tree.directions, dtype=np.int16).reshape(-1, width),
        thresholds=np.array(tree.thresholds, dtype=np.int64),
        children=np.array(tree.children, dtype=np.int32).reshape(-1, 2),
        vectors=values[many].view(np.float16).reshape(-1, width),
        first=(tree.leaves + np.cumsum(count) - count).astype(np.int32),
        count=count,
        every=np.maximum(times[many] * each / ANCHORS, 1).astype(np.int32),
    )


class _Tree:
    """Planes as they are found, each before those on its sides; a sampled row stands for `each` rows."""

    def __init__(self, each: float, largest: int) -> None:
        self.each, self.largest, self.leaves = each, largest, 0
        self.directions: list[Int16Array] = []
        self.thresholds: list[int] = []
        self.children: list[list[int]] = []

    def grow(self, rows: Int16Array, depth: int) -> int:
        """Divide some rows and return their place in the tree: a plane, or a leaf as -1 - its number."""
        found = _plane(rows) if len(rows) * self.each > self.largest and depth < DEEPEST else None
        if found is None:
            self.leaves += 1
            return -self.leaves
        direction, threshold = found
        right, node = _products(rows, direction) >= threshold, len(self.thresholds)
        self.directions.append(direction)
        self.thresholds.append(threshold)
        self.children.append([])
        self.children[node] = [self.grow(rows[~right], depth + 1), self.grow(rows[right], depth + 1)]
        return node


def _plane(rows: Int16Array) -> tuple[Int16Array, int] | None:
    """Return a direction and the product at which rows are divided; None where all are equal, or there is one."""
    direction = _widest(rows)
    products = np.sort(_products(rows, direction))
    gaps = np.diff(products)
    inner = slice(math.floor(MIDDLE * len(gaps)), math.ceil((1 - MIDDLE) * len(gaps)))
    at = inner.start + int(gaps[inner].argmax()) if gaps[inner].any() else int(gaps.argmax()) if gaps.any() else -1
    if at < 0:
        return None
    return direction, int(products[at] + products[at + 1] + 1) // 2


def _widest(rows: Int16Array) -> Int16Array:
    """Return the direction in which rows spread most, about, int16 (d,) in steps; the same wherever it is asked."""
    some = rows[:: max(1, len(rows) // DIRECTING_ROWS)]
    if len(some) == 0:
        return np.zeros(rows.shape[1], dtype=np.int16)
    centred = some - np.rint(some.sum(axis=0, dtype=np.int64) / len(some)).astype(np.int64)
    direction = centred[int((centred * centred).sum(axis=1).argmax())]
    for _ in range(ITERATIONS):
        steps = _normalised(direction)
        direction = np.zeros_like(direction)
        _turn(centred, steps, direction)
    return _normalised(direction)


def _normalised(direction: Int64Array) -> Int16Array:
    """Return a direction of whole numbers in steps; zeros stay zeros."""
    # Python's sum goes in the order of the coordinates.
    length = math.sqrt(sum(float(value) * float(value) for value in direction.tolist()))
    steps = np.rint(direction / (length or 1.0) * STEPS)
    return np.minimum(steps, STEPS - 1).astype(np.int16)


def _products(rows: Int16Array, direction: Int16Array) -> Int64Array:
    products = np.empty(len(rows), dtype=np.int64)
    _multiply(rows, direction, products)
    return products


@njit(cache=True)  # type: ignore[untyped-decorator]
def _multiply(rows: Int16Array, direction: Int16Array, products: Int64Array) -> None:
    for row in range(len(rows)):
        products[row] = product(rows[row], direction)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _turn(rows: Int64Array, direction: Int16Array, turned: Int64Array) -> None:
    """Add every row as often as it points in a direction."""
    for row in range(len(rows)):
        along = np.int64(0)
        for column in range(rows.shape[1]):
            along += rows[row, column] * np.int64(direction[column])
        # Below 2^31, a coordinate below 2^16: the sums of twice 8,192 rows stay below 2^62.
        for column in range(rows.shape[1]):
            turned[column] += rows[row, column] * along


def _as_bytes(vectors: Halves) -> npt.NDArray[np.void]:
    # Minus zero is zero.
    plain = np.ascontiguousarray(vectors + np.float16(0))
    return plain.view(np.dtype((np.void, plain.shape[1] * plain.itemsize))).reshape(-1)
