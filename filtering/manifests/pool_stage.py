"""The files of the whole pool, from the shards' kept tables alone: no task, and not the driver, holds all samples."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from filtering.manifests.by_uid import INDEX, SLICE_NAME, TABLE_NAME, IndexedRange, UidIndex
from filtering.manifests.uid_ranges import FIRST
from filtering.manifests.uid_tasks import (
    COUNTS_SUFFIX,
    SENT_SUFFIX,
    SLICE_SUFFIX,
    SortedRange,
    count_prefixes,
    divide,
    hash_selection,
    send_kept,
    sort_range,
    write_starts,
    write_subset,
)
from filtering.runtime.stage import StageRun
from filtering.runtime.stage_objects import consume
from filtering.runtime.task_spec import task
from filtering.storage.store import Store, checksum

# Kept samples that one task sorts, about 250 bytes each, and that one task sends: the shards of a batch are as many.
RANGE_ROWS = 2_000_000
BATCH_SHARDS = 256
# Slices that become one file: an upload in parts has up to 10,000 of them.
MOST_SLICES = 9_999


@dataclass(frozen=True, slots=True)
class PoolFiles:
    """The hash of the selection, and the checksums of the objects in manifest/ that are no shard's."""

    hash: str
    checksums: dict[str, str]


def write_pool_files(stage: StageRun, kept: Sequence[int]) -> PoolFiles:
    """Write the tables by uid, their index and the subset file from all shards' kept tables.

    `kept` are the samples of each shard, in the order of the inventory. RunError if a uid is kept twice.
    """
    run, store, batches = stage.runtime.store, stage.store, list(shard_batches(kept))
    starts = find_starts(stage, batches, sum(kept))
    write_starts(starts, store)
    sending = [task(f"send-{n:08d}", send_kept, batch, n, run, store) for n, batch in enumerate(batches)]
    stage.map(sending, "batches of kept samples")
    sliced = len(starts) > MOST_SLICES
    sorting = [task(f"range-{n:08d}", sort_range, n, len(batches), sliced, run, store) for n in range(len(starts))]
    ranges = stage.map(sorting, "ranges of uids")
    for suffix in (SENT_SUFFIX, COUNTS_SUFFIX):
        consume(store, suffix)
    sums = {name: value for one in ranges for name, value in one["checksums"].items()}
    tables = {name: value for name, value in sums.items() if name.startswith(TABLE_NAME.partition("{")[0])}
    writing = [task("hash", hash_selection, tables, run)]
    if not sliced:
        writing.append(task("subset", write_subset, ranges, run, store))
    files = stage.map(writing, "files of the pool")
    consume(store, SLICE_SUFFIX)
    for one in files:
        sums |= one["checksums"]
    sums[INDEX] = _write_index(run, starts, ranges, sliced)
    return PoolFiles(files[0]["hash"], sums)


def shard_batches(kept: Sequence[int]) -> Iterator[list[int]]:
    """Yield shards that follow each other and have, together, at most `RANGE_ROWS` kept samples, unless it is one.

    Those without any are left out.
    """
    batch, rows = list[int](), 0
    for shard, count in enumerate(kept):
        if batch and (rows + count > RANGE_ROWS or len(batch) == BATCH_SHARDS):
            yield batch
            batch, rows = [], 0
        if count:
            batch.append(shard)
            rows += count
    if batch:
        yield batch


def find_starts(stage: StageRun, batches: Sequence[Sequence[int]], rows: int) -> list[str]:
    """Return the first uids of ranges of at most `RANGE_ROWS` of the pool's kept `rows`, ascending from `FIRST`."""
    run, store, starts = stage.runtime.store, stage.store, list[str]()
    prefixes = [""] if rows > RANGE_ROWS else []
    while prefixes:
        place = f"prefix-{len(prefixes[0])}"
        labels = [f"{place}-{number:08d}" for number in range(len(batches))]
        counting = [
            task(label, count_prefixes, batch, prefixes, label, run, store)
            for label, batch in zip(labels, batches, strict=True)
        ]
        stage.map(counting, "batches counted")
        found = stage.call(place, divide, prefixes, labels, RANGE_ROWS, store)
        starts, prefixes = starts + found["starts"], found["heavy"]
    # No range begins before the first: uids that are less than all would have none.
    return [FIRST, *sorted(starts)[1:]]


def _write_index(run: Store, starts: Sequence[str], ranges: Sequence[SortedRange], sliced: bool) -> str:
    """Write by_uid.json; return its checksum."""
    indexed = [
        IndexedRange(first=first, rows=one["rows"], table=TABLE_NAME.format(number))
        for number, (first, one) in enumerate(zip(starts, ranges, strict=True))
    ]
    if sliced:
        indexed = [{**one, "subset": SLICE_NAME.format(number)} for number, one in enumerate(indexed)]
    data = json.dumps(UidIndex(rows=sum(one["rows"] for one in ranges), ranges=indexed), indent=1).encode() + b"\n"
    run.write(INDEX, data)
    return checksum(data)
