"""The names and readers of what a run leaves behind."""

import contextlib
import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from typing_extensions import TypedDict

from filtering.core import schemas
from filtering.core.errors import DamagedError
from filtering.core.parsing import Count, parsed
from filtering.core.uids import SUBSET_DTYPE
from filtering.runtime.run_record import RunRecord, check_same, fingerprint_of, mark_of
from filtering.runtime.stage import FOLDER
from filtering.runtime.stage_objects import RECORD_SUFFIX
from filtering.storage.checksums import MissingError, read_output
from filtering.storage.decoding import check_table
from filtering.storage.reading import read_as, read_record_as
from filtering.storage.store import Store, checksum, stream_object

REPORT = "report/index.html"
# The data of the report.
REPORT_DATA = "report/page.json"
# The name of the stage that writes both.
REPORT_STAGE = "report"
MANIFESTS_STAGE = "manifests"
SUBSET = "manifest/subset.npy"
SHARDS = "manifest/shards.jsonl"
CHECKSUMS = "manifest/checksums.json"
Kind = Literal["kept", "dropped", "quarantined"]
KINDS: tuple[Kind, ...] = ("kept", "dropped", "quarantined")
HASHED_ROWS = 65_536
# Objects read at once where many are checked.
READERS = 8
COPIED_AT_ONCE = 1 << 20
CHANGED = "its bytes have changed since it was written"


@dataclass(frozen=True, slots=True)
class ManifestsResult:
    """Where the samples of the pool ended."""

    totals: dict[str, int]  # samples by `input`, `kept`, `dropped` and `quarantined`
    reasons: dict[str, dict[str, int]]  # samples by reason, of `dropped` and of `quarantined`
    manifest_hash: str  # the hash of the selection, see `manifest_hash`
    checksums: dict[str, str]  # of checksums.json, shards.jsonl and subset.npy

    @property
    def summary(self) -> str:
        """One line for a person."""
        return ", ".join(f"{self.totals[kind]:,} {kind}" for kind in KINDS)


class ShardLine(TypedDict):
    """A line of shards.jsonl: a shard's URL, its samples by outcome, and the name of its kept table."""

    url: str
    samples: Count
    kept: Count
    dropped: Count
    quarantined: Count
    keys: str


SCHEMAS: dict[Kind, pa.Schema] = {"kept": schemas.KEPT, "dropped": schemas.DROPPED, "quarantined": schemas.QUARANTINED}
NULLABLE = ("member", "key", "detail", "score")


class Summed(TypedDict):
    """The part of a result that says which checksums the objects had that were written."""

    checksums: dict[str, str]


class SummedRecord(TypedDict):
    """What is read of the record of a stage or task that wrote objects outside its folder."""

    result: Summed


def table_name(kind: str, index: int) -> str:
    """Return the name of a shard's kept, dropped or quarantined table, relative to the run."""
    return f"manifest/{kind}/{index:08d}.parquet"


def read_split(run: Store, kind: Kind, index: int, columns: list[str] | None = None) -> pa.Table:
    """Return a shard's kept, dropped or quarantined table, or some of its columns; errors as in `read_manifest`."""
    return read_manifest(run, table_name(kind, index), SCHEMAS[kind], columns)


def read_manifest(run: Store, name: str, schema: pa.Schema, columns: list[str] | None = None) -> pa.Table:
    """Return a table of a run's manifest, or some of its columns.

    Raises DamagedError if it is missing, does not hold what was written, or has other columns than its schema.
    """
    table = read_stored(run, name, columns)
    check_table(table, schema, columns or schema.names, NULLABLE, run.path(name))
    return table


def read_stored(run: Store, name: str, columns: list[str] | None = None) -> pa.Table:
    """Return a table as `read_manifest`, whatever its columns are."""
    try:
        data = run.read(name)
    except FileNotFoundError:
        raise MissingError(run.path(name)) from None
    return read_output(run.path(name), data, columns)


def damage(run: Store, sums: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the objects of a run that do not have these checksums, with what is wrong."""
    with ThreadPoolExecutor(READERS, thread_name_prefix="check") as readers:
        for name, fault in zip(sums, readers.map(partial(_fault, run), sums.items()), strict=True):
            if fault:
                yield name, fault


def _fault(run: Store, entry: tuple[str, str]) -> str:
    name, expected = entry
    try:
        return "" if checksum(run.read(name)) == expected else CHANGED
    except FileNotFoundError:
        return "is not there"


def written_sums(run: Store, record: RunRecord, stage: str) -> dict[str, str]:
    """Return the checksums that a stage's record holds of objects outside its folder; none where it is not there.

    Older versions noted none, or fewer.
    """
    with contextlib.suppress(DamagedError):
        fingerprint = fingerprint_of(run, record, stage)
        folder = run.child(record["objects"].get(stage, f"{FOLDER}/{stage}-{fingerprint}"))
        return read_record_as(folder, f"{fingerprint}{RECORD_SUFFIX}", SummedRecord)["result"]["checksums"]
    return {}


def check_written(run: Store, record: RunRecord, name: str, found: str, expected: str) -> None:
    """Check the checksum that an object of a finished run has; DamagedError if another one was written.

    InputError where the run was made again since its record was read: the object may be of either.
    """
    if found != expected:
        check_same(run, mark_of(record))
        raise DamagedError(run.path(name), CHANGED)


def read_written(run: Store, record: RunRecord, name: str) -> bytes:
    """Return an object of a finished run's manifest; DamagedError if it is not there, or not as it was written."""
    data = read_whole(run, name)
    check_written(run, record, name, checksum(data), _written_sum(run, record, name))
    return data


def chunks_written(run: Store, record: RunRecord, name: str) -> Iterator[bytes]:
    """Yield an object as `read_written`, 1 MiB at a time; the error is raised after the last."""
    expected, found = _written_sum(run, record, name), hashlib.sha256()
    try:
        with stream_object(run.path(name)) as stream:
            while chunk := stream.read(COPIED_AT_ONCE):
                found.update(chunk)
                yield chunk
    except FileNotFoundError:
        raise MissingError(run.path(name)) from None
    check_written(run, record, name, found.hexdigest(), expected)


def read_report(run: Store, record: RunRecord, name: str) -> bytes:
    """Return the page of a finished run, or its data; errors as of `read_written`, where their checksums are known."""
    data, sums = read_whole(run, name), written_sums(run, record, REPORT_STAGE)
    if name in sums:
        check_written(run, record, name, checksum(data), sums[name])
    return data


def _written_sum(run: Store, record: RunRecord, name: str) -> str:
    noted = written_sums(run, record, MANIFESTS_STAGE)
    # Of a run of an older version, and where the stage's record is gone.
    sums = noted if name in noted else checked_sums(run, record, noted)
    if name not in sums:
        raise DamagedError(run.path(CHECKSUMS), f"does not list {name}")
    return sums[name]


def checked_sums(run: Store, record: RunRecord, noted: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return checksums.json of a finished run; DamagedError if it is not there, or not as it was written.

    `noted` are the `written_sums` of the stage manifests, if they were read.
    """
    data = read_whole(run, CHECKSUMS)
    noted = written_sums(run, record, MANIFESTS_STAGE) if noted is None else noted
    if CHECKSUMS in noted:
        check_written(run, record, CHECKSUMS, checksum(data), noted[CHECKSUMS])
    return parsed(dict[str, str], data, run.path(CHECKSUMS))


def read_shard_lines(run: Store, record: RunRecord) -> list[ShardLine]:
    """Return the lines of shards.jsonl; DamagedError as of `read_written`, or if one is something else."""
    lines, where = read_written(run, record, SHARDS).split(b"\n"), run.path(SHARDS)
    found = [parsed(ShardLine, line, f"{where}: line {number}") for number, line in enumerate(lines, 1) if line]
    for index, line in enumerate(found):
        if line["keys"] != table_name("kept", index):
            raise DamagedError(f"{where}: line {index + 1}", f"is damaged: keys must be {table_name('kept', index)}")
    return found


def read_sums(run: Store) -> dict[str, str]:
    """Return checksums.json: the checksum of each object by its name; FileNotFoundError if there is none."""
    return read_as(run, CHECKSUMS, dict[str, str])


def read_whole(run: Store, name: str) -> bytes:
    """Return an object that every finished run has; DamagedError if it is not there."""
    try:
        return run.read(name)
    except FileNotFoundError:
        raise MissingError(run.path(name)) from None


def read_subset(run: Store) -> npt.NDArray[Any]:
    """Return subset.npy; DamagedError if it is no array."""
    try:
        subset: npt.NDArray[Any] = np.load(io.BytesIO(read_whole(run, SUBSET)), allow_pickle=False)
    except (ValueError, EOFError, OSError):
        raise DamagedError(run.path(SUBSET), "is no array") from None
    return subset


def subset_bytes(subset: npt.NDArray[Any]) -> bytes:
    """Return the bytes of subset.npy."""
    buffer = io.BytesIO()
    np.save(buffer, subset.astype(SUBSET_DTYPE), allow_pickle=False)
    return buffer.getvalue()


def manifest_hash(kept: Iterable[pa.Table]) -> str:
    """Return the hash of a selection: sha256 over `uid<TAB>key<LF>` of every kept sample, sorted by uid."""
    columns = [table.select(["uid", "key"]) for table in kept]
    lines = hashlib.sha256()
    if columns:
        ordered = pa.concat_tables(columns).sort_by([("uid", "ascending"), ("key", "ascending")])
        for batch in ordered.to_batches(max_chunksize=HASHED_ROWS):
            pairs = zip(batch["uid"].to_pylist(), batch["key"].to_pylist(), strict=True)
            lines.update("".join(f"{uid}\t{key}\n" for uid, key in pairs).encode())
    return lines.hexdigest()
