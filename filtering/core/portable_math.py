"""Exponential, logarithm, cube root and products of rows with the same bits on every CPU.

Those of libraries are chosen by the instruction set, and differ in the last digit. These are sums and products in a
fixed order, which no compiler fuses or reorders here, so that every machine rounds them alike. Errors are at most 2
units in the last place.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

# ln 2 in two parts: a multiple of the first, by up to 2^11, is exact.
LN2_HIGH, LN2_LOW = float.fromhex("0x1.62e42fefa0000p-1"), float.fromhex("0x1.cf79abc9e3b3ap-40")
LOG2_E = 1 / math.log(2)
# From here up the exponential is infinite, and below it is 0.
LARGEST, LEAST = 709.782712893384, -743.0
# 2^-1074 to 2^1023.
LOWEST_POWER = -1074
POWERS = np.ldexp(1.0, np.arange(LOWEST_POWER, 1024))
SERIES = 13
INVERSE_FACTORIALS = tuple(1 / math.factorial(n) for n in range(SERIES, -1, -1))
# 1 / (2 n + 1) for the series of the logarithm, the last term first.
ODD_INVERSES = tuple(1 / (2 * n + 1) for n in range(12, -1, -1))
HALF_ROOT = math.sqrt(0.5)
# Rows of either side whose products are in memory at once, 64 MB.
BLOCK_ROWS = 4_096


@njit(cache=True)  # type: ignore[untyped-decorator]
def exp(value: float) -> float:
    """Return e to the power of a value; 0 where that is below 1e-322."""
    # No branches, so that the compiler takes several values at once.
    inside = value if LEAST <= value <= LARGEST else 0.0
    whole = np.rint(inside * LOG2_E)
    rest = (inside - whole * LN2_HIGH) - whole * LN2_LOW
    total = 0.0
    for coefficient in INVERSE_FACTORIALS:
        total = total * rest + coefficient
    found = 2 * total * POWERS[int(whole) - 1 - LOWEST_POWER]
    if value > LARGEST:
        found = math.inf
    if value < LEAST:
        found = 0.0
    return found if value == value else value


@njit(cache=True)  # type: ignore[untyped-decorator]
def log(value: float) -> float:
    """Return the natural logarithm of a value: minus infinity of 0, not a number below."""
    if not value > 0.0:
        return -math.inf if value == 0.0 else math.nan
    if value == math.inf:
        return value
    mantissa, exponent = math.frexp(value)
    if mantissa < HALF_ROOT:
        mantissa, exponent = 2 * mantissa, exponent - 1
    # ln m = 2 artanh((m - 1) / (m + 1))
    slope = (mantissa - 1) / (mantissa + 1)
    square, total = slope * slope, 0.0
    for coefficient in ODD_INVERSES[:-1]:
        total = (total + coefficient) * square
    return exponent * LN2_HIGH + (exponent * LN2_LOW + 2 * slope * total + 2 * slope)


@njit(cache=True)  # type: ignore[untyped-decorator]
def cbrt(value: float) -> float:
    """Return the cube root of a value of at least 0."""
    if not 0.0 < value < math.inf:
        return value
    root: float = exp(log(value) / 3)
    # One step of Newton's takes away what the two have rounded.
    return root - (root - value / (root * root)) / 3


def exps(values: npt.NDArray[np.floating[Any]]) -> Float64Array:
    """Return `exp` of every value, float64, in the shape of `values`."""
    found: Float64Array = _each_exp(np.ascontiguousarray(values, dtype=np.float64).reshape(-1))
    return found.reshape(np.shape(values))


def logs(values: npt.NDArray[np.floating[Any]]) -> Float64Array:
    """Return `log` of every value, float64, in the shape of `values`."""
    found: Float64Array = _each_log(np.ascontiguousarray(values, dtype=np.float64).reshape(-1))
    return found.reshape(np.shape(values))


@njit(cache=True)  # type: ignore[untyped-decorator]
def _each_exp(values: Float64Array) -> Float64Array:
    found = np.empty_like(values)
    for at in range(len(values)):
        found[at] = exp(values[at])
    return found


@njit(cache=True)  # type: ignore[untyped-decorator]
def _each_log(values: Float64Array) -> Float64Array:
    found = np.empty_like(values)
    for at in range(len(values)):
        found[at] = log(values[at])
    return found


@njit(cache=True)  # type: ignore[untyped-decorator]
def scalar_product(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    """Return the scalar product of two rows, (d,): float64, in eight sums."""
    whole = len(one) // 8 * 8
    a, b, c, d, e, f, g, h = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for at in range(0, whole, 8):
        a += np.float64(one[at]) * np.float64(other[at])
        b += np.float64(one[at + 1]) * np.float64(other[at + 1])
        c += np.float64(one[at + 2]) * np.float64(other[at + 2])
        d += np.float64(one[at + 3]) * np.float64(other[at + 3])
        e += np.float64(one[at + 4]) * np.float64(other[at + 4])
        f += np.float64(one[at + 5]) * np.float64(other[at + 5])
        g += np.float64(one[at + 6]) * np.float64(other[at + 6])
        h += np.float64(one[at + 7]) * np.float64(other[at + 7])
    for at in range(whole, len(one)):
        a += np.float64(one[at]) * np.float64(other[at])
    return ((a + b) + (c + d)) + ((e + f) + (g + h))


def row_products(left: npt.NDArray[np.floating[Any]], right: npt.NDArray[np.floating[Any]]) -> Float64Array:
    """Return the scalar products of rows, float64 (n,).

    Both are float32 or float64 (n, d); `right` may be one row for all, (d,). What BLAS and einsum add up in an order of
    the CPU's own is added up in eight sums here.
    """
    found = np.zeros(len(left))
    _each_product(left, np.broadcast_to(right, left.shape), found)
    return found


def matrix_product(left: Float32Array, right: Float32Array) -> Float32Array:
    """Return `left`, float32 (n, k), times `right`, float32 (k, m), float32 (n, m): each entry adds up its k in order.

    Several times slower than BLAS, which adds up as the CPU suits it: for layers of small networks.
    """
    found = np.zeros((len(left), right.shape[1]), dtype=np.float32)
    _multiply(left, np.ascontiguousarray(right), found)
    return found


def largest_products(left: Float32Array, right: Float32Array, *, absolute: bool = False) -> Float64Array:
    """Return the largest product of each row of `left` with the rows of `right`, float64 (n,).

    Both are unit-norm rows, float32 (n, d) and (m, d); minus infinity without rows in `right`. With `absolute` the
    largest magnitude is meant. A product of matrices finds the candidates, `row_products` of these decide.
    """
    found = np.full(len(left), -np.inf)
    # Twice what d additions may round, in whatever order, of vectors of length 1.
    apart = np.float32(2.5 * left.shape[1] * 2.0**-24)
    for start in range(0, len(left), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        for first in range(0, len(right), BLOCK_ROWS):
            others = right[first : first + BLOCK_ROWS]
            products = left[block] @ others.T
            sizes = np.abs(products, out=products) if absolute else products
            _decide(sizes, left[block], others, apart, absolute, found[block])
    return found


@njit(cache=True)  # type: ignore[untyped-decorator]
def _multiply(left: Float32Array, right: Float32Array, found: Float32Array) -> None:
    rows, depth = left.shape
    # Four rows at once read a row of `right` once.
    fours = rows // 4 * 4
    for row in range(0, fours, 4):
        for at in range(depth):
            a, b, c, d = left[row, at], left[row + 1, at], left[row + 2, at], left[row + 3, at]
            for column in range(right.shape[1]):
                value = right[at, column]
                found[row, column] += a * value
                found[row + 1, column] += b * value
                found[row + 2, column] += c * value
                found[row + 3, column] += d * value
    for row in range(fours, rows):
        for at in range(depth):
            for column in range(right.shape[1]):
                found[row, column] += left[row, at] * right[at, column]


@njit(cache=True)  # type: ignore[untyped-decorator]
def _decide(
    sizes: Float32Array,
    left: Float32Array,
    right: Float32Array,
    apart: np.float32,
    absolute: bool,
    found: Float64Array,
) -> None:
    """Raise what was `found` to the exact products that may be the largest of a row, by their float32 `sizes`, (n, m).

    They are looked at one by one: of equal rows, all of them may be.
    """
    for row in range(sizes.shape[0]):
        least = sizes[row].max() - apart
        for column in range(sizes.shape[1]):
            if sizes[row, column] >= least:
                exact = scalar_product(left[row], right[column])
                found[row] = max(found[row], abs(exact) if absolute else exact)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _each_product(left: npt.NDArray[Any], right: npt.NDArray[Any], found: Float64Array) -> None:
    for row in range(len(left)):
        found[row] = scalar_product(left[row], right[row])
