"""The names and readers of what a run leaves behind."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NotRequired

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from typing_extensions import TypedDict

from filtering.core import schemas
from filtering.core.parsing import Count
from filtering.storage.checksums import MissingError, read_output
from filtering.storage.decoding import check_table
from filtering.storage.outputs import checksum_of
from filtering.storage.reading import read_as
from filtering.storage.store import Store, checksum

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
    manifest_hash: str  # the hash of the selection, see `by_uid.SelectionHash`
    checksums: dict[str, str]  # of checksums.json, shards.jsonl, by_uid.json and, if it is one file, subset.npy
    epoch: int = 0  # samples of an epoch, repeats among them; 0 where samples have no weights

    @property
    def summary(self) -> str:
        """One line for a person."""
        found = ", ".join(f"{self.totals[kind]:,} {kind}" for kind in KINDS)
        return f"{found}; an epoch has {self.epoch:,} samples" if self.epoch else found


class ShardLine(TypedDict):
    """A line of shards.jsonl: a shard's URL, its samples by outcome, and the name of its kept table."""

    url: str
    samples: Count
    kept: Count
    dropped: Count
    quarantined: Count
    keys: str
    # Where samples are weighed: how many are seen at least once in an epoch, at least twice, and so on
    repeats: NotRequired[list[Count]]


SCHEMAS: dict[Kind, pa.Schema] = {"kept": schemas.KEPT, "dropped": schemas.DROPPED, "quarantined": schemas.QUARANTINED}
# The column of kept tables where samples are weighed.
REPEAT = "repeat"
NULLABLE = ("member", "key", "detail", "score")


class Summed(TypedDict):
    """The part of a result that says which checksums the objects had that were written."""

    checksums: dict[str, str]


class SummedRecord(TypedDict):
    """What is read of the record of a stage or task that wrote objects outside its folder."""

    result: Summed


class SplitRecord(TypedDict):
    """What is read of the record of a task that wrote a shard's tables, or those of several."""

    result: Summed | list[Summed]


def weighed(config: Mapping[str, Any]) -> bool:
    """Return whether the kept tables of a run, by its configuration, say how often a sample is seen in an epoch."""
    return config.get("weights") is not None


def table_name(kind: str, index: int) -> str:
    """Return the name of a shard's kept, dropped or quarantined table, relative to the run."""
    return f"manifest/{kind}/{index:08d}.parquet"


def at_least(repeats: npt.NDArray[np.int32]) -> list[int]:
    """Return how many samples are seen at least once in an epoch, at least twice, and so on, by their repeats (n,)."""
    counts = np.bincount(repeats)[1:]
    return [int(count) for count in np.cumsum(counts[::-1])[::-1]]


def read_split(run: Store, kind: Kind, index: int, columns: list[str] | None = None) -> pa.Table:
    """Return a shard's kept, dropped or quarantined table of the run at work, or some of its columns.

    Raises DamagedError if it is missing, does not hold what was written, or has other columns than its schema. Of a
    finished run `written.WrittenManifest` reads it, which knows what that run wrote.
    """
    name = table_name(kind, index)
    return parsed_split(run.path(name), read_whole(run, name), kind, columns)


def parsed_split(url: str, data: bytes, kind: Kind, columns: list[str] | None = None) -> pa.Table:
    """Return the table of a URL that was read, or some of its columns; DamagedError as `read_split`."""
    table = read_output(url, data, columns)
    schema = schemas.REPEATED if kind == "kept" and REPEAT in table.column_names else SCHEMAS[kind]
    check_table(table, schema, columns or schema.names, NULLABLE, url)
    return table


def read_stored(run: Store, name: str) -> pa.Table:
    """Return a table as `read_split`, whatever its columns are."""
    return read_output(run.path(name), read_whole(run, name))


def damage(run: Store, sums: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the objects of a run that do not have these checksums, with what is wrong."""
    with ThreadPoolExecutor(READERS, thread_name_prefix="check") as readers:
        for name, fault in zip(sums, readers.map(partial(_fault, run), sums.items()), strict=True):
            if fault:
                yield name, fault


def _fault(run: Store, entry: tuple[str, str]) -> str:
    name, expected = entry
    try:
        # Of all objects, this one alone grows with the pool.
        found = checksum_of(run.path(name)) if name == SUBSET else checksum(run.read(name))
        return "" if found == expected else CHANGED
    except FileNotFoundError:
        return "is not there"


def read_sums(run: Store) -> dict[str, str]:
    """Return checksums.json: the checksum of each object by its name; FileNotFoundError if there is none."""
    return read_as(run, CHECKSUMS, dict[str, str])


def read_whole(run: Store, name: str) -> bytes:
    """Return an object that every finished run has; DamagedError if it is not there."""
    try:
        return run.read(name)
    except FileNotFoundError:
        raise MissingError(run.path(name)) from None
