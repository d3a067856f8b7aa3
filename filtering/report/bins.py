"""Histograms of scores whose range is not known beforehand: fine counts first, bins at the end.

A value is counted by the first bits of its key in the order of floats (`radix_select.order_keys`), which hold 11 binary
digits of it; the counts of any number of shards add up, and the bins are cut from the sum.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from filtering.core.radix_select import order_keys, score_of
from filtering.report.data import Histogram

# Sign, exponent and 11 bits of the fraction.
KEPT_BITS = 20
SHIFT = 32 - KEPT_BITS
BINS = 40
# Values beyond these quantiles are counted in the outermost bins, so that a few extreme values do not stretch the axis.
LEAST, MOST = 0.0025, 0.9975


@dataclass(frozen=True, slots=True)
class Counts:
    """How often values occur."""

    key: npt.NDArray[np.uint32]  # uint32 (m,), ascending, the first bits of their keys
    kept: npt.NDArray[np.int64]  # kept, dropped: int64 (m,), samples with such a value
    dropped: npt.NDArray[np.int64]


def counted(scores: npt.NDArray[np.floating[Any]], kept: npt.NDArray[np.bool_]) -> Counts:
    """Count scores, float (n,), by whether their samples are kept; values that are not finite are left out."""
    there = np.isfinite(scores)
    keys, place = np.unique(order_keys(scores[there].astype(np.float32)) >> np.uint32(SHIFT), return_inverse=True)
    both = [np.bincount(place[mask], minlength=len(keys)).astype(np.int64) for mask in (kept[there], ~kept[there])]
    return Counts(keys, *both)


def summed(parts: Iterable[Counts]) -> Counts:
    """Add up counts of several shards."""
    total = Counts(np.zeros(0, np.uint32), np.zeros(0, np.int64), np.zeros(0, np.int64))
    for part in parts:
        keys, place = np.unique(np.concatenate([total.key, part.key]), return_inverse=True)
        columns = ((total.kept, part.kept), (total.dropped, part.dropped))
        # Counts are exact in float64 up to 2^53.
        both = [np.bincount(place, np.concatenate(two), len(keys)).astype(np.int64) for two in columns]
        total = Counts(keys, *both)
    return total


def binned(name: str, about: str, counts: Counts) -> Histogram | None:
    """Cut counts into at most 40 bins; None if there are fewer than two values."""
    every = counts.kept + counts.dropped
    if len(every) < 2:
        return None
    values = np.array([score_of(int(key) << SHIFT) for key in counts.key.tolist()])
    share = np.cumsum(every) / every.sum()
    first, last = np.searchsorted(share, [LEAST, MOST])
    low, high = values[first], values[min(last + 1, len(values) - 1)]
    if low == high:
        low, high = values[0], values[-1]
    edges = np.linspace(low, high, BINS + 1)
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, BINS - 1)
    kept, dropped = (
        tuple(np.bincount(place, column, BINS).astype(int).tolist()) for column in (counts.kept, counts.dropped)
    )
    return Histogram(name, about, tuple(edges.tolist()), kept, dropped, bool(values[0] < low), bool(values[-1] > high))
