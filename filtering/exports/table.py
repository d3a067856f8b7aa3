"""The table format: a row for each sample of the pool, kept, dropped or quarantined, with the columns asked for."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filtering.concepts.artifacts import ASSIGNMENT_NAME
from filtering.core.errors import InputError
from filtering.core.formatting import counted
from filtering.exports.card import write_card
from filtering.exports.columns import Positions, places_of
from filtering.exports.job import Export, Written
from filtering.exports.options import PARQUET_ROWS
from filtering.exports.parquet_files import grouped, stamped, write_file
from filtering.exports.parts import Samples
from filtering.exports.table_columns import (
    SCORE,
    Joined,
    joined_of,
    names_of,
    pool_names,
    statuses_of,
)
from filtering.manifests.artifacts import Kind, parsed_split, table_name
from filtering.manifests.finished import FinishedRun, Source
from filtering.manifests.written import read_written
from filtering.runtime.task_spec import task
from filtering.scores.artifacts import Scores
from filtering.storage.store import Store

Columns = dict[str, pa.Array | pa.ChunkedArray]


@dataclass(frozen=True, slots=True)
class Part:
    """A shard, its name inside the pool, and the tables of its samples with their checksums."""

    source: Source
    shard: str
    sums: Mapping[Kind, str]

    def read(self, kind: Kind) -> pa.Table:
        """Return one of the tables, whole; errors of `read_written`."""
        source, name = self.source, table_name(kind, self.source.shard.index)
        data = read_written(source.store, source.mark, name, self.sums[kind])
        return parsed_split(source.store.path(name), data, kind)


def export_table(export: Export) -> Written:
    """Write the files; return what the manifest says of them."""
    run, options = export.run, export.options
    statuses = statuses_of(options.status)
    joined = joined_of(run, names_of(run, options), statuses)
    schema = stamped(pa.schema(list(joined.types.items())), run.record)
    lines = run.manifest.shard_lines()
    groups = grouped(
        _parts(run, statuses),
        (sum(line[status] for status in statuses) for line in lines),
        options.samples or PARQUET_ROWS,
    )
    tasks = [
        task(f"part-{number:08d}", write_part, number, group, joined, schema, export.out, export.scratch)
        for number, group in enumerate(groups)
    ]
    samples, files = sum(counts := export.write(tasks, "files")), len(counts)
    write_card(export, "table", "*.parquet", samples, f"Image-text pairs: {', '.join(statuses)}")
    facts = {"kept": run.record["totals"]["kept"], "samples": samples, "files": files, "objects": files + 2}
    return Written(facts | {"columns": schema.names}, f"{counted(samples, 'sample')} in {counted(files, 'file')}")


def _parts(run: FinishedRun, statuses: Sequence[Kind]) -> list[Part]:
    names = pool_names(run)
    return [
        Part(source, name, {kind: run.manifest.checksum(table_name(kind, source.shard.index)) for kind in statuses})
        for source, name in zip(run.sources, names, strict=True)
    ]


def write_part(
    number: int, parts: Sequence[Part], joined: Joined, schema: pa.Schema, out: Store, scratch: Store
) -> Samples:
    """Write the file of a number: the samples of some shards, of each the kept ones first.

    Memory: the rows and scores of one shard, about 1 kB a row, and that of `write_file`.
    """
    tables = (table.select(schema.names) for part in parts for table in _described(part, joined))
    return {"samples": write_file(number, tables, schema, out, scratch)}


def _described(part: Part, joined: Joined) -> Iterator[pa.Table]:
    """Yield a table with all columns, and more, for each status of a shard's samples."""
    rows = _rows(part, joined)
    for kind in part.sums:
        samples = part.read(kind)
        # What is quarantined has, as a rule, no row to join with.
        found = {} if kind == "quarantined" or rows is None else _joined(part, kind, samples, rows, joined)
        columns = dict(zip(samples.column_names, samples.columns, strict=True)) | _constant(part, kind, len(samples))
        columns = found | {name: cells for name, cells in columns.items() if name not in found}
        missing = {name: pa.nulls(len(samples), kind) for name, kind in joined.types.items() if name not in columns}
        yield pa.table(columns | missing)


def _constant(part: Part, kind: Kind, count: int) -> Columns:
    values = {"status": kind, "shard": part.shard, "shard_url": part.source.shard.url}
    return {name: pa.repeat(pa.scalar(value, pa.string()), count) for name, value in values.items()}


def _rows(part: Part, joined: Joined) -> pa.Table | None:
    """Return the rows of a shard that hold what is joined, None if nothing is; InputError if it has no such column."""
    if not joined.reads_rows:
        return None
    wanted = joined.of_rows
    rows = joined.tables.rows(part.source, ["uid", "key", *wanted])
    lacking = [name for name in wanted if name not in rows.column_names]
    if lacking:
        raise InputError(
            f"--columns: {part.source.shard.url} has no {lacking[0]}: an older version of filtering embedded it; "
            "leave the column out, or run it again"
        )
    return rows


def _joined(part: Part, kind: Kind, samples: pa.Table, rows: pa.Table, joined: Joined) -> Columns:
    """Return the columns that come from a shard's rows, scores and concepts."""
    source, name = part.source, table_name(kind, part.source.shard.index)
    places = places_of(samples, rows, source, name)
    taken = rows.take(pa.array(places))
    found = {name: taken[name] for name in joined.of_rows}
    for name, store in joined.scores.items():
        found[name] = _scores(joined.tables.score(store, source, len(rows)), joined.types[name], places)
    if kind != "kept":
        found |= _lacking(joined, source, len(rows), places)
    return found


def _lacking(joined: Joined, source: Source, rows: int, places: Positions) -> Columns:
    """Return what the manifest says of kept samples alone: the concept, and the score that the last step read."""
    found = {}
    if joined.concepts is not None:
        found["concept"] = _concepts(joined.concepts, source, rows, places)
    if joined.last is not None:
        found[SCORE] = _scores(joined.tables.score(joined.last, source, rows), pa.float32(), places)
    return found


def _scores(scores: Scores, kind: pa.DataType, places: Positions) -> pa.Array:
    """Return the scores of some rows; null where a row has none, as most scores of rows that a filter dropped."""
    return pa.array(scores[places], from_pandas=True).cast(kind, safe=False)


def _concepts(store: Store, source: Source, rows: int, places: Positions) -> pa.Array:
    """Return the concepts of some rows; null where a row did not pass the filters."""
    try:
        arrays = store.read_arrays(ASSIGNMENT_NAME.format(source.shard.identity))
    except FileNotFoundError:
        raise InputError(f"{store.url}: the concepts of {source.shard.url} are gone; leave out concept") from None
    found = np.full(rows, -1, dtype=np.int32)
    found[arrays["row"]] = arrays["concept"]
    concepts = pa.array(found[places])
    return pc.if_else(pc.less(concepts, 0), pa.scalar(None, pa.int32()), concepts)
