"""Worker tasks of the manifests of the whole pool: kept samples go to ranges of uids, each of which a task sorts."""

import contextlib
import hashlib
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NotRequired

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from typing_extensions import TypedDict

from filtering.core.errors import DamagedError, RunError
from filtering.core.radix_select import DIGIT_VALUES
from filtering.core.uids import SUBSET_DTYPE, uid_array
from filtering.manifests.artifacts import CHANGED, SUBSET, read_split, read_whole
from filtering.manifests.by_uid import SLICE_NAME, TABLE_NAME, SelectionHash, parsed_range, subset_bytes, subset_header
from filtering.manifests.uid_ranges import divided, prefix_counts, range_of, uid_digits
from filtering.manifests.uid_records import SENT, UidRange, sent_records, sorted_range
from filtering.runtime.records import RowCount
from filtering.runtime.shuffle import read_groups, write_groups
from filtering.storage.assembly import assemble
from filtering.storage.checksums import table_bytes
from filtering.storage.store import Store, checksum, stream_object
from filtering.storage.streams import fetched_ahead, next_bytes

SENT_SUFFIX, COUNTS_SUFFIX, SLICE_SUFFIX = ".kept", ".prefixes.npz", ".subset"
STARTS = "starts.npz"
# Tables that are read while one is hashed.
READ_AHEAD = 2
SENT_NAME, COUNTS_NAME, OWN_SLICE_NAME = "{:08d}" + SENT_SUFFIX, "{}" + COUNTS_SUFFIX, "{:08d}" + SLICE_SUFFIX


class Division(TypedDict):
    """The first uids of ranges, and the prefixes of uids that are too many for one."""

    starts: list[str]
    heavy: list[str]


class SortedRange(TypedDict):
    """A range's rows, the checksums of what it has under fixed names, and the CRC-32 of its part of subset.npy."""

    rows: int
    checksums: dict[str, str]
    crc: int


class PoolFile(TypedDict):
    """The checksums of a file of the whole pool; or the hash of the selection."""

    checksums: dict[str, str]
    hash: NotRequired[str]


def count_prefixes(shards: Sequence[int], prefixes: Sequence[str], label: str, run: Store, store: Store) -> RowCount:
    """Count the kept samples of some shards by the digit after each prefix of a uid."""
    tables = [read_split(run, "kept", shard, ["uid"]) for shard in shards]
    digits, rows = uid_digits(uid_array(pa.concat_tables(tables)["uid"])), 0
    arrays = dict[str, npt.NDArray[np.int64]]()
    for prefix in prefixes:
        counts = prefix_counts(digits, prefix)
        arrays |= {f"digit-{prefix}": np.flatnonzero(counts), f"count-{prefix}": counts[counts > 0]}
        rows += int(counts.sum())
    store.write_arrays(COUNTS_NAME.format(label), arrays)
    return RowCount(rows=rows)


def divide(prefixes: Sequence[str], labels: Sequence[str], most: int, store: Store) -> Division:
    """Divide the uids that begin with some prefixes into ranges of at most `most`, from the counts of all batches.

    Memory: half a MiB a prefix, of which there are fewer than ranges.
    """
    found = {prefix: np.zeros(DIGIT_VALUES, np.int64) for prefix in prefixes}
    for label in labels:
        arrays = store.read_arrays(COUNTS_NAME.format(label))
        for prefix, counts in found.items():
            counts[arrays[f"digit-{prefix}"]] += arrays[f"count-{prefix}"]
    divisions = [divided(prefix, counts, most) for prefix, counts in found.items()]
    return Division(
        starts=[one for starts, _ in divisions for one in starts],
        heavy=[one for _, heavy in divisions for one in heavy],
    )


def write_starts(starts: Sequence[str], store: Store) -> None:
    """Write the first uids of all ranges, for the tasks of all batches."""
    store.write_arrays(STARTS, {"starts": np.array(starts, dtype="S32")})


def send_kept(shards: Sequence[int], number: int, run: Store, store: Store) -> RowCount:
    """Send the kept samples of some shards to the ranges of their uids."""
    tables = [read_split(run, "kept", shard, ["uid", "key"]) for shard in shards]
    whose = np.repeat(np.array(shards, np.int32), [len(table) for table in tables])
    kept = pa.concat_tables(tables)
    uids = uid_array(kept["uid"])
    records, row = sent_records(uids, kept["key"], whose)
    groups = range_of(uids, store.read_arrays(STARTS)["starts"])[row]
    write_groups(store, SENT_NAME.format(number), groups, SENT, records.__getitem__)
    return RowCount(rows=len(kept))


def sort_range(number: int, batches: int, sliced: bool, run: Store, store: Store) -> SortedRange:
    """Write the table of a range of uids, and its part of subset.npy: by itself for good if the subset is sliced.

    `batches` have sent their samples. RunError if a uid is kept twice.
    """
    records = read_groups(store, [SENT_NAME.format(batch) for batch in range(batches)], number)
    found = sorted_range(np.zeros(0, SENT) if records is None else records)
    del records
    _check_once(found, run)
    name, subset = TABLE_NAME.format(number), found.subset()
    data = table_bytes(run.path(name), found.table())
    run.write(name, data)
    sums = {name: checksum(data)}
    if sliced:
        data = subset_bytes(subset)
        run.write(SLICE_NAME.format(number), data)
        sums[SLICE_NAME.format(number)] = checksum(data)
    else:
        store.write(OWN_SLICE_NAME.format(number), subset.tobytes())
    return SortedRange(rows=len(subset), checksums=sums, crc=zlib.crc32(subset.tobytes()))


def _check_once(found: UidRange, run: Store) -> None:
    repeated = found.repeated()
    if len(repeated):
        at = int(repeated[0])
        sample = found.table().slice(at - 1, 2).to_pylist()
        first, second = (f"{one['key']} of shard {one['shard']}" for one in sample)
        raise RunError(
            f"{run.url}: uid {sample[0]['uid']} is kept twice, as {first} and {second} (counted from 0), though the "
            "filters let each uid pass once; choose an empty output"
        )


def write_subset(ranges: Sequence[SortedRange], run: Store, store: Store) -> PoolFile:
    """Write subset.npy from the ranges' parts, and read it again: DamagedError if a part is not as it was written."""
    names = [OWN_SLICE_NAME.format(number) for number in range(len(ranges))]
    rows = [one["rows"] for one in ranges]
    header, sizes = subset_header(sum(rows)), [count * SUBSET_DTYPE.itemsize for count in rows]
    assemble(run.path(SUBSET), header, dict(zip(map(store.path, names), sizes, strict=True)))
    found = hashlib.sha256()
    with stream_object(run.path(SUBSET)) as stream:
        found.update(next_bytes(stream, len(header)))
        for name, size, one in zip(names, sizes, ranges, strict=True):
            part = next_bytes(stream, size)
            if zlib.crc32(part) != one["crc"]:
                raise DamagedError(store.path(name), "is damaged (its checksum differs)")
            found.update(part)
    return PoolFile(checksums={SUBSET: found.hexdigest()})


def hash_selection(sums: dict[str, str], run: Store) -> PoolFile:
    """Return the hash of the selection from the tables of all ranges, in order, of which one is in memory at a time.

    `sums` are their checksums; DamagedError if one has another.
    """
    found = SelectionHash()
    for table in _tables(sums, run):
        found.add(table)
    return PoolFile(checksums={}, hash=found.hexdigest())


def _tables(sums: dict[str, str], run: Store) -> Iterator[pa.Table]:
    with contextlib.closing(fetched_ahead(partial(read_whole, run), sums, READ_AHEAD)) as found:
        for name, data in found:
            if checksum(data) != sums[name]:
                raise DamagedError(run.path(name), CHANGED)
            yield parsed_range(run.path(name), data)
