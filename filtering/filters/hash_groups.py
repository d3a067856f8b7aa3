"""Hashes of 64 bits that differ in few: found in buckets, without comparing each with each.

Bits are divided into blocks. Two hashes that differ in at most d bits differ in at most d blocks, and agree in all
others: a table for each choice of d blocks brings them together by the rest (Manku et al., WWW 2007).
"""

from collections.abc import Sequence
from itertools import combinations
from math import comb

import numpy as np
import numpy.typing as npt
from numba import njit

BITS = 64
# Blocks besides those that may differ, at most; the more there are, the more tables, and the fewer bits are left out.
MOST_COMMON = 4
# What a record costs on its way through the tables, in comparisons of two hashes; and by how many times more hashes
# agree than random ones would: their bits depend on each other.
RECORD_COMPARISONS, UNEVEN = 300.0, 16.0

Hashes = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]


def hash_tables(rows: int, distance: int) -> tuple[int, ...]:
    """Return the bits by which each table brings hashes together, for a pool: those of the least cost."""
    choices = range(distance + 1, distance + 1 + (MOST_COMMON if distance else 1))
    return _tables(min(choices, key=lambda blocks: _cost(rows, blocks, distance)), distance)


def _cost(rows: int, blocks: int, distance: int) -> float:
    common = BITS * (blocks - distance) // blocks
    return comb(blocks, distance) * (RECORD_COMPARISONS + UNEVEN * rows / 2.0**common)


def _tables(blocks: int, distance: int) -> tuple[int, ...]:
    masks = [sum(1 << int(bit) for bit in block) for block in np.array_split(np.arange(BITS), blocks)]
    return tuple(sum(masks) - sum(left_out) for left_out in combinations(masks, distance))


def repeats_of_earlier(hashes: Hashes, tables: npt.NDArray[np.uint8], masks: Sequence[int], distance: int) -> Flags:
    """Return which records have an earlier one in their table that differs in at most `distance` bits; bool (n,).

    Records of a table are in the order of the pool.
    """
    order = np.lexsort((hashes, tables))
    same = (hashes[order[1:]] == hashes[order[:-1]]) & (tables[order[1:]] == tables[order[:-1]])
    repeated = np.zeros(len(hashes), dtype=bool)
    # A stable order: of equal hashes the earliest comes first.
    repeated[order[1:][same]] = True
    first = np.flatnonzero(~repeated)
    keys = hashes[first] & np.array(masks, dtype=np.uint64)[tables[first]]
    inside = np.lexsort((keys, tables[first]))
    at = first[inside]
    repeated[at] = _near_earlier(hashes[at], keys[inside], tables[at], distance)
    return repeated


@njit(cache=True)  # type: ignore[untyped-decorator]
def _near_earlier(hashes: Hashes, keys: Hashes, tables: npt.NDArray[np.uint8], distance: int) -> Flags:
    found, start = np.zeros(len(hashes), dtype=np.bool_), 0
    for at in range(len(hashes)):
        if keys[at] != keys[start] or tables[at] != tables[start]:
            start = at
        for earlier in range(start, at):
            if _set_bits(hashes[at] ^ hashes[earlier]) <= distance:
                found[at] = True
                break
    return found


@njit(cache=True)  # type: ignore[untyped-decorator]
def _set_bits(bits: np.uint64) -> int:
    count = 0
    while bits:
        bits &= bits - np.uint64(1)
        count += 1
    return count
