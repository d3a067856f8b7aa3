"""A random order over all kept samples of a pool, exactly, in bounded memory: what the tasks of a shuffle do.

A sample's place is decided by a hash of its uid and the seed. First every shard sends where its samples are to buckets
of hashes; then each bucket is sorted, alone; then each tar gathers its samples, in their order, from where they are.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from filtering.core.uids import hashed, uid_array
from filtering.exports.copying import Piece
from filtering.exports.members import Positions
from filtering.exports.parts import Samples
from filtering.exports.tars import (
    Indexed,
    Placed,
    Target,
    append,
    counted,
    index_shards,
    misplaced,
    read_ranges,
    repeated,
    written_tar,
)
from filtering.manifests.finished import Source
from filtering.runtime.records import from_plain, to_plain
from filtering.runtime.shuffle import Records, packed, read_groups, write_groups
from filtering.shards.inventory import Shard
from filtering.shards.offsets import key_hash
from filtering.storage.store import Store, read_range, write_chunks

# A range of a sample: its hash, the place of its shard among those that keep anything, its row in the kept table, its
# bytes, and a hash of its key.
RANGE = np.dtype([("hash", "<u8"), ("source", "<u4"), ("row", "<u4"), ("start", "<i8"), ("end", "<i8"), ("key", "<u8")])
# The same in order, with the position of its sample in its bucket.
SORTED = np.dtype([*RANGE.descr, ("position", "<i8")])
SENT = "{:08d}.sent"
BUCKET = "{:08d}.bucket"
PLACES = "{:08d}.places.npz"
SOURCES = "sources.jsonl"
# A bucket is sorted by one task, in about 200 bytes a sample.
BUCKET_SAMPLES = 1 << 22
BUCKET_SAMPLE_BYTES = 200
# Of every so many records of a bucket the position is known, so that a tar's part of it is read alone.
STRIDE = 1 << 12


@dataclass(frozen=True, slots=True)
class Shuffle:
    """A random order: its seed, and into how many buckets of hashes it is cut."""

    seed: int
    buckets: int


def send_shards(first: int, sources: Sequence[Source], order: Shuffle, target: Target) -> Indexed:
    """Index some shards, and write their ranges by bucket; `first` is the place of the first of them."""
    found, scratch = index_shards(sources, target), target.scratch
    records = np.concatenate([_ranges(first + at, source, order, scratch) for at, source in enumerate(sources)])
    groups = ((records["hash"] >> np.uint64(32)) * np.uint64(order.buckets) >> np.uint64(32)).astype(np.int64)
    write_groups(scratch, SENT.format(first), groups, RANGE, lambda at: records[at])
    return found


def _ranges(place: int, source: Source, order: Shuffle, scratch: Store) -> Records:
    found, table = read_ranges(scratch, source), source.table(["uid", "key"])
    rows = found.rows[found.sample]
    keys = np.array([key_hash(key) for key in table["key"].to_pylist()], dtype=np.uint64)
    return packed(
        RANGE,
        hash=hashed(uid_array(table["uid"]), order.seed)[rows],
        source=np.full(len(rows), place),
        row=rows,
        start=found.start,
        end=found.end,
        key=keys[rows],
    )


class Sorted(TypedDict):
    """The result of sorting a bucket: its size, in samples or bytes, and that of its last sample."""

    size: int
    last: int


def sort_bucket(bucket: int, sent: Sequence[str], target: Target) -> Sorted:
    """Put the samples of a bucket in order."""
    scratch = target.scratch
    records = read_groups(scratch, sent, bucket)
    if records is None:
        return Sorted(size=0, last=0)
    records = records[np.lexsort((records["start"], records["row"], records["source"], records["hash"]))]
    sizes = _sizes(records, target.by_bytes)
    positions = np.cumsum(sizes) - sizes
    # All ranges of a sample are where its first one is.
    firsts = _firsts(records)
    ordered = packed(SORTED, **{name: records[name] for name in RANGE.names or ()}, position=positions[firsts])
    write_chunks(scratch.path(BUCKET.format(bucket)), _chunks(ordered))
    scratch.write_arrays(PLACES.format(bucket), {"position": ordered["position"][::STRIDE]})
    return Sorted(size=int(sizes.sum()), last=int(sizes.sum() - positions[firsts[-1]]))


def _firsts(records: Records) -> Positions:
    """Return, for each range, where the first one of its sample is, int64 (n,)."""
    new = np.r_[True, (np.diff(records["source"]) != 0) | (np.diff(records["row"]) != 0)]
    firsts: Positions = np.maximum.accumulate(np.where(new, np.arange(len(records), dtype=np.int64), 0))
    return firsts


def _sizes(records: Records, by_bytes: bool) -> Positions:
    """Return what each range adds to positions: its bytes, or 1 for the first of a sample."""
    if by_bytes:
        return np.asarray(records["end"] - records["start"], dtype=np.int64)
    return np.asarray(_firsts(records) == np.arange(len(records)), dtype=np.int64)


def _chunks(records: Records) -> Iterator[bytes]:
    for start in range(0, len(records), STRIDE):
        yield records[start : start + STRIDE].tobytes()


@dataclass(frozen=True, slots=True)
class PlacedBucket:
    """A bucket, and the position at which its samples start."""

    bucket: int
    position: int


def copy_shuffled(number: int, buckets: Sequence[PlacedBucket], target: Target) -> Samples:
    """Write a tar of the samples that the order gives it.

    Memory: 72 bytes a range of the tar, about 500 a shard of the pool, and what `RangeCopier` takes.
    """
    scratch = target.scratch
    records = np.concatenate([_part(placed, number, target) for placed in buckets])
    lines = scratch.read(SOURCES).splitlines()
    sources = {
        place: from_plain(Placed, json.loads(lines[place]), SOURCES) for place in np.unique(records["source"]).tolist()
    }
    _check_keys(number, records, sources)
    holders = {place: placed.holder(scratch) for place, placed in sources.items()}
    first = np.flatnonzero(_firsts(records) == np.arange(len(records)))
    sizes = np.add.reduceat(records["end"] - records["start"], first)
    with written_tar(number, target) as tar:
        wrong = append(tar, _pieces(records, holders), sizes, records["key"][first].tolist())
        if wrong is not None:
            found = records[first[wrong]]
            source = sources[int(found["source"])].source
            raise misplaced(source, source.keys()[int(found["row"])])
    return counted(number, len(first), target)


def _pieces(records: Records, holders: Mapping[int, Shard]) -> Iterator[Piece]:
    columns = (records[name].tolist() for name in ("source", "start", "end"))
    for place, start, end in zip(*columns, strict=True):
        yield Piece(holders[place].url, start, end, holders[place].version)


def _part(placed: PlacedBucket, number: int, target: Target) -> Records:
    """Return the records of a bucket whose samples start in the tar of a number."""
    scratch = target.scratch
    wanted = np.array([number * target.each, (number + 1) * target.each]) - placed.position
    known = scratch.read_arrays(PLACES.format(placed.bucket))["position"]
    first, last = (int(np.searchsorted(known, at)) for at in wanted)
    start, end = (at * STRIDE * SORTED.itemsize for at in (max(first - 1, 0), last))
    data = read_range(scratch.path(BUCKET.format(placed.bucket)), start, end)
    records = np.frombuffer(data, dtype=SORTED)
    begin, end = np.searchsorted(records["position"], wanted).tolist()
    return records[begin:end]


def _check_keys(number: int, records: Records, sources: dict[int, Placed]) -> None:
    own = records[_firsts(records) == np.arange(len(records))]
    order = np.argsort(own["key"], kind="stable")
    same = np.flatnonzero(own["key"][order][1:] == own["key"][order][:-1])
    if len(same):
        first, second = own[order[same[0]]], own[order[same[0] + 1]]
        one, other = (sources[int(found["source"])].source for found in (first, second))
        raise repeated(number, one.keys()[int(first["row"])], one.shard.url, other.shard.url)


def source_line(source: Source, whole: bool) -> str:
    """Return a shard, and whether its samples are read from itself, as a line of `SOURCES`."""
    return json.dumps(to_plain(Placed(source, 0, whole))) + "\n"
