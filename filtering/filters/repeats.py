"""Uids that occur more than once in the pool, found in buckets: no task holds all uids."""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filtering.core.uids import hashed, uid_array
from filtering.embedding.artifacts import EmbeddedShard
from filtering.filters.artifacts import DUPLICATE_UID, UID_CONFLICT
from filtering.runtime.records import RowCount
from filtering.runtime.shuffle import Positions, packed, read_groups, write_groups
from filtering.storage.store import Store

# Uids that one task compares: 56 bytes each, and as much again while they are sorted.
BUCKET_ROWS = 4_000_000
BUCKET_SEED = 5
SPREAD_NAME = "{}.uids"
REPEATS_NAME = "{:08d}.repeats"
UID = np.dtype([("uid", "S32"), ("content", "<u8"), ("shard", "<i4"), ("row", "<i4")])
REPEAT = np.dtype([("row", "<i4"), ("conflict", "?")])
# The content of a row that an older version embedded.
UNKNOWN = 0


class RepeatCount(TypedDict):
    """The result of comparing the uids of a bucket: how many rows repeat one."""

    repeats: int


def bucket_count(rows: int) -> int:
    """Return the number of buckets for the uids of a pool."""
    return max(1, -(-rows // BUCKET_ROWS))


def spread_uids(shard: EmbeddedShard, at: int, buckets: int, store: Store) -> RowCount:
    """Send the uids of the shard at a place in the list to their buckets."""
    table = shard.rows(["uid", "content"])
    uids, rows = uid_array(table["uid"]), np.arange(len(table), dtype=np.int32)
    whose = np.full(len(uids), at, dtype=np.int32)
    records = packed(UID, uid=uids, content=_contents(table), shard=whose, row=rows)
    bucket = (hashed(uids, BUCKET_SEED) % np.uint64(buckets)).astype(np.int32)
    write_groups(store, SPREAD_NAME.format(shard.shard.identity), bucket, UID, records.__getitem__)
    return RowCount(rows=len(uids))


def find_repeats(bucket: int, names: Sequence[str], store: Store) -> RepeatCount:
    """Write, by shard, the rows of a bucket whose uid occurred before in the order of the pool.

    A row is in conflict with the first of its uid where that has another content; where one is unknown, it is not.
    """
    found = read_groups(store, names, bucket)
    records = np.zeros(0, UID) if found is None else found
    # They come by shard and row, and a stable order keeps that among equal uids.
    later, first = later_repeats(np.ascontiguousarray(records["uid"]))
    own, others = records["content"][later], records["content"][first]
    conflict = (own != others) & (own != UNKNOWN) & (others != UNKNOWN)
    rows = packed(REPEAT, row=records["row"][later], conflict=conflict)
    write_groups(store, REPEATS_NAME.format(bucket), records["shard"][later], REPEAT, rows.__getitem__)
    return RepeatCount(repeats=len(later))


def read_repeats(store: Store, buckets: int, at: int) -> dict[int, str]:
    """Return the rows of the shard at a place in the list whose uid occurred before, each with the reason to give."""
    records = read_groups(store, [REPEATS_NAME.format(bucket) for bucket in range(buckets)], at)
    if records is None:
        return {}
    reasons = [UID_CONFLICT if conflict else DUPLICATE_UID for conflict in records["conflict"].tolist()]
    return dict(zip(records["row"].tolist(), reasons, strict=True))


def _contents(table: pa.Table) -> npt.NDArray[np.uint64]:
    if "content" not in table.column_names:
        return np.zeros(len(table), dtype=np.uint64)
    return np.asarray(table["content"].fill_null(UNKNOWN))


def later_repeats(uids: npt.NDArray[np.bytes_]) -> tuple[Positions, Positions]:
    """Return which uids occurred before, in the order given, ascending, and where each did first; int64 (m,) each."""
    numbers = hashed(uids, BUCKET_SEED)
    # Numbers sort many times faster than texts; equal texts have equal numbers, and only those are compared as texts.
    order = np.argsort(numbers, kind="stable")
    same = numbers[order[1:]] == numbers[order[:-1]]
    suspects = np.sort(order[np.r_[same, False] | np.r_[False, same]]) if len(order) else order
    _, index, group = np.unique(uids[suspects], return_index=True, return_inverse=True)
    first = suspects[index][group]
    later = first != suspects
    return suspects[later], first[later]
