"""What is written of samples beside their embeddings: their rows, scores, and what their JSON or metadata says."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from filtering.config.input import Arrays
from filtering.core.errors import DamagedError, InputError
from filtering.core.uids import uid_array
from filtering.embedding.artifacts import EmbeddedShard
from filtering.exports.members import kept_members
from filtering.manifests.finished import FinishedRun, Source
from filtering.scores.artifacts import SCORES_NAME, Scores, read_scores
from filtering.shards.cells import ColumnError, texts
from filtering.shards.inventory import Shard, check_shard
from filtering.shards.names import METADATA, column, place
from filtering.shards.samples import MAX_CAPTION_BYTES, MAX_JSON_BYTES, chosen_members
from filtering.storage.store import Store, open_object

# Rows of a parquet file that are in memory at once, and in a row group.
ROWS_AT_ONCE = 65_536
Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Tables:
    """Where a run's tables of samples are: names of the npz arrays (None for tars), names and folders of its scores.

    `url` is the column of URLs in tables that the pool consists of.
    """

    arrays: Arrays | None
    scores: tuple[tuple[str, Store], ...]
    max_image_bytes: int
    url: str = "url"

    def embedded(self, source: Source) -> EmbeddedShard:
        """Return a shard with its rows and vectors."""
        return source.embedded(self.arrays)

    def rows(self, source: Source, columns: list[str]) -> pa.Table:
        """Return columns of `schemas.ROWS` of a shard; InputError if they are gone."""
        embedded = self.embedded(source)
        try:
            return embedded.rows(columns)
        except FileNotFoundError:
            raise InputError(f"the rows of {source.shard.url} are gone; they were in {embedded.store.url}") from None

    def stored(self, store: Store, source: Source) -> Scores:
        """Return a score of a shard's rows as it is stored; InputError if it is gone."""
        try:
            return read_scores(store, source.shard.identity)
        except FileNotFoundError:
            raise InputError(f"{store.url}: the scores of {source.shard.url} are gone") from None

    def score(self, store: Store, source: Source, rows: int) -> Scores:
        """Return a score of each of a shard's rows; DamagedError if they are not so many, or as `stored`."""
        found = self.stored(store, source)
        if found.shape != (rows,):
            fault = f"is damaged: it holds {found.size:,} scores of {rows:,} rows"
            raise DamagedError(store.path(SCORES_NAME.format(source.shard.identity)), fault)
        return found

    def wide(self, stores: Mapping[str, Store], sources: Sequence[Source]) -> frozenset[str]:
        """Return the names of the scores that are stored as float64, by those of a shard: all shards have the same."""
        if not sources:
            return frozenset()
        stored = {name: self.stored(store, sources[0]).dtype for name, store in stores.items()}
        return frozenset(name for name, dtype in stored.items() if dtype == np.float64)


def tables_of(run: FinishedRun) -> Tables:
    """Return where a run's tables are."""
    config = run.record["config"]
    columns = config["input"].get("columns")
    url = (None if columns is None else columns["url"]) or "url"
    return Tables(run.arrays, tuple(_scores(run)), config["embedding"]["max_image_bytes"], url)


def _scores(run: FinishedRun) -> Iterator[tuple[str, Store]]:
    """Yield the column and the folder of each score that the run lists; a second one of a kind has a number."""
    for name, folder in run.record.get("scores", {}).items():
        yield name.replace(" ", "_"), run.store.child(folder)


def rows_of(source: Source, rows: pa.Table) -> Positions:
    """Return which of a shard's rows are the kept ones, in their order, int64 (n,). Rows have `uid` and `key`."""
    return places_of(source.table(["uid", "key"]), rows, source, source.table_name)


def places_of(samples: pa.Table, rows: pa.Table, source: Source, name: str) -> Positions:
    """Return where a table's samples are among their shard's rows, int64 (n,). Both tables have `uid` and `key`.

    DamagedError, with the table's name, if one of them is not there.
    """
    known = uid_array(rows["uid"])
    # The first row of a uid is the one that was not quarantined.
    order = np.argsort(known, kind="stable")
    wanted = uid_array(samples["uid"])
    found = order[np.minimum(np.searchsorted(known[order], wanted), max(len(order) - 1, 0))] if len(order) else order
    if len(found) != len(wanted) or not rows["key"].take(pa.array(found)).equals(samples["key"]):
        fault = f"is damaged: it and the rows of {source.shard.url} do not agree"
        raise DamagedError(source.store.path(name), fault)
    return np.asarray(found, dtype=np.int64)


def json_fields(source: Source, names: Sequence[str], max_image_bytes: int) -> list[Mapping[str, object]]:
    """Return some fields of the JSON of each sample of a shard's table, in its order; none where there is no JSON.

    Errors are those of `kept_members`.
    """
    keys = source.keys()
    fields: list[Mapping[str, object]] = [{} for _ in keys]
    for row, group in kept_members(source, keys, max_image_bytes, _json_limit):
        metadata = chosen_members(group).metadata
        if metadata is not None and metadata.data is not None:
            fields[row] = _fields(metadata.data, names)
    return fields


def _json_limit(name: str) -> int | None:
    at = place(name)
    return MAX_JSON_BYTES if at is not None and at.kind == METADATA else None


def _fields(data: bytes, names: Sequence[str]) -> Mapping[str, object]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: found.get(column(found, (name,)) or name) for name in names}


def text(value: object) -> str | None:
    """Return a value of untrusted JSON if it is a text that a table can hold."""
    if not isinstance(value, str):
        return None
    # JSON may hold half a surrogate pair, which UTF-8 cannot.
    return value.encode("utf-8", "replace").decode("utf-8")


def whole_number(value: object) -> int | None:
    """Return a value of untrusted JSON if it is a whole number that an int64 can hold."""
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63 else None


def metadata_rows(shard: Shard, rows: Positions) -> Iterator[pa.Table]:
    """Yield some rows, ascending, of a parquet of DataComp metadata, `ROWS_AT_ONCE` read at a time.

    RunError if the parquet is no longer the one that the run read.
    """
    check_shard(shard)
    with open_object(shard.url) as stream:
        yield from _some_rows(pq.ParquetFile(stream), rows, None)


def metadata_texts(shard: Shard, rows: Positions, name: str) -> pa.ChunkedArray | pa.Array:
    """Return a column of text of such rows: null where a cell is none, or there is no such column.

    InputError if the column holds no text at all; RunError as `metadata_rows`.
    """
    check_shard(shard)
    with open_object(shard.url) as stream:
        file = pq.ParquetFile(stream)
        names = file.schema_arrow.names
        if (found := column(names, (name,))) is None:
            return pa.nulls(len(rows), pa.string())
        if names.count(found) > 1:
            raise InputError(f"{shard.url}: has {names.count(found)} columns {found}; give --no-urls")
        parts = [_texts(shard, found, part.column(0)) for part in _some_rows(file, rows, [found])]
        return pa.chunked_array(parts, pa.string())


def _some_rows(file: pq.ParquetFile, rows: Positions, columns: list[str] | None) -> Iterator[pa.Table]:
    at = 0
    for batch in file.iter_batches(batch_size=ROWS_AT_ONCE, columns=columns):
        begin, end = np.searchsorted(rows, [at, at + len(batch)]).tolist()
        yield _taken(pa.Table.from_batches([batch]), rows[begin:end] - at)
        at += len(batch)


def _taken(table: pa.Table, rows: Positions) -> pa.Table:
    """Return some rows of a table, ascending; pyarrow does not take those of views, which it slices."""
    try:
        return table.take(pa.array(rows))
    except pa.ArrowNotImplementedError:
        runs = np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1)
        return pa.concat_tables([table.slice(run[0], len(run)) for run in runs if len(run)] or [table.slice(0, 0)])


def _texts(shard: Shard, name: str, cells: pa.ChunkedArray) -> pa.StringArray:
    try:
        found = texts(name, cells.combine_chunks(), MAX_CAPTION_BYTES)
    except ColumnError as error:
        raise InputError(f"{shard.url}: {error}; give --no-urls") from None
    return pc.if_else(pa.array(found.not_utf8 | found.too_long), None, found.values)
