"""A combination of scores: what workers do to bring them to one scale, and to add them up.

Ranks are exact: rows are spread over buckets by their score, a task sorts a bucket, and ranks go back to the shards.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from filtering.concepts.partition import global_rows, shard_and_row
from filtering.core.radix_select import SCORE_DIGITS, digit_counts, order_keys, split_digits
from filtering.filters.artifacts import PassingShard
from filtering.runtime.rank_counts import summed_counts, write_counts
from filtering.runtime.shuffle import packed, read_groups, write_groups
from filtering.scores.artifacts import read_scores
from filtering.scores.combination import mid_ranks, minmax, over_mean, zscores
from filtering.scores.tasks import RETURNED, RETURNED_NAME, SENT_NAME, write_scores
from filtering.storage.store import Store

Float64Array = npt.NDArray[np.float64]
# Rows that one task ranks: 24 bytes each, and as much again while they are sorted; more where scores are equal.
BUCKET_ROWS = 4_000_000
BOUNDS_NAME = "{}.bounds.npz"
HISTOGRAM_SUFFIX = ".histogram.npz"
HISTOGRAM_NAME = "{}-{}" + HISTOGRAM_SUFFIX
RANKED = np.dtype([("row", "<i8"), ("score", "<f4")])


def moments(shard: PassingShard, part_url: str) -> dict[str, Any]:
    """Return what a shard adds to the pool's figures of a score: rows, sum, sum of squares, least, largest."""
    scores = _passing(shard, part_url)[1].astype(np.float64)
    if len(scores) == 0:
        return {"rows": 0, "sum": 0.0, "squares": 0.0, "low": None, "high": None}
    low, high = float(scores.min()), float(scores.max())
    return {
        "rows": len(scores),
        "sum": float(scores.sum()),
        "squares": float(scores @ scores),
        "low": low,
        "high": high,
    }


def pool_figures(parts: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return a score's mean, standard deviation, least and largest value over the pool."""
    there = [part for part in parts if part["rows"]]
    rows = max(sum(part["rows"] for part in there), 1)
    mean = sum(part["sum"] for part in there) / rows
    spread = max(sum(part["squares"] for part in there) / rows - mean**2, 0.0)
    low, high = min((part["low"] for part in there), default=0.0), max((part["high"] for part in there), default=0.0)
    return {"mean": mean, "std": float(np.sqrt(spread)), "low": low, "high": high}


def count_scores(shard: PassingShard, part_url: str, label: str, store_url: str) -> dict[str, int]:
    """Count a shard's scores by the upper 16 bits of their order."""
    counts = digit_counts(_digits(_passing(shard, part_url)[1]), ())
    return write_counts(Store(store_url), HISTOGRAM_NAME.format(label, shard.identity), counts)


def bound_buckets(identities: Sequence[str], label: str, store_url: str) -> dict[str, Any]:
    """Cut the pool's scores into buckets; write which bucket each digit is in and how many rows are below each."""
    store = Store(store_url)
    counts = summed_counts(store, [HISTOGRAM_NAME.format(label, identity) for identity in identities])
    bucket = ((np.cumsum(counts) - counts) // BUCKET_ROWS).astype(np.int32)
    bucket = np.unique(bucket, return_inverse=True)[1].astype(np.int32)
    sizes = np.bincount(bucket, weights=counts).astype(np.int64)
    store.write_arrays(BOUNDS_NAME.format(label), {"bucket": bucket, "below": np.cumsum(sizes) - sizes})
    return {"buckets": len(sizes), "rows": int(counts.sum())}


def send_ranked(shard: PassingShard, part_url: str, label: str, store_url: str) -> dict[str, int]:
    """Send a shard's scores to the buckets."""
    store, (rows, scores) = Store(store_url), _passing(shard, part_url)
    bucket = store.read_arrays(BOUNDS_NAME.format(label))["bucket"][_digits(scores)[:, 0]]
    records = packed(RANKED, row=global_rows(shard.index, rows), score=scores)
    write_groups(store, SENT_NAME.format(f"{label}-{shard.identity}"), bucket, RANKED, records.__getitem__)
    return {"rows": len(rows)}


def rank_bucket(bucket: int, names: Sequence[str], label: str, total: int, store_url: str) -> dict[str, int]:
    """Rank a bucket's rows among all of the pool, and send the ranks to their shards."""
    store = Store(store_url)
    records = read_groups(store, names, bucket)
    found = np.zeros(0, RANKED) if records is None else records
    below = int(store.read_arrays(BOUNDS_NAME.format(label))["below"][bucket])
    ranks = (below + mid_ranks(np.ascontiguousarray(found["score"])) * len(found)) / max(total, 1)
    shards, places = shard_and_row(np.ascontiguousarray(found["row"]))
    returned = packed(RETURNED, row=places, score=ranks)
    write_groups(store, RETURNED_NAME.format(f"{label}-{bucket:08d}"), shards, RETURNED, returned.__getitem__)
    return {"rows": len(found)}


def add_up(
    shard: PassingShard,
    urls: Sequence[str],
    weights: Sequence[float],
    by: str,
    scales: Sequence[Any],
    store_url: str,
) -> dict[str, int]:
    """Write the weighted sum of a shard's scores.

    Parameters
    ----------
    scales : list
        For each part: with ranks the names of the objects that hold them, else the pool's figures of the score.
    """
    store, total = Store(store_url), np.full(len(shard.reasons()), np.nan)
    rows = shard.rows()
    total[rows] = 0
    for url, weight, scale in zip(urls, weights, scales, strict=True):
        if by == "rank":
            returned = read_groups(store, scale, shard.index)
            if returned is not None:
                total[returned["row"]] += weight * returned["score"]
        else:
            total[rows] += weight * _scaled(_passing(shard, url)[1], by, scale)
    return write_scores(store, shard.identity, total)


def _scaled(scores: npt.NDArray[np.float32], by: str, figures: Mapping[str, float]) -> Float64Array:
    low, high, mean = figures["low"], figures["high"], figures["mean"]
    if by == "zscore":
        return zscores(scores, mean, figures["std"])
    between = minmax(scores, low, high)
    if by == "minmax":
        return between
    return over_mean(between, (mean - low) / (high - low) if high > low else 0.0)


def _passing(shard: PassingShard, part_url: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    rows = shard.rows()
    return rows, read_scores(Store(part_url), shard.identity)[rows]


def _digits(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    return split_digits(order_keys(scores), SCORE_DIGITS)
