"""The tasks of a combination of scores: they bring scores to one scale and add them up.

Ranks are exact: rows are spread over buckets by their score, a task sorts a bucket, and ranks go back to the shards.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from filtering.concepts.partition import global_rows
from filtering.core.radix_select import SCORE_DIGITS, Digits, digit_ranges, order_keys, split_digits
from filtering.filters.artifacts import PassingShard
from filtering.runtime.rank_counts import count_keys, summed_counts
from filtering.runtime.records import RowCount
from filtering.runtime.shuffle import packed, read_groups, write_groups
from filtering.scores.artifacts import Scores, read_scores
from filtering.scores.combination import mid_ranks, minmax, over_mean, zscores
from filtering.scores.tasks import SENT_NAME, return_scores, write_scores
from filtering.storage.store import Store

Float64Array = npt.NDArray[np.float64]
# Rows that one task ranks: 32 bytes each, and as much again while they are sorted; more where scores are equal.
BUCKET_ROWS = 4_000_000
BOUNDS_NAME = "{}.bounds.npz"
RANKED = np.dtype([("row", "<i8"), ("score", "<f8")])


class Moments(TypedDict):
    """A shard's part of the pool's figures of a score; no least and largest value where it has no rows.

    `squares` is the sum of the squared differences from the shard's own `mean`.
    """

    rows: int
    mean: float
    squares: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class PoolFigures:
    """A score over the pool: mean, standard deviation, least and largest value."""

    mean: float
    std: float
    low: float
    high: float


# How a score is brought to the scale of the others: the pool's figures of it, or the names of the objects that hold its
# ranks.
Scale = PoolFigures | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """A score of a combination: the folder of its scores, its weight in the sum, and how it is scaled."""

    scores: Store
    weight: float
    scale: Scale


class Buckets(TypedDict):
    """The result of dividing the pool's scores into buckets: how many those are, and the rows of all of them."""

    buckets: int
    rows: int


def moments(shard: PassingShard, part: Store) -> Moments:
    """Return a shard's part of the pool's figures of a score."""
    scores = _passing(shard, part)[1].astype(np.float64)
    if len(scores) == 0:
        return Moments(rows=0, mean=0.0, squares=0.0, low=None, high=None)
    low, high = float(scores.min()), float(scores.max())
    # From the least one: values far from 0 that differ by little, such as times, would lose their differences.
    above = scores - low
    mean = float(above.mean())
    squares = float(np.square(above - mean).sum())
    return Moments(rows=len(scores), mean=low + mean, squares=squares, low=low, high=high)


def pool_figures(parts: Sequence[Moments]) -> PoolFigures:
    """Return a score's figures over the pool, from those of all shards, joined one by one (Chan et al. 1979)."""
    rows, mean, squares = 0, 0.0, 0.0
    for part in parts:
        if part["rows"]:
            before, rows = rows, rows + part["rows"]
            apart = part["mean"] - mean
            mean += apart * (part["rows"] / rows)
            squares += part["squares"] + apart**2 * (before * part["rows"] / rows)
    low = min((part["low"] for part in parts if part["low"] is not None), default=0.0)
    high = max((part["high"] for part in parts if part["high"] is not None), default=0.0)
    return PoolFigures(mean, float(np.sqrt(squares / max(rows, 1))), low, high)


def count_scores(shard: PassingShard, part: Store, task_name: str, store: Store) -> RowCount:
    """Count a shard's scores by the first digit of their keys."""
    return count_keys(store, task_name, _keys(_passing(shard, part)[1]), ())


def bound_buckets(counts: Sequence[str], label: str, store: Store) -> Buckets:
    """Divide the pool's scores into buckets; write the bucket of each digit and how many rows are below each bucket."""
    total = summed_counts(store, counts)
    bucket, below = digit_ranges(total, BUCKET_ROWS)
    store.write_arrays(BOUNDS_NAME.format(label), {"bucket": bucket, "below": below})
    return Buckets(buckets=len(below), rows=int(total.sum()))


def send_ranked(shard: PassingShard, part: Store, label: str, store: Store) -> RowCount:
    """Send a shard's scores to the buckets."""
    rows, scores = _passing(shard, part)
    bucket = store.read_arrays(BOUNDS_NAME.format(label))["bucket"][_keys(scores)[:, 0]]
    records = packed(RANKED, row=global_rows(shard.index, rows), score=scores)
    write_groups(store, SENT_NAME.format(f"{label}-{shard.identity}"), bucket, RANKED, records.__getitem__)
    return RowCount(rows=len(rows))


def rank_bucket(bucket: int, names: Sequence[str], label: str, total: int, store: Store) -> RowCount:
    """Rank a bucket's rows among all of the pool, and send the ranks to their shards."""
    records = read_groups(store, names, bucket)
    found = np.zeros(0, RANKED) if records is None else records
    below = int(store.read_arrays(BOUNDS_NAME.format(label))["below"][bucket])
    ranks = (below + mid_ranks(np.ascontiguousarray(found["score"])) * len(found)) / max(total, 1)
    return return_scores(store, f"{label}-{bucket:08d}", np.ascontiguousarray(found["row"]), ranks)


def add_up(shard: PassingShard, parts: Sequence[Part], by: str, dtype: np.dtype[Any], store: Store) -> RowCount:
    """Write the weighted sum of a shard's scores, each brought to the common scale that `by` names."""
    total = np.full(len(shard.reasons()), np.nan)
    rows = shard.rows()
    total[rows] = 0
    for part in parts:
        if isinstance(part.scale, PoolFigures):
            total[rows] += part.weight * _scaled(_passing(shard, part.scores)[1], by, part.scale)
        elif (returned := read_groups(store, part.scale, shard.index)) is not None:
            total[returned["row"]] += part.weight * returned["score"]
    return write_scores(store, shard.identity, total, dtype)


def _scaled(scores: Scores, by: str, figures: PoolFigures) -> Float64Array:
    low, high, mean = figures.low, figures.high, figures.mean
    if by == "zscore":
        return zscores(scores, mean, figures.std)
    between = minmax(scores, low, high)
    if by == "minmax":
        return between
    return over_mean(between, (mean - low) / (high - low) if high > low else 0.0)


def _passing(shard: PassingShard, part: Store) -> tuple[npt.NDArray[np.int64], Scores]:
    rows = shard.rows()
    return rows, read_scores(part, shard.identity)[rows]


def _keys(scores: Scores) -> Digits:
    # Rounded: the first digit of a float64 tells hardly more than its exponent, and would fill few buckets.
    return split_digits(order_keys(scores.astype(np.float32)), SCORE_DIGITS)
