"""Ranges of uids that hold about equally many kept samples each, found by counts of digits and not by sorting.

A uid has 8 digits of 16 bits. Samples are counted by their first digit; where more than a range may hold have the same
one, those are counted by the next, and so on. So ranges are bounded whatever uids look like, up to those of one uid.
"""

import numpy as np
import numpy.typing as npt

from filtering.core.radix_select import DIGIT_BITS, Digits, digit_counts, split_digits
from filtering.core.uids import UID_LENGTH, Uids, uid_numbers

# Hex digits of a digit, and digits of a uid.
HEX_DIGITS = DIGIT_BITS // 4
UID_DIGITS = UID_LENGTH // HEX_DIGITS
# The first uid of all.
FIRST = "0" * UID_LENGTH


def uid_digits(uids: Uids) -> Digits:
    """Return the digits of uids, uint16 (n, 8)."""
    return np.concatenate([split_digits(part, UID_DIGITS // 2) for part in uid_numbers(uids)], axis=1)


def first_uid(prefix: str) -> str:
    """Return the first uid that begins with some hex digits."""
    return prefix.ljust(UID_LENGTH, "0")


def hex_digit(digit: int) -> str:
    """Return a digit as the uid has it."""
    return f"{digit:0{HEX_DIGITS}x}"


def prefix_counts(digits: Digits, prefix: str) -> npt.NDArray[np.int64]:
    """Return how many uids, uint16 (n, 8), begin with some hex digits, by the digit after them: int64 (65536,)."""
    known = [int(prefix[at : at + HEX_DIGITS], 16) for at in range(0, len(prefix), HEX_DIGITS)]
    return digit_counts(digits, known)


def divided(prefix: str, counts: npt.NDArray[np.int64], most: int) -> tuple[list[str], list[str]]:
    """Return the first uids of ranges of those that begin with a prefix, and longer prefixes, of which there are more.

    `counts` are those by the next digit; a range holds at most `most`, unless it is of one uid.
    """
    starts, heavy, held = list[str](), list[str](), most
    for digit in np.flatnonzero(counts).tolist():
        count, longer = int(counts[digit]), prefix + hex_digit(digit)
        if count > most and len(longer) < UID_LENGTH:
            heavy.append(longer)
            held = most
            continue
        if held + count > most:
            starts.append(first_uid(longer))
            held = 0
        held += count
    return starts, heavy


def range_of(uids: Uids, starts: Uids) -> npt.NDArray[np.int64]:
    """Return the range of each uid, int64 (n,); `starts` are the first uids of the ranges, ascending from `FIRST`."""
    return np.searchsorted(starts, uids, side="right") - 1
