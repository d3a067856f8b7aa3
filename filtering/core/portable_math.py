"""Exponential, logarithm and cube root with the same bits on every CPU.

Those of libraries are chosen by the instruction set, and differ in the last digit. These are sums and products in a
fixed order, which no compiler fuses or reorders here, so that every machine rounds them alike. Errors are at most 2
units in the last place.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

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
