"""Counts of digits on their way from many tasks to one, which finds the digit of a rank: see core.radix_select."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from filtering.core.radix_select import DIGIT_VALUES, find_digit
from filtering.storage.store import Store


def write_counts(store: Store, name: str, counts: npt.NDArray[np.int64]) -> dict[str, int]:
    """Write counts by digit, int64 (65536,), those above 0 alone; return how many rows they count."""
    digit = np.flatnonzero(counts)
    store.write_arrays(name, {"digit": digit, "count": counts[digit]})
    return {"rows": int(counts.sum())}


def summed_counts(store: Store, names: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the sum of counts that were written, int64 (65536,)."""
    counts = np.zeros(DIGIT_VALUES, dtype=np.int64)
    for name in names:
        part = store.read_arrays(name)
        counts[part["digit"]] += part["count"]
    return counts


def next_digit(names: Sequence[str], rank: int, store_url: str) -> dict[str, int]:
    """Return the digit of the row at a rank, its rank among the rows of that digit, and how many those are."""
    counts = summed_counts(Store(store_url), names)
    digit, within = find_digit(counts, rank)
    return {"digit": digit, "rank": within, "rows": int(counts[digit])}
