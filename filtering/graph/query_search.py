"""The neighbours that new rows bring: a few query rows against the rows of shards, concept by concept.

A run with a base knows the neighbours of most rows. Those of rows that are new, or have lost one, are searched; to a
row that the base knows, only new rows can be nearer than those that it has. As in a search of whole concepts, two rows
meet in a concept of both that is the home of either.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from filtering.core.csr import Int64Array
from filtering.core.fixed_point import SQUARED_STEPS, Int16Array, as_distance, squared_lengths
from filtering.core.step_products import step_products
from filtering.graph.sharded import Float32Array, Int32Array, Neighbours

# The products of two blocks, 1 MB, stay in a second-level cache.
BLOCK_ROWS = 512
# Products that are compared with thresholds at once.
STRIPE = 32
# Thresholds that every product reaches, and none: products of unit rows are within 2^30, halves of lengths 2^29.
ALL, NONE = -(7 << 28), 5 << 28
# Unit vectors are no farther apart, rounding of their steps included.
LARGEST_DISTANCE = np.float32(4.5)
# A squared distance told as float32 has been rounded by up to a share of 2^-24.
ROUNDED_UP = SQUARED_STEPS * (1 + 2.0**-23)

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Members:
    """Rows with the concepts in which they stand: at home, or by a replica."""

    row: Int64Array  # int64 (n,), global ids
    home: Int32Array  # int32 (n,), home concepts
    steps: Int16Array  # int16 (n, w), vectors as `core.step_products.aligned` returns them
    place: Int64Array  # int64 (m,), the row of each member, by its place in the arrays above
    concept: Int32Array  # int32 (m,), the concept of each member, ascending, home rows before replicas


@dataclass(frozen=True, slots=True)
class Met:
    """What n query rows and m rows of shards found in each other, and how many distances were computed."""

    by_queries: Neighbours  # of all n query rows
    by_rows: Neighbours  # of all m rows: new query rows within their radius
    distances: int


def meet(queries: Members, fresh: Bools, rows: Members, radius: Float32Array, k: int) -> Met:
    """Return the k nearest rows to each query row, and the k nearest new query rows within each row's radius.

    Parameters
    ----------
    queries : Members
        The query rows.
    fresh : bool (n,)
        Whether a query row is new: the base's rows do not know it.
    rows : Members
        Rows of shards, query rows among them or not.
    radius : float32 (m,)
        The squared distance of each row's k-th neighbour in the base, infinite where it has fewer; below 0 where the
        row is a query row itself, to which nothing is offered.
    k : int
        Neighbours of a row.
    """
    found = [Neighbours.none(len(side.row), k) for side in (queries, rows)]
    asking, others = (
        _Side(side.row, side.home, side.steps, side.place, squared_lengths(side.steps), *_lists(lists))
        for side, lists in zip((queries, rows), found, strict=True)
    )
    distances = _meet(_common_spans(queries, rows), asking, fresh, others, radius, _blocks(queries.steps.shape[1]))
    return Met(found[0], found[1], distances)


class _Side(NamedTuple):
    """Rows that meet others, and what they have found: arrays of `Members` and of `Neighbours`."""

    row: Int64Array
    home: Int32Array
    steps: Int16Array
    place: Int64Array
    lengths: Int64Array
    ids: Int64Array
    homes: Int32Array
    distances: Float32Array


class _Blocks(NamedTuple):
    """Memory for a block of rows of either side, their products, and two thresholds of each row of the second side."""

    left: Int16Array
    right: Int16Array
    products: Int32Array
    halves: Int32Array
    cuts: Int32Array


def _blocks(width: int) -> _Blocks:
    left, right = (np.empty((BLOCK_ROWS, width), dtype=np.int16) for _ in range(2))
    halves, cuts = (np.empty(BLOCK_ROWS, dtype=np.int32) for _ in range(2))
    return _Blocks(left, right, np.empty(BLOCK_ROWS**2, dtype=np.int32), halves, cuts)


def _lists(found: Neighbours) -> tuple[Int64Array, Int32Array, Float32Array]:
    return found.ids, found.homes, found.distances


def _common_spans(queries: Members, rows: Members) -> Int64Array:
    """Return the concepts that both have, int64 (c, 6): of either where it begins, its home rows end, and it ends."""
    spans = [_spans(one) for one in (queries, rows)]
    _, left, right = np.intersect1d(spans[0][:, 0], spans[1][:, 0], assume_unique=True, return_indices=True)
    return np.ascontiguousarray(np.hstack([spans[0][left, 1:], spans[1][right, 1:]]))


def _spans(rows: Members) -> Int64Array:
    """Return each concept, and where its members begin, those at home end, and all end, int64 (c, 4)."""
    starts = np.flatnonzero(np.diff(rows.concept, prepend=-1))
    ends = np.append(starts, len(rows.concept))[1:]
    at_home = np.append(0, np.cumsum(rows.home[rows.place] == rows.concept))
    home_ends = starts + at_home[ends] - at_home[starts]
    return np.stack([rows.concept[starts], starts, home_ends, ends], axis=1).astype(np.int64)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _meet(spans: Int64Array, asking: _Side, fresh: Bools, others: _Side, radius: Float32Array, blocks: _Blocks) -> int:
    """Compare the members of each concept, and return how many distances were computed."""
    distances, size = 0, len(blocks.left)
    for concept in range(len(spans)):
        begin, home_end, end, first, home_last, last = spans[concept]
        # Rows at home meet all, replicas those at home.
        for some, stop, until in ((begin, home_end, last), (home_end, end, home_last)):
            distances += (stop - some) * (until - first)
            for left in range(some, stop, size):
                queries = asking.place[left : min(left + size, stop)]
                steps = _gathered(asking.steps, queries, blocks.left)
                for right in range(first, until, size):
                    rows = others.place[right : min(right + size, until)]
                    products = blocks.products[: len(queries) * len(rows)].reshape(len(queries), len(rows))
                    step_products(steps, _gathered(others.steps, rows, blocks.right), 0, products)
                    _offer_both(products, queries, rows, asking, fresh, others, radius, blocks.halves, blocks.cuts)
    return distances


@njit(cache=True)  # type: ignore[untyped-decorator]
def _gathered(steps: Int16Array, rows: Int64Array, block: Int16Array) -> Int16Array:
    for at in range(len(rows)):
        row = rows[at]
        for column in range(block.shape[1]):
            block[at, column] = steps[row, column]
    return block[: len(rows)]


@njit(cache=True)  # type: ignore[untyped-decorator]
def _offer_both(
    products: Int32Array,
    left: Int64Array,
    right: Int64Array,
    asking: _Side,
    fresh: Bools,
    others: _Side,
    radius: Float32Array,
    halves: Int32Array,
    cuts: Int32Array,
) -> None:
    """Offer the rows at `right` to the queries at `left`, and those of the queries that are new to the rows.

    Thresholds of products leave out most pairs; distances decide about the others.
    """
    columns, last = len(right), asking.ids.shape[1] - 1
    for column in range(columns):
        row = right[column]
        halves[column] = others.lengths[row] >> 1
        cuts[column] = _cut(others.lengths[row], min(radius[row], others.distances[row, last]))
    for at in range(len(left)):
        query = left[at]
        length = asking.lengths[query]
        half, cut = np.int32(length >> 1), _cut(length, asking.distances[query, last])
        for start in range(0, columns, STRIPE):
            # The last stripe begins earlier, so that it has its length: a pair that is offered again changes nothing.
            first = max(min(start, columns - STRIPE), 0)
            stop = min(first + STRIPE, columns)
            if stop - first == STRIPE and not _may_enter(products[at], halves, cuts, cut, half, first):
                continue
            for column in range(first, stop):
                row = right[column]
                apart = as_distance(length + others.lengths[row] - 2 * np.int64(products[at, column]))
                if apart <= asking.distances[query, last] and others.row[row] != asking.row[query]:
                    _insert(asking, query, others.row[row], others.home[row], apart)
                    cut = _cut(length, asking.distances[query, last])
                if fresh[query] and apart <= radius[row] and apart <= others.distances[row, last]:
                    _insert(others, row, asking.row[query], asking.home[query], apart)
                    cuts[column] = _cut(others.lengths[row], min(radius[row], others.distances[row, last]))


@njit(cache=True)  # type: ignore[untyped-decorator]
def _may_enter(
    products: Int32Array, halves: Int32Array, cuts: Int32Array, cut: np.int32, half: np.int32, first: int
) -> bool:
    """Return whether any product of a stripe reaches the query row's threshold, or that of its own row."""
    near = np.int32(0)
    # A loop of a length known to the compiler, which becomes a few instructions.
    for column in range(first, first + STRIPE):
        near |= np.int32(products[column] >= np.int32(halves[column] + cut))
        near |= np.int32(products[column] >= np.int32(cuts[column] + half))
    return bool(near)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _cut(length: np.int64, farthest: np.float32) -> np.int32:
    """Return a number below which a product, less half the other row's squared length, is farther than `farthest`.

    Of rows x and y with x y - |y|^2 / 2 >= (|x|^2 - D) / 2 the squared distance is D at most. All is rounded towards
    more pairs, and within what the sum of it and half a squared length leaves of int32.
    """
    if farthest < 0:
        return np.int32(NONE)
    if farthest > LARGEST_DISTANCE:
        return np.int32(ALL)
    reach = np.int64(np.float64(farthest) * ROUNDED_UP) + 1
    return np.int32(max(np.int64((length - reach) >> 1), np.int64(ALL)))


@njit(cache=True)  # type: ignore[untyped-decorator]
def _insert(side: _Side, row: int, candidate: int, home: int, apart: np.float32) -> None:
    """Insert a candidate into a row's list, sorted by distance and id, unless it is there or comes after all."""
    ids, homes, distances = side.ids[row], side.homes[row], side.distances[row]
    at = len(ids) - 1
    if apart > distances[at] or (apart == distances[at] and ids[at] >= 0 and candidate >= ids[at]):
        return
    for known in ids:
        if known == candidate:
            return
    while at > 0 and (apart < distances[at - 1] or (apart == distances[at - 1] and candidate < ids[at - 1])):
        ids[at], homes[at], distances[at] = ids[at - 1], homes[at - 1], distances[at - 1]
        at -= 1
    ids[at], homes[at], distances[at] = candidate, home, apart
