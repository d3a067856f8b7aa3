"""The nearest of all candidates by exact distance, and a second search for rows that may have lost a neighbour.

Distances are whole numbers of squared steps (see `core.fixed_point`), told as float32; equally far neighbours come in
the order of their global ids. This order is the same wherever two rows meet, so that of any sets of rows, searched in
any order, the k nearest of what was found in each are the k nearest of all.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from filtering.core.fixed_point import SQUARED_STEPS, Int16Array, as_distance, squared_steps
from filtering.graph.products import BLOCK_ROWS, Coarse, Products

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]

# A squared distance told as float32 has been rounded by up to this share.
FLOAT32_ROUNDING = 2.0**-24
# Columns that are compared with a threshold at once.
STRIPE = 32


@njit(cache=True)  # type: ignore[untyped-decorator]
def rank(
    steps: Int16Array,
    squares: Int64Array,
    ids: Int64Array,
    candidates: Int32Array,
    neighbours: Int32Array,
    distances: Float32Array,
) -> None:
    """Write the k nearest candidates of each row and their distances; `candidates`, int32 (m, c), end at a -1."""
    for row in range(len(steps)):
        for candidate in candidates[row]:
            if candidate < 0:
                break
            _offer(steps, squares, ids, row, candidate, neighbours, distances)


def unsure_rows(coarse: Coarse, own: int, width: int, farthest: Products, distances: Float32Array) -> Int64Array:
    """Return the rows that a row beyond their candidates may be nearer to than their k-th neighbour, or as near.

    `farthest`, (m,), is that of the last of `width` candidates, as `Coarse.reaches` takes it; `distances`, float32 (m,
    k), are those of the k nearest candidates.
    """
    count = len(distances)
    met = np.where(np.arange(count) < own, count - 1, own)
    unsure = coarse.reaches(farthest) <= _limits(distances)
    return np.flatnonzero(unsure & (met > width))


def search_again(
    coarse: Coarse,
    own: int,
    rows: Int64Array,
    steps: Int16Array,
    squares: Int64Array,
    ids: Int64Array,
    neighbours: Int32Array,
    distances: Float32Array,
) -> None:
    """Compare some rows with all that products cannot rule out to be among the k nearest."""
    for asking, stop in ((rows[rows < own], len(steps)), (rows[rows >= own], own)):
        for first in range(0, len(asking), BLOCK_ROWS):
            part = asking[first : first + BLOCK_ROWS]
            cuts = coarse.cuts(part, _limits(distances[part]))
            for start in range(0, stop, BLOCK_ROWS):
                columns = slice(start, min(start + BLOCK_ROWS, stop))
                found = coarse.products(part, columns)
                _compare(found, cuts, part, start, coarse.halves, steps, squares, ids, neighbours, distances)


def _limits(distances: Float32Array) -> Float64Array:
    """Return the largest squared distance, in steps, that is told as that of the last neighbour, float64 (m,)."""
    return np.asarray(distances[:, -1].astype(np.float64) * (SQUARED_STEPS * (1 + 2 * FLOAT32_ROUNDING)))


@njit(cache=True, fastmath={"nnan", "nsz"})  # type: ignore[untyped-decorator]
def _compare(
    products: Products,
    cuts: Float64Array,
    rows: Int64Array,
    start: int,
    halves: Products,
    steps: Int16Array,
    squares: Int64Array,
    ids: Int64Array,
    neighbours: Int32Array,
    distances: Float32Array,
) -> None:
    last, columns = neighbours.shape[1] - 1, products.shape[1]
    for at in range(len(rows)):
        row, cut = rows[at], cuts[at]
        for left in range(0, columns, STRIPE):
            right = min(left + STRIPE, columns)
            nearest = products[at, left] - halves[start + left]
            for column in range(left + 1, right):
                nearest = max(nearest, products[at, column] - halves[start + column])
            if np.float64(nearest) < cut:
                continue
            for place in range(start + left, start + right):
                # Of many equal rows most are ruled out by their ids.
                tied = distances[row, last] == 0 and ids[place] > ids[neighbours[row, last]]
                if np.float64(products[at, place - start] - halves[place]) >= cut and place != row and not tied:
                    _offer(steps, squares, ids, row, place, neighbours, distances)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _offer(
    steps: Int16Array,
    squares: Int64Array,
    ids: Int64Array,
    row: int,
    place: int,
    neighbours: Int32Array,
    distances: Float32Array,
) -> None:
    """Offer a neighbour to a row's list, unless it is there."""
    at = neighbours.shape[1] - 1
    apart = as_distance(squared_steps(steps[row], steps[place], squares[row] + squares[place]))
    if not _before(apart, place, distances[row, at], neighbours[row, at], ids):
        return
    for known in neighbours[row]:
        if known == place:
            return
    while at > 0 and _before(apart, place, distances[row, at - 1], neighbours[row, at - 1], ids):
        distances[row, at] = distances[row, at - 1]
        neighbours[row, at] = neighbours[row, at - 1]
        at -= 1
    distances[row, at] = apart
    neighbours[row, at] = place


@njit(cache=True)  # type: ignore[untyped-decorator]
def _before(apart: np.float32, place: int, other: np.float32, known: int, ids: Int64Array) -> bool:
    # Nothing is farther than what is not known.
    return bool(apart < other or (apart == other and ids[place] < ids[known]))
