"""Unit vectors in whole steps of 2^-15: products and distances that are exact, and so the same on every CPU.

A sum of floating-point numbers depends on its order, and every instruction set has its own. Whole numbers have none: of
rows in steps each product of two coordinates, and every sum of those, is exact, whatever adds them up. A step is about
as fine as the halves in which vectors are stored.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

Float32Array = npt.NDArray[np.float32]
Int16Array = npt.NDArray[np.int16]
Int64Array = npt.NDArray[np.int64]

STEPS = 1 << 15
SQUARED_STEPS = STEPS * STEPS
# What is added to it loses its digits below 1, rounded to the nearest, half to even: vectorised, as `rint` is not.
WHOLE = np.float32(1.5 * 2**23)


def in_steps(vectors: Float32Array) -> Int16Array:
    """Return unit-norm vectors, float32 (n, d), rounded to steps of 2^-15, int16 (n, d)."""
    steps = np.empty(vectors.shape, dtype=np.int16)
    _round(vectors, steps)
    return steps


def from_steps(steps: Int16Array) -> Float32Array:
    """Return vectors in steps of 2^-15, int16 (n, d), as float32 (n, d)."""
    return np.asarray(steps * np.float32(1 / STEPS))


@njit(cache=True)  # type: ignore[untyped-decorator]
def rounded_step(value: np.float32) -> np.int16:
    """Return a coordinate of a unit vector, float32, in steps, int16."""
    whole = (value * np.float32(STEPS) + WHOLE) - WHOLE
    # A value of 1 is one step more than there is.
    return np.int16(np.int32(whole if whole < np.float32(STEPS - 1) else np.float32(STEPS - 1)))


def squared_lengths(steps: Int16Array) -> Int64Array:
    """Return the squared lengths of rows in steps, int16 (n, d), in squared steps, int64 (n,)."""
    squares = np.empty(len(steps), dtype=np.int64)
    _squares(steps, squares)
    return squares


@njit(cache=True)  # type: ignore[untyped-decorator]
def product(left: Int16Array, right: Int16Array) -> np.int32:
    """Return the scalar product of two rows in steps, int16 (d,), in squared steps, int32.

    No sum over some of the coordinates exceeds the product of both lengths (Cauchy-Schwarz), about 2^30: int32 holds
    it, in any order.
    """
    total = np.int32(0)
    for at in range(len(left)):
        # Narrowed at every step, so that the compiler multiplies pairs of int16 (vpmaddwd): 3 times as fast as float32.
        total = np.int32(total + np.int32(np.int32(left[at]) * np.int32(right[at])))
    return total


@njit(cache=True)  # type: ignore[untyped-decorator]
def squared_steps(left: Int16Array, right: Int16Array, both: np.int64) -> np.int64:
    """Return the squared distance of two rows in steps, int64, from the sum of `both` squared lengths; exact."""
    return np.int64(both - 2 * np.int64(product(left, right)))


@njit(cache=True)  # type: ignore[untyped-decorator]
def as_distance(squared: np.int64) -> np.float32:
    """Return a squared distance in squared steps as that of unit vectors, float32."""
    return np.float32(squared * (1.0 / SQUARED_STEPS))


@njit(cache=True)  # type: ignore[untyped-decorator]
def _round(vectors: Float32Array, steps: Int16Array) -> None:
    for row in range(vectors.shape[0]):
        for column in range(vectors.shape[1]):
            steps[row, column] = rounded_step(vectors[row, column])


@njit(cache=True)  # type: ignore[untyped-decorator]
def _squares(steps: Int16Array, squares: Int64Array) -> None:
    for row in range(len(steps)):
        squares[row] = product(steps[row], steps[row])
