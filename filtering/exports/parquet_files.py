"""Parquet files of exports: whole row groups whatever shards have, and in the metadata the run that rows are of."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from filtering.exports.columns import ROWS_AT_ONCE
from filtering.exports.copying import scratch_folder
from filtering.runtime.run_record import RunRecord
from filtering.storage.store import Store, commit_file

NAME = "{:08d}.parquet"
# The keys of a file's metadata: the run's id, and the hash of its selection.
RUN_ID, MANIFEST_HASH = "filtering.run_id", "filtering.manifest_hash"
One = TypeVar("One")


def stamped(schema: pa.Schema, record: RunRecord) -> pa.Schema:
    """Return a schema whose metadata says which run, and which selection, the rows are of."""
    return schema.with_metadata({RUN_ID: record["run_id"], MANIFEST_HASH: record["manifest_hash"]})


def write_file(number: int, tables: Iterable[pa.Table], schema: pa.Schema, out: Store, scratch: Store) -> int:
    """Write the file of a number and return how many rows it has; 65,536 rows and a table more are in memory."""
    count = 0
    with scratch_folder(scratch) as folder:
        path = folder / "object"
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            for table in _full(table.cast(schema) for table in tables):
                writer.write_table(table, row_group_size=ROWS_AT_ONCE)
                count += len(table)
        commit_file(out.path(NAME.format(number)), str(path))
    return count


def _full(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield tables of at least a row group's rows, but for the last, whatever shards have."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(map(len, waiting)) >= ROWS_AT_ONCE:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def grouped(shards: Sequence[One], counts: Iterable[int], rows: int) -> Iterator[list[One]]:
    """Yield groups of consecutive shards that have at least so many rows each, given the rows of each shard."""
    group: list[One] = []
    found = 0
    for shard, count in zip(shards, counts, strict=True):
        group.append(shard)
        found += count
        if found >= rows:
            yield group
            group, found = [], 0
    if group:
        yield group
