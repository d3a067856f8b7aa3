"""Rows of halves, float16, scaled to length 1: in one pass, with the same bits on every CPU.

numba has no float16: halves come as the whole numbers of their bits, and leave as float32 or as steps of 2^-15.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from filtering.core.fixed_point import rounded_step
from filtering.core.portable_math import scalar_product

Float16Array = npt.NDArray[np.float16]
Float32Array = npt.NDArray[np.float32]
Int16Array = npt.NDArray[np.int16]
Int32Array = npt.NDArray[np.int32]
UInt16Array = npt.NDArray[np.uint16]

# Of a half: its size without the sign, and the least size that is infinite or not a number.
SIZE, SIGN, INFINITE = 0x7FFF, 0x8000, 0x7C00
# The digits that float32 has besides, what takes the largest exponent of a half to that of float32, and what makes up
# for the difference of all others: by a product, numbers below 2^-14 come out right as well.
DIGITS, TO_INFINITE, TO_EXPONENT = 13, 0x7000_0000, np.float32(2.0**112)
TINY = np.finfo(np.float32).tiny


def widened_halves(halves: Float16Array) -> Float32Array:
    """Return halves, float16 (n, d), as float32 (n, d), exactly."""
    wide = np.empty(halves.shape, dtype=np.float32)
    _widen_rows(_bits(halves), wide)
    return wide


def unit_halves(halves: Float16Array) -> Float32Array:
    """Return rows of halves, float16 (n, d), scaled to length 1, float32 (n, d); zero rows stay zero."""
    rows = np.empty(halves.shape, dtype=np.float32)
    _scale_rows(_bits(halves), rows)
    return rows


def unit_half_steps(halves: Float16Array) -> Int16Array:
    """Return rows of halves, float16 (n, d), scaled to length 1, in steps of 2^-15, int16 (n, d); zeros stay zero."""
    steps = np.empty(halves.shape, dtype=np.int16)
    _round_rows(_bits(halves), steps)
    return steps


def _bits(halves: Float16Array) -> UInt16Array:
    return np.ascontiguousarray(halves).view(np.uint16)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _widen_rows(halves: UInt16Array, wide: Float32Array) -> None:
    bits = np.empty(halves.shape[1], dtype=np.int32)
    for row in range(len(halves)):
        _widen(halves[row], bits, wide[row])


@njit(cache=True)  # type: ignore[untyped-decorator]
def _scale_rows(halves: UInt16Array, rows: Float32Array) -> None:
    bits = np.empty(halves.shape[1], dtype=np.int32)
    for at in range(len(halves)):
        row = rows[at]
        _widen(halves[at], bits, row)
        length = _length(row)
        for column in range(len(row)):
            row[column] /= length


@njit(cache=True)  # type: ignore[untyped-decorator]
def _round_rows(halves: UInt16Array, steps: Int16Array) -> None:
    bits, row = np.empty(halves.shape[1], dtype=np.int32), np.empty(halves.shape[1], dtype=np.float32)
    for at in range(len(halves)):
        _widen(halves[at], bits, row)
        length = _length(row)
        for column in range(len(row)):
            steps[at, column] = rounded_step(row[column] / length)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _widen(halves: UInt16Array, bits: Int32Array, wide: Float32Array) -> None:
    """Write a row of halves to `wide`; `bits` is scratch. Two loops without branches, each of which is vectorised."""
    for at in range(len(halves)):
        half = np.int32(halves[at])
        size = np.int32(half & SIZE)
        moved = np.int32(size << DIGITS)
        if size >= INFINITE:
            moved = np.int32(moved + TO_INFINITE)
        bits[at] = np.int32(moved | np.int32(np.int32(half & SIGN) << 16))
    values = bits.view(np.float32)
    for at in range(len(wide)):
        wide[at] = values[at] * TO_EXPONENT


@njit(cache=True)  # type: ignore[untyped-decorator]
def _length(row: Float32Array) -> Any:
    length = np.sqrt(np.float32(scalar_product(row, row)))
    # Zeros are divided by something; what is not a number stays so.
    return TINY if length < TINY else length
