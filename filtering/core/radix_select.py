"""Exact ranks in a pool that nobody gathers: keys of 16-bit digits, counted and found one digit at a time.

The key of a row is one or more numbers from 0 to 65,535, the most significant first; the row whose key is greatest has
rank 0. To find the key at a rank, everyone counts the keys that begin with the digits found so far by their next
digit, the counts are added, and one look at them gives the next digit: a radix selection from the top (Knuth, TAOCP 3,
5.2.5), exact, and of as many rounds as a key has digits, whatever the rows.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from filtering.core.errors import InputError

Digits = npt.NDArray[np.uint16]
DIGIT_BITS = 16
DIGIT_VALUES = 1 << DIGIT_BITS
# Of float32 scores, and of float64 ones.
SCORE_DIGITS, WIDE_DIGITS = 2, 4
SIGN = np.uint32(1 << 31)
WIDE_SIGN = np.uint64(1 << 63)


def order_keys(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.uint32]:
    """Return numbers in the order of the scores, uint32 (n,); InputError if a score is NaN.

    Equal scores have equal numbers, -0.0 and 0.0 too; infinities come first and last. The bits of positive floats are
    in order as they are, those of negative ones in the reverse order (IEEE 754).
    """
    if np.isnan(scores).any():
        raise InputError("scores: NaN has no rank; give every sample a number")
    # Adding zero makes 0.0 of -0.0, which compare equal but differ in bits.
    bits = (np.asarray(scores, dtype=np.float32) + np.float32(0)).view(np.uint32)
    keys: npt.NDArray[np.uint32] = np.where(bits & SIGN, ~bits, bits | SIGN)
    return keys


def wide_order_keys(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.uint64]:
    """Return numbers in the order of float64 scores, uint64 (n,), as `order_keys` does for float32 ones."""
    if np.isnan(scores).any():
        raise InputError("scores: NaN has no rank; give every sample a number")
    bits = (np.asarray(scores, dtype=np.float64) + 0.0).view(np.uint64)
    keys: npt.NDArray[np.uint64] = np.where(bits & WIDE_SIGN, ~bits, bits | WIDE_SIGN)
    return keys


def score_digits(scores: npt.NDArray[np.floating[Any]]) -> Digits:
    """Return the digits of scores' keys: uint16 (n, 2) of float32 scores, (n, 4) of float64 ones."""
    if scores.dtype == np.float64:
        return split_digits(wide_order_keys(scores.astype(np.float64)), WIDE_DIGITS)
    return split_digits(order_keys(scores.astype(np.float32)), SCORE_DIGITS)


def score_of(key: int) -> float:
    """Return the score whose key `order_keys` gives; 0.0 for that of both zeros."""
    bits = key ^ int(SIGN) if key & int(SIGN) else key ^ 0xFFFFFFFF
    return float(np.array(bits, dtype=np.uint32).view(np.float32))


def wide_score_of(key: int) -> float:
    """Return the float64 score whose key `wide_order_keys` gives; 0.0 for that of both zeros."""
    bits = key ^ int(WIDE_SIGN) if key & int(WIDE_SIGN) else key ^ 0xFFFFFFFFFFFFFFFF
    return float(np.array(bits, dtype=np.uint64).view(np.float64))


def split_digits(values: npt.NDArray[np.unsignedinteger[Any]], count: int) -> Digits:
    """Return the lowest `count` digits of unsigned whole numbers, the most significant first, uint16 (n, count)."""
    shifts = [DIGIT_BITS * place for place in range(count - 1, -1, -1)]
    columns = [(values >> values.dtype.type(shift)).astype(np.uint16) for shift in shifts]
    return np.stack(columns, axis=1) if columns else np.zeros((len(values), 0), dtype=np.uint16)


def join_digits(digits: Sequence[int]) -> int:
    """Return the whole number that has these digits, the most significant first."""
    number = 0
    for digit in digits:
        number = number << DIGIT_BITS | int(digit)
    return number


def digit_counts(keys: Digits, prefix: Sequence[int]) -> npt.NDArray[np.int64]:
    """Count the keys, uint16 (n, r), that begin with the prefix by the digit after it, int64 (65536,).

    The prefix is the digits found so far, fewer than r; none in the first round.
    """
    begin = np.ones(len(keys), dtype=bool)
    for place, digit in enumerate(prefix):
        begin &= keys[:, place] == digit
    return np.bincount(keys[begin, len(prefix)], minlength=DIGIT_VALUES).astype(np.int64)


def find_digit(counts: npt.NDArray[np.int64], rank: int) -> tuple[int, int]:
    """Return the digit of the key at a rank, and the rank of that key among those that share the digit.

    `counts` is the sum of all keys' `digit_counts`. Rank 0 is the greatest digit's; IndexError if it is not below the
    sum of the counts.
    """
    above = np.cumsum(counts[::-1])
    if not 0 <= rank < int(above[-1]):
        raise IndexError(f"rank {rank} of {int(above[-1])} keys")
    place = int(np.searchsorted(above, rank, side="right"))
    return len(counts) - 1 - place, rank - int(above[place] - counts[::-1][place])


def digit_ranges(counts: npt.NDArray[np.int64], rows: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Return ranges of digits that hold about `rows` keys each: a sort of the pool in parts, after one count.

    `counts` is the keys by their first digit, int64 (65536,); a digit is not split, and may hold more than `rows`.
    Returns the range of each digit, int32 (65536,) ascending from 0, and the keys in lower ranges, int64 (ranges,).
    """
    ranges = (np.cumsum(counts) - counts) // rows
    range_of = np.unique(ranges, return_inverse=True)[1].astype(np.int32)
    sizes = np.bincount(range_of, weights=counts).astype(np.int64)
    return range_of, np.cumsum(sizes) - sizes


def at_or_above(keys: Digits, bound: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Return which keys are at least `bound`, all of whose digits are given; bool (n,)."""
    above = np.zeros(len(keys), dtype=bool)
    equal = np.ones(len(keys), dtype=bool)
    for place, digit in enumerate(bound):
        above |= equal & (keys[:, place] > digit)
        equal &= keys[:, place] == digit
    return above | equal
