"""What exports and trainers read of a finished run: its record, its shards, and what was kept of each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from filtering.config.input import Arrays
from filtering.core.errors import InputError
from filtering.embedding.artifacts import NAME as EMBEDDING
from filtering.embedding.artifacts import EmbeddedShard
from filtering.embedding.locations import shard_locations
from filtering.manifests.artifacts import REPEAT, parsed_split, read_whole, weighed
from filtering.manifests.written import WrittenManifest, read_written
from filtering.runtime.finished_run import Base
from filtering.runtime.run_record import RunRecord, check_same, read_run
from filtering.shards.inventory import INVENTORY, Shard, read_inventory
from filtering.shards.offsets import Offsets
from filtering.storage.store import Store

RowsNeed = Literal["optional", "needed"]
# In the origin of an export, what tells the run's results from others of the same id.
RESULTS = "results"


@dataclass(frozen=True, slots=True)
class Source:
    """A shard of the pool, and the table of its kept samples."""

    shard: Shard  # as the run found it
    kept: int  # number of kept samples
    store: Store  # the folder of the table
    table_name: str  # the name of the table, `schemas.KEPT`, in the shard's order
    # The folder of its rows and vectors, of an earlier run perhaps; None where it is not known
    rows: Store | None = None
    # What the run's results were when it was opened, see `check_same`, and the checksum of the table as it was written
    # then; empty where the table is no manifest
    mark: str = ""
    checksum: str = ""
    # Where samples are weighed: how many are seen in an epoch a second time, a third time, and so on
    repeats: tuple[int, ...] = ()
    # Which time of an epoch is meant: `kept` are the samples that are seen so often, and one more time
    time: int = 0

    def table(self, columns: list[str] | None = None) -> pa.Table:
        """Return the kept table, or some of its columns; errors of `read_written` if it is not that of the run."""
        if self.checksum:
            data = read_written(self.store, self.mark, self.table_name, self.checksum)
        else:
            data = read_whole(self.store, self.table_name)
        return parsed_split(self.store.path(self.table_name), data, "kept", columns)

    def embedded(self, arrays: Arrays | None = None) -> EmbeddedShard:
        """Return the shard with its rows and vectors; InputError if it is not known where they are."""
        if self.rows is None:
            raise InputError(f"{self.store.url}: does not say where the rows of {self.shard.url} are; run it again")
        return EmbeddedShard(self.shard, self.rows, arrays)

    def offsets(self) -> Offsets | None:
        """Return where the shard's samples stood in it when it was embedded, None where that was not noted."""
        return None if self.rows is None else self.embedded().offsets()

    def keys(self) -> list[str]:
        """Return the kept keys, in the shard's order."""
        keys: list[str] = self.samples(["key"])["key"].to_pylist()
        return keys

    def samples(self, columns: list[str]) -> pa.Table:
        """Return columns of the kept table: of the samples that are seen at this time."""
        if not self.time:
            return self.table(columns)
        table = self.table([*columns, REPEAT])
        return table.filter(pc.greater(table[REPEAT], self.time)).select(columns)

    def times(self) -> list["Source"]:
        """Return the shard for each time of an epoch that some of its samples are seen: first with all kept ones."""
        return [self, *(replace(self, kept=count, time=time) for time, count in enumerate(self.repeats, 1))]


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run as those see it that read what it kept."""

    manifest: WrittenManifest  # what it wrote, with its directory and its run.json
    sources: tuple[Source, ...]  # its shards, all of them, in the order of the inventory

    @property
    def store(self) -> Store:
        """Its directory."""
        return self.manifest.run

    @property
    def record(self) -> RunRecord:
        """Its run.json."""
        return self.manifest.record

    @property
    def from_metadata(self) -> bool:
        """Whether the pool was tables of rows that come with vectors, rather than tars."""
        return self.record["config"]["input"].get("shards") is None

    @property
    def arrays(self) -> Arrays | None:
        """The names of the arrays of DataComp metadata, the defaults of other tables; None where the pool was tars."""
        if not self.from_metadata:
            return None
        found = self.record["config"]["input"].get("arrays")
        return Arrays(image=found["image"], text=found["text"]) if found else Arrays()

    def origin(self) -> dict[str, str]:
        """Return the run's id and hashes, and what tells its results from those of other scores: an export's origin."""
        record = self.record
        return {
            "run_id": record["run_id"],
            "config_hash": record["config_hash"],
            "manifest_hash": record["manifest_hash"],
            RESULTS: self.manifest.mark,
        }

    def check_same(self) -> None:
        """Refuse the run if it was made again, with other results, since it was opened: InputError."""
        check_same(self.store, self.manifest.mark)

    @property
    def repeats(self) -> bool:
        """Whether kept tables say how often a sample is seen in an epoch."""
        return weighed(self.record["config"])

    def kept_sources(self) -> list[Source]:
        """Return the shards of which something was kept."""
        return [source for source in self.sources if source.kept]

    def kept_times(self) -> list[Source]:
        """Return what an epoch reads: those shards, then those of which samples are seen again, with these alone."""
        return sorted((seen for source in self.kept_sources() for seen in source.times()), key=lambda seen: seen.time)


def read_finished(run: Store, inventory: bool = True, rows: RowsNeed = "optional") -> FinishedRun:
    """Return a finished run.

    Without `inventory` the shards have their URLs alone. With it, `rows` says whether the folders of the shards' rows
    must be known. Raises InputError if the run is not finished, or its inventory is gone.
    """
    record = read_run(run)
    manifest = WrittenManifest(run, record)
    lines, mark = manifest.shard_lines(), manifest.mark
    shards, where = [Shard(index, line["url"], 0, "") for index, line in enumerate(lines)], dict[str, Store]()
    if inventory:
        shards = _inventory(run, record)
        where = _rows(run, record, rows)
    if [shard.url for shard in shards] != [line["url"] for line in lines]:
        raise InputError(f"{run.url}: its inventory and manifest/shards.jsonl name different shards")
    found = zip(shards, lines, strict=True)
    sources = tuple(
        Source(
            shard,
            line["kept"],
            run,
            line["keys"],
            where.get(shard.identity),
            mark,
            manifest.checksum(line["keys"]),
            tuple(line.get("repeats", [])[1:]),
        )
        for shard, line in found
    )
    # The lines are those of the record.
    check_same(run, mark)
    return FinishedRun(manifest, sources)


def batches(sources: Sequence[Source], largest: int = 16) -> Iterator[list[Source]]:
    """Yield groups of consecutive shards, a task each: single ones unless there are thousands."""
    size = min(largest, max(1, len(sources) // 1024))
    for start in range(0, len(sources), size):
        yield list(sources[start : start + size])


def _rows(run: Store, record: RunRecord, need: RowsNeed) -> dict[str, Store]:
    """Return the folder of each shard's rows, by identity; none if they are optional and not known."""
    known = EMBEDDING in record["objects"] and any(cost["name"] == EMBEDDING for cost in record["stages"])
    if need == "optional" and not known:
        return {}
    try:
        return {identity: place.store for identity, place in shard_locations(Base(run, record, ())).items()}
    except InputError:
        if need == "needed":
            raise
        return {}


def _inventory(run: Store, record: RunRecord) -> list[Shard]:
    folder = record["objects"].get("inventory", "")
    try:
        return read_inventory(run.child(folder))
    except FileNotFoundError:
        raise InputError(f"{run.url}: its inventory, {folder or 'stages/inventory-*'}/{INVENTORY}, is gone") from None
