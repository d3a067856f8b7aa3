"""The members of a concept in one byte a coordinate: their products find candidates, which exact distances then rank.

Rows relative to a centre are rotated at random (signs, then a Walsh-Hadamard transform), so that no coordinate is much
larger than the others, and rounded to whole steps of one size, all from a random origin. What rounding does to the
distance of two rows has a bound for any rows, so that those which it might have cost a neighbour are known, and
searched again.

With v = x - y and e for what rounding adds to it, a squared distance becomes |v|^2 + 2 <v, e> + |e|^2. An origin that
is evenly distributed over a step in every coordinate makes the coordinates of e independent, each of mean 0 with two
values, 1 apart, whatever x and y are. By Hoeffding's inequality (1963, theorem 2) <v, e> then exceeds t |v| with a
probability of at most exp(-2 t^2).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from numba import njit

from filtering.core.fixed_point import Int16Array

Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]
Int8Array = npt.NDArray[np.int8]

# The largest number of steps of a coordinate: that of the largest coordinate of all rows, so that none is cut off, with
# half a step more for the origin.
STEPS = 126.5
# t above: 1e-14, for each of the k true neighbours of each row.
DEVIATION = 4.0
# Rows are padded to a multiple of this many coordinates, which is the least that a rotation mixes.
MIXED = 64
SIGN_SEED, ORIGIN_SEED = 0, 1
# Rows that are rotated together: every step of the transform is then one operation on as many numbers.
LANES = 8
# Each of a rotation's additions rounds to this share of a number.
FLOAT32_ROUNDING = 2.0**-24
# Half the share by which a sum of 4,096 squares in float32 may be too small, in any order.
ADDING = 2.0**-13


@dataclass(frozen=True, slots=True)
class Quantised:
    """Rows in whole steps: <x, y> - |y|^2 / 2 orders the neighbours y of x by their distance."""

    rows: Int8Array  # int8 (n, w), w >= d
    halves: Int32Array  # int32 (n,), half the squared length, in squared steps, rounded down
    step: float  # the size of a step, in those of 2^-15
    # The largest |e|^2 of two rows, in squared steps.
    moved: float


def quantised(steps: Int16Array, centre: Int32Array) -> Quantised:
    """Return rows in steps of 2^-15, int16 (n, d), relative to a centre, int32 (d,), rotated and rounded."""
    signs, places, mixed = _signs(-(-steps.shape[1] // MIXED) * MIXED)
    count, width = len(steps), len(signs)
    rotated = np.empty((count, width), dtype=np.float32)
    _rotate(steps, centre, signs, places, np.zeros((width, LANES), dtype=np.float32), rotated)
    largest = max(float(rotated.max(initial=0)), -float(rotated.min(initial=0)))
    step = largest / STEPS or 1.0
    rows, halves = np.empty((count, width), dtype=np.int8), np.empty(count, dtype=np.int32)
    squares = np.empty(count, dtype=np.float32)
    _round(rotated, np.float32(1 / step), _origin(width), rows, halves, squares)
    # What adding up in float32 has changed before: each number is the sum of up to `mixed`, in as many levels as its
    # binary logarithm, then scaled. No row is longer than the largest coordinate in every place.
    rounding = (mixed.bit_length() + 4) * FLOAT32_ROUNDING * STEPS * width**0.5
    farthest = float(squares.max(initial=0)) ** 0.5 * (1 + ADDING) + rounding
    return Quantised(rows, halves, step / mixed**0.5, (2 * farthest) ** 2)


@lru_cache
def _origin(width: int) -> Float32Array:
    """Return where whole steps begin in each coordinate, float32 (w,), between -0.5 and 0.5 of a step."""
    return (np.random.default_rng(ORIGIN_SEED).random(width) - 0.5).astype(np.float32)


@lru_cache
def _signs(width: int) -> tuple[Float32Array, Int64Array, int]:
    """Return a random sign and place for each coordinate, and how many are mixed: the largest power of two."""
    random = np.random.default_rng(SIGN_SEED)
    signs = random.choice(np.array([-1, 1], dtype=np.float32), width)
    return signs, random.permutation(width), width & -width


@njit(cache=True)  # type: ignore[untyped-decorator]
def _rotate(
    steps: Int16Array,
    centre: Int32Array,
    signs: Float32Array,
    places: Int64Array,
    lanes: Float32Array,
    rotated: Float32Array,
) -> None:
    """Write the rows rotated, and longer by the root of how many coordinates are mixed."""
    count, dimension = steps.shape
    width = len(signs)
    numbers = lanes.reshape(-1)
    for start in range(0, count, LANES):
        held = min(LANES, count - start)
        lanes[:] = 0
        for at in range(dimension):
            place, middle, sign = places[at], centre[at], signs[at]
            for lane in range(held):
                lanes[place, lane] = np.float32(np.int32(steps[start + lane, at]) - middle) * sign
        # Numbers that stand `apart` from each other become their sum and their difference: all lanes at once.
        apart = LANES
        while apart < (width & -width) * LANES:
            for first in range(0, len(numbers), 2 * apart):
                left, right = numbers[first : first + apart], numbers[first + apart : first + 2 * apart]
                for at in range(apart):
                    one, other = left[at], right[at]
                    left[at] = one + other
                    right[at] = one - other
            apart *= 2
        for lane in range(held):
            for at in range(width):
                rotated[start + lane, at] = lanes[at, lane]


@njit(cache=True, fastmath={"reassoc", "nsz"})  # type: ignore[untyped-decorator]
def _round(
    rotated: Float32Array,
    inverse: np.float32,
    origin: Float32Array,
    rows: Int8Array,
    halves: Int32Array,
    squares: Float32Array,
) -> None:
    """Write the rows in whole steps, half of their squared lengths, and the squares of what rounding has moved them."""
    for row in range(len(rotated)):
        square, moved = np.int32(0), np.float32(0)
        for at in range(rotated.shape[1]):
            value = rotated[row, at] * inverse + origin[at]
            whole = np.rint(value)
            rows[row, at] = np.int8(whole)
            square = np.int32(square + np.int32(whole) * np.int32(whole))
            moved += (value - whole) * (value - whole)
        halves[row] = square // 2
        squares[row] = moved
