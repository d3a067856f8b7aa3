"""Where oversized concepts are cut: between rows that lie apart, and never between equal ones.

The rows nearest to one centroid are divided by a tree of hyperplanes until each leaf, a section, is small enough. A
plane lies across the direction in which the rows spread most, in the widest gap near their middle. One vector that
more rows have than a section may hold cannot be divided by any plane: such copies have sections of their own, among
which the uid decides. Near-duplicates stay together where a gap sets them apart; a group of them larger than a section
is cut.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from filtering.concepts.nearest import Float32Array, Int32Array
from filtering.embedding.artifacts import unit_rows

Halves = npt.NDArray[np.float16]
# Power iterations for the direction of the largest spread; an approximate one does as well.
ITERATIONS = 12
# A gap is looked for among the middle half of the rows.
MIDDLE = 0.25
DEEPEST = 64
# Of a vector that has sections of its own, about so many copies are replicas in the leaf of what lies around it.
ANCHORS = 64


@dataclass(frozen=True, slots=True)
class Cut:
    """The sections of one centroid's rows: leaves of a tree first, then those of each vector that many rows have."""

    directions: Float32Array  # float32 (t, d), of the tree's planes; none where there is one leaf
    thresholds: Float32Array  # float32 (t,): rows with a product at or above it are on the right
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
        unit, found = unit_rows(vectors), np.zeros(len(vectors), dtype=np.int32)
        # By node, the rows that lie there.
        waiting = {0: np.arange(len(unit))} if len(self.thresholds) else {}
        while waiting:
            node, rows = waiting.popitem()
            right = _products(unit[rows], self.directions[node]) >= self.thresholds[node]
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
    """Return the cut of its arrays."""
    return Cut(**arrays)


def cut_rows(vectors: Halves, size: int, largest: int) -> Cut:
    """Return where `size` rows of one centroid are cut, so that a section has about `largest` rows at most.

    `vectors`, float16 (m, d), are a random sample of them. Memory: 12 * m * d bytes.
    """
    each = size / max(len(vectors), 1)
    values, place, times = np.unique(_as_bytes(vectors), return_inverse=True, return_counts=True)
    many = np.flatnonzero((times * each > largest) & (times > 1))
    rest = vectors[~np.isin(place, many)]
    tree = _Tree(each, largest)
    tree.grow(unit_rows(rest), 0)
    count = np.ceil(times[many] * each / largest).astype(np.int32)
    width = vectors.shape[1]
    return Cut(
        directions=np.array(tree.directions, dtype=np.float32).reshape(-1, width),
        thresholds=np.array(tree.thresholds, dtype=np.float32),
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
        self.directions: list[Float32Array] = []
        self.thresholds: list[float] = []
        self.children: list[list[int]] = []

    def grow(self, rows: Float32Array, depth: int) -> int:
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


def _plane(rows: Float32Array) -> tuple[Float32Array, float] | None:
    """Return a direction and the product at which rows are divided; None where all are equal, or there is one."""
    direction = _widest(rows)
    products = np.sort(_products(rows, direction))
    gaps = np.diff(products)
    inner = slice(math.floor(MIDDLE * len(gaps)), math.ceil((1 - MIDDLE) * len(gaps)))
    at = inner.start + int(gaps[inner].argmax()) if gaps[inner].any() else int(gaps.argmax()) if gaps.any() else -1
    if at < 0:
        return None
    low, high = products[at], products[at + 1]
    middle = np.float32((np.float64(low) + np.float64(high)) / 2)
    # Between neighbouring numbers there is none.
    return direction, float(middle if middle > low else high)


def _widest(rows: Float32Array) -> Float32Array:
    """Return the direction in which rows spread most, about, float32 (d,); the same wherever it is asked."""
    centred = rows - rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    direction = centred[int(np.einsum("nd,nd->n", centred, centred).argmax())] if len(rows) else np.zeros(rows.shape[1])
    for _ in range(ITERATIONS):
        length = np.linalg.norm(direction)
        if length == 0:
            break
        direction = centred.T @ (centred @ (direction / length))
    length = np.linalg.norm(direction)
    return np.asarray(direction / (length or 1.0), dtype=np.float32)


def _products(rows: Float32Array, direction: Float32Array) -> Float32Array:
    # Sums, not a product of matrices: the same bits for equal rows, at any place of any block.
    products: Float32Array = (rows * direction).sum(axis=1)
    return products


def _as_bytes(vectors: Halves) -> npt.NDArray[np.void]:
    # Minus zero is zero.
    plain = np.ascontiguousarray(vectors + np.float16(0))
    return plain.view(np.dtype((np.void, plain.shape[1] * plain.itemsize))).reshape(-1)
