"""What a finished run wrote outside its stages' folders, read again: everything is compared with what was written.

The checksums are those of checksums.json and of the records of the stages; an object's own would be right in another
run's object of the same name too.
"""

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from functools import cached_property

import pyarrow as pa

from filtering.core.errors import DamagedError, InputError
from filtering.core.parsing import parsed
from filtering.manifests.artifacts import (
    CHANGED,
    CHECKSUMS,
    COPIED_AT_ONCE,
    MANIFESTS_STAGE,
    REPORT_STAGE,
    SHARDS,
    SUBSET,
    Kind,
    ShardLine,
    SummedRecord,
    damage,
    parsed_split,
    read_whole,
    table_name,
)
from filtering.manifests.by_uid import INDEX, IndexedRange, UidIndex
from filtering.runtime.run_record import RunRecord, check_same, fingerprint_of, mark_of
from filtering.runtime.stage import FOLDER
from filtering.runtime.stage_objects import RECORD_SUFFIX
from filtering.storage.checksums import MissingError
from filtering.storage.reading import read_record_as
from filtering.storage.store import Store, checksum, stream_object


class WrittenManifest:
    """The manifest of a finished run; the checksums of its objects are read once, when they are first needed.

    Every reader raises DamagedError if an object is not there, or not as the run wrote it; InputError where the run was
    made again, with other results, since its record was read.
    """

    def __init__(self, run: Store, record: RunRecord) -> None:
        self.run, self.record, self.mark = run, record, mark_of(record)
        self._noted = written_sums(run, record, MANIFESTS_STAGE)
        self._reading = threading.Lock()

    @cached_property
    def _sums(self) -> dict[str, str]:
        """The checksum of each object by its name, as checksums.json has it."""
        data = read_whole(self.run, CHECKSUMS)
        # Of a run of an older version, and where the stage's record is gone, nothing is known of it.
        if CHECKSUMS in self._noted:
            check_written(self.run, self.mark, CHECKSUMS, checksum(data), self._noted[CHECKSUMS])
        return parsed(dict[str, str], data, self.run.path(CHECKSUMS))

    def lists(self, name: str) -> bool:
        """Return whether an object was written, as checksums.json says."""
        with self._reading:
            return name in self._noted or name in self._sums

    def checksum(self, name: str) -> str:
        """Return the checksum of an object as it was written; DamagedError if it is not known."""
        # Threads that ask at once wait for the one that reads.
        with self._reading:
            found = self._noted.get(name) or self._sums.get(name)
        if found is None:
            raise DamagedError(self.run.path(CHECKSUMS), f"does not list {name}")
        return found

    def read(self, name: str) -> bytes:
        """Return an object."""
        return read_written(self.run, self.mark, name, self.checksum(name))

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield an object, 1 MiB at a time; that it is another one is said after the last."""
        expected, found = self.checksum(name), hashlib.sha256()
        try:
            with stream_object(self.run.path(name)) as stream:
                while chunk := stream.read(COPIED_AT_ONCE):
                    found.update(chunk)
                    yield chunk
        except FileNotFoundError:
            raise MissingError(self.run.path(name)) from None
        check_written(self.run, self.mark, name, found.hexdigest(), expected)

    def table(self, kind: Kind, index: int, columns: list[str] | None = None) -> pa.Table:
        """Return a shard's kept, dropped or quarantined table, or some of its columns."""
        name = table_name(kind, index)
        return parsed_split(self.run.path(name), self.read(name), kind, columns)

    def uid_ranges(self) -> list[IndexedRange]:
        """Return the ranges of by_uid.json; none where an older version wrote the run."""
        if not self.lists(INDEX):
            return []
        return parsed(UidIndex, self.read(INDEX), self.run.path(INDEX))["ranges"]

    def check_subset_file(self) -> None:
        """Refuse a run whose kept samples are too many for one subset file: InputError."""
        if not self.lists(SUBSET):
            raise InputError(
                f"{self.run.url}: has more kept samples than one {SUBSET} holds; read manifest/subset/*.npy instead, "
                "in the order of their names"
            )

    def shard_lines(self) -> list[ShardLine]:
        """Return the lines of shards.jsonl."""
        lines, where = self.read(SHARDS).split(b"\n"), self.run.path(SHARDS)
        found = [parsed(ShardLine, line, f"{where}: line {number}") for number, line in enumerate(lines, 1) if line]
        for index, line in enumerate(found):
            if line["keys"] != table_name("kept", index):
                raise DamagedError(
                    f"{where}: line {index + 1}", f"is damaged: keys must be {table_name('kept', index)}"
                )
        return found


def read_written(run: Store, mark: str, name: str, expected: str) -> bytes:
    """Return an object of a finished run; DamagedError if it is not there, else errors of `check_written`."""
    data = read_whole(run, name)
    check_written(run, mark, name, checksum(data), expected)
    return data


def check_written(run: Store, mark: str, name: str, found: str, expected: str) -> None:
    """Check the checksum that an object of a finished run has; DamagedError if another one was written.

    InputError where the run's results are no longer those of `mark`: the object may be of either.
    """
    if found != expected:
        check_same(run, mark)
        raise DamagedError(run.path(name), CHANGED)


def written_sums(run: Store, record: RunRecord, stage: str) -> dict[str, str]:
    """Return the checksums that a stage's record holds of objects outside its folder; none where it is not there.

    Older versions noted none, or fewer.
    """
    with contextlib.suppress(DamagedError):
        fingerprint = fingerprint_of(run, record, stage)
        folder = run.child(record["objects"].get(stage, f"{FOLDER}/{stage}-{fingerprint}"))
        return read_record_as(folder, f"{fingerprint}{RECORD_SUFFIX}", SummedRecord)["result"]["checksums"]
    return {}


def check_report(run: Store, record: RunRecord) -> None:
    """Check the page of a finished run and its data, as `read_report` does."""
    for name, fault in damage(run, written_sums(run, record, REPORT_STAGE)):
        check_same(run, mark_of(record))
        raise DamagedError(run.path(name), fault)


def read_report(run: Store, record: RunRecord, name: str) -> bytes:
    """Return the page of a finished run, or its data; errors of `read_written`, where their checksums are known."""
    data, sums = read_whole(run, name), written_sums(run, record, REPORT_STAGE)
    if name in sums:
        check_written(run, mark_of(record), name, checksum(data), sums[name])
    return data
