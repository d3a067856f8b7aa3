"""Pictures with nearly the hash of an earlier one, found in buckets: no task holds the hashes of the pool."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filtering.config.filters import HashDuplicatesFilter
from filtering.embedding.artifacts import EmbeddedShard
from filtering.filters.artifacts import FOUND_NAME, LATER_NAME, REPEATED_ROW, HashRepeats
from filtering.filters.cuts import FAILED_NAME, judged
from filtering.filters.hash_groups import Hashes, hash_tables, repeats_of_earlier
from filtering.filters.judging import PASSES, Judging
from filtering.filters.repeats import RepeatCount, read_repeats
from filtering.runtime.records import RowCount
from filtering.runtime.shard_groups import of_shard, sent_names
from filtering.runtime.shuffle import packed, read_groups, write_groups
from filtering.runtime.stage import StageRun
from filtering.runtime.stage_objects import consume
from filtering.runtime.task_spec import task
from filtering.storage.store import Store

# Records that one task compares: 17 bytes each, and some times that while they are sorted.
BUCKET_RECORDS = 4_000_000
SENT_SUFFIX = ".hashes"
HASHED = np.dtype([("hash", "<u8"), ("shard", "<i4"), ("row", "<i4"), ("table", "u1")])
# An odd number that spreads what it is multiplied with over the upper bits: 2^64 over the golden ratio.
SPREAD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Hashing:
    """How hashes are brought together: those of a column, at most `distance` bits apart, by tables over buckets.

    `number` is the filter's place, `uid_buckets` are those of `filtering.filters.repeats`.
    """

    column: str
    distance: int
    tables: tuple[int, ...]
    buckets: int
    number: int
    uid_buckets: int


def find_hash_repeats(
    stage: StageRun,
    shards: Sequence[EmbeddedShard],
    judging: Judging,
    rule: HashDuplicatesFilter,
    rows: int,
    uid_buckets: int,
) -> HashRepeats:
    """Find the rows, of those that pass the rules so far, whose hash is near that of an earlier one in the pool.

    A row is found if any earlier one is near it, also where that one is left out itself: the first row of a group of
    rows that are linked by near hashes is always kept. Afterwards the store knows which rows pass all of
    `judging.rules` (`judged`). `rows` are those of the pool.
    """
    number, tables = len(judging.rules), hash_tables(rows, rule.bits)
    buckets = max(1, -(-rows * len(tables) // BUCKET_RECORDS))
    hashing = Hashing(rule.by, rule.bits, tables, buckets, number, uid_buckets)
    suffix, store = f"-{number}{SENT_SUFFIX}", stage.store
    sending = [
        of_shard(task(f"hashes-{number}-{s.identity}", send_hashes, s, judging, hashing, suffix, store), s)
        for s in shards
    ]
    stage.map(sending, "shards of hashes")
    names = sent_names(lambda identity: f"{identity}{suffix}", shards)
    finding = [
        task(f"near-{number}-{bucket:08d}", find_in_bucket, bucket, names, hashing, store) for bucket in range(buckets)
    ]
    stage.map(finding, "buckets of hashes")
    consume(store, suffix)
    return HashRepeats(store, number, buckets)


def send_hashes(shard: EmbeddedShard, judging: Judging, hashing: Hashing, suffix: str, store: Store) -> RowCount:
    """Send the hashes of a shard's rows that pass, each hash once, to their buckets; write the rows that repeat one.

    A row whose uid is an earlier one's is none that passes.
    """
    at = shard.shard.index
    identity, failed = shard.shard.identity, judged(shard, judging, store)
    if judging.rules:
        store.write_arrays(FAILED_NAME.format(identity, hashing.number), {"failed": failed})
    passes = failed == PASSES
    passes[list(read_repeats(store, hashing.uid_buckets, at))] = False
    rows = np.flatnonzero(passes).astype(np.int32)
    hashes = shard.rows([hashing.column])[hashing.column].to_numpy()[rows]
    first = np.sort(np.unique(hashes, return_index=True)[1])
    store.write_arrays(LATER_NAME.format(identity, hashing.number), {"row": np.delete(rows, first)})
    _send(hashes[first], rows[first], at, hashing, store, f"{identity}{suffix}")
    return RowCount(rows=len(rows))


def _send(hashes: Hashes, rows: npt.NDArray[np.int32], at: int, hashing: Hashing, store: Store, name: str) -> None:
    masks = np.array(hashing.tables, dtype=np.uint64)
    keys = (hashes[None, :] & masks[:, None]).ravel()
    tables = np.repeat(np.arange(len(masks), dtype=np.uint8), len(hashes))
    records = packed(
        HASHED,
        hash=np.tile(hashes, len(masks)),
        shard=np.full(len(keys), at, dtype=np.int32),
        row=np.tile(rows, len(masks)),
        table=tables,
    )
    bucket = ((keys * SPREAD) >> np.uint64(32)) % np.uint64(hashing.buckets)
    write_groups(store, name, bucket.astype(np.int32), HASHED, records.__getitem__)


def find_in_bucket(bucket: int, names: Sequence[str], hashing: Hashing, store: Store) -> RepeatCount:
    """Write, by shard, the rows of a bucket whose hash is near that of an earlier one in the order of the pool."""
    found = read_groups(store, names, bucket)
    records = np.zeros(0, HASHED) if found is None else found
    # Of a table they come by shard and row.
    hashes, tables = (np.ascontiguousarray(records[name]) for name in ("hash", "table"))
    later = records[repeats_of_earlier(hashes, tables, hashing.tables, hashing.distance)]
    rows = packed(REPEATED_ROW, row=later["row"])
    write_groups(store, FOUND_NAME.format(hashing.number, bucket), later["shard"], REPEATED_ROW, rows.__getitem__)
    return RepeatCount(repeats=len(later))
