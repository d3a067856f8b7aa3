"""Uids that occur more than once in the pool, found in buckets: no task holds all uids."""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from filtering.core.uids import hashed, uid_array
from filtering.embedding.artifacts import EmbeddedShard
from filtering.runtime.records import RowCount
from filtering.runtime.shuffle import packed, read_groups, write_groups
from filtering.storage.store import Store

# Uids that one task compares: 48 bytes each, and as much again while they are sorted.
BUCKET_ROWS = 4_000_000
BUCKET_SEED = 5
SPREAD_NAME = "{}.uids"
REPEATS_NAME = "{:08d}.repeats"
UID = np.dtype([("uid", "S32"), ("shard", "<i4"), ("row", "<i4")])
REPEAT = np.dtype([("row", "<i4")])


class RepeatCount(TypedDict):
    """The result of comparing the uids of a bucket: how many rows repeat one."""

    repeats: int


def bucket_count(rows: int) -> int:
    """Return the number of buckets for the uids of a pool."""
    return max(1, -(-rows // BUCKET_ROWS))


def spread_uids(shard: EmbeddedShard, at: int, buckets: int, store: Store) -> RowCount:
    """Send the uids of the shard at a place in the list to their buckets."""
    uids = uid_array(shard.rows(["uid"])["uid"])
    rows = np.arange(len(uids), dtype=np.int32)
    records = packed(UID, uid=uids, shard=np.full(len(uids), at, dtype=np.int32), row=rows)
    bucket = (hashed(uids, BUCKET_SEED) % np.uint64(buckets)).astype(np.int32)
    write_groups(store, SPREAD_NAME.format(shard.shard.identity), bucket, UID, records.__getitem__)
    return RowCount(rows=len(uids))


def find_repeats(bucket: int, names: Sequence[str], store: Store) -> RepeatCount:
    """Write, by shard, the rows of a bucket whose uid occurred before in the order of the pool."""
    records = read_groups(store, names, bucket)
    # They come by shard and row, and a stable order keeps that among equal uids.
    found = np.zeros(0, UID) if records is None else records[later_repeats(np.ascontiguousarray(records["uid"]))]
    rows = packed(REPEAT, row=found["row"])
    write_groups(store, REPEATS_NAME.format(bucket), found["shard"], REPEAT, rows.__getitem__)
    return RepeatCount(repeats=len(found))


def read_repeats(store: Store, buckets: int, at: int) -> npt.NDArray[np.int32]:
    """Return the rows of the shard at a place in the list whose uid occurred before, int32 (n,)."""
    records = read_groups(store, [REPEATS_NAME.format(bucket) for bucket in range(buckets)], at)
    return np.zeros(0, np.int32) if records is None else np.asarray(records["row"])


def later_repeats(uids: npt.NDArray[np.bytes_]) -> npt.NDArray[np.bool_]:
    """Return which uids occurred before, in the order given; bool (n,)."""
    numbers = hashed(uids, BUCKET_SEED)
    # Numbers sort many times faster than texts; equal texts have equal numbers, and only those are compared as texts.
    order = np.argsort(numbers, kind="stable")
    same = numbers[order[1:]] == numbers[order[:-1]]
    suspects = np.sort(order[np.r_[same, False] | np.r_[False, same]]) if len(order) else order
    _, first = np.unique(uids[suspects], return_index=True)
    repeats = np.zeros(len(uids), dtype=bool)
    repeats[np.delete(suspects, first)] = True
    return repeats
