"""The names and readers of what a run leaves behind."""

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypedDict

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filtering.core.uids import SUBSET_DTYPE
from filtering.storage.checksums import MissingError, read_output
from filtering.storage.store import Store, checksum

REPORT = "report/index.html"
# The data of the report.
REPORT_DATA = "report/page.json"
# The name of the stage that writes both.
REPORT_STAGE = "report"
SUBSET = "manifest/subset.npy"
SHARDS = "manifest/shards.jsonl"
CHECKSUMS = "manifest/checksums.json"
Kind = Literal["kept", "dropped", "quarantined"]
KINDS: tuple[Kind, ...] = ("kept", "dropped", "quarantined")
HASHED_ROWS = 65_536
# Objects read at once where many are checked.
READERS = 8


@dataclass(frozen=True, slots=True)
class ManifestsResult:
    """Where the samples of the pool ended."""

    totals: dict[str, int]  # samples by `input`, `kept`, `dropped` and `quarantined`
    reasons: dict[str, dict[str, int]]  # samples by reason, of `dropped` and of `quarantined`
    manifest_hash: str  # the hash of the selection, see `manifest_hash`

    @property
    def summary(self) -> str:
        """One line for a person."""
        return ", ".join(f"{self.totals[kind]:,} {kind}" for kind in KINDS)


class ShardLine(TypedDict):
    """A line of shards.jsonl: a shard's URL, its samples by outcome, and the name of its kept table."""

    url: str
    samples: int
    kept: int
    dropped: int
    quarantined: int
    keys: str


def table_name(kind: str, index: int) -> str:
    """Return the name of a shard's kept, dropped or quarantined table, relative to the run."""
    return f"manifest/{kind}/{index:08d}.parquet"


def read_manifest(run: Store, name: str, columns: list[str] | None = None) -> pa.Table:
    """Return a kept, dropped or quarantined table of a run, or some of its columns.

    Raises DamagedError if it is missing or does not hold what was written.
    """
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
        return "" if checksum(run.read(name)) == expected else "its bytes have changed since it was written"
    except FileNotFoundError:
        return "is not there"


def read_shard_lines(run: Store) -> list[ShardLine]:
    """Return the lines of shards.jsonl."""
    return [json.loads(line) for line in run.read(SHARDS).decode().splitlines()]


def read_subset(run: Store) -> npt.NDArray[Any]:
    """Return subset.npy."""
    subset: npt.NDArray[Any] = np.load(io.BytesIO(run.read(SUBSET)), allow_pickle=False)
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
