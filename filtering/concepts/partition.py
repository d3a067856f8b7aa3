"""Grouped objects: one object a writer, a row group a reader; and the rows of one partition.

Rows travel from S shards to P partitions in S objects, not S x P: each reader takes its own row group.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from filtering.storage import Store, open_object
from filtering.uids import uid_array

# A global row id: the shard's place in the inventory, then the row inside the shard.
ROW_BITS = 32


@dataclass(frozen=True, slots=True)
class Partition:
    """The rows of one partition, sorted by concept and uid; a guest row stands once in each concept it visits.

    Attributes
    ----------
    row : int64 (n,), global row ids.
    uid : bytes S32 (n,).
    concept : int32 (n,), the concept in which the row stands here.
    home : int32 (n,), the row's own concept.
    vectors : float16 (n, d).
    """

    row: npt.NDArray[np.int64]
    uid: npt.NDArray[np.bytes_]
    concept: npt.NDArray[np.int32]
    home: npt.NDArray[np.int32]
    vectors: npt.NDArray[np.float16]


def global_rows(shard: int, rows: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the global ids of rows of the shard at a place in the inventory, int64 (n,)."""
    return (np.int64(shard) << ROW_BITS) | rows.astype(np.int64)


def shard_and_row(ids: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the inventory place and the row that global ids stand for, int64 (n,) each."""
    return ids >> ROW_BITS, ids & ((1 << ROW_BITS) - 1)


def write_groups(store: Store, name: str, table: pa.Table, groups: npt.NDArray[np.integer[Any]]) -> None:
    """Write a table as one object with a row group for each group of rows.

    Parameters
    ----------
    table : pa.Table
        n rows; their order is kept inside a group.
    groups : int (n,)
        The group (a partition or a shard) of each row.
    """
    order = np.argsort(groups, kind="stable")
    slices = list(runs(groups[order]))
    present = ",".join(str(groups[order[rows.start]]) for rows in slices)
    table = table.take(pa.array(order)).replace_schema_metadata({"groups": present})
    buffer = pa.BufferOutputStream()
    with pq.ParquetWriter(buffer, table.schema, compression="zstd", use_dictionary=False) as writer:
        for rows in slices:
            count = rows.stop - rows.start
            writer.write_table(table.slice(rows.start, count), row_group_size=count)
    store.write(name, buffer.getvalue().to_pybytes())


def runs(values: npt.NDArray[Any]) -> Iterator[slice]:
    """Yield the slice of each run of equal values in a sorted array."""
    if len(values):
        starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]]).tolist()
        for start, end in zip(starts, [*starts[1:], len(values)], strict=True):
            yield slice(start, end)


def read_groups(store: Store, names: Sequence[str], group: int) -> pa.Table | None:
    """Return the rows of one group from many objects, reading only its row groups; None if there are none."""
    found = [table for name in names for table in _row_group(store.path(name), group)]
    return pa.concat_tables(found).combine_chunks() if found else None


def partition_table(columns: Partition) -> pa.Table:
    """Return a partition's rows as a table; the vectors as float16 bits, which every reader takes."""
    width = max(columns.vectors.shape[1], 1)
    bits = pa.array(np.ascontiguousarray(columns.vectors).reshape(-1).view(np.uint16))
    return pa.table(
        {
            "row": columns.row,
            "uid": pa.array(columns.uid.astype("U32").tolist(), pa.string()),
            "concept": columns.concept,
            "home": columns.home,
            "vector": pa.FixedSizeListArray.from_arrays(bits, width),
        }
    )


def read_partition(store: Store, names: Sequence[str], partition: int) -> Partition | None:
    """Gather the rows of one partition from every shard's object; None if it has none."""
    table = read_groups(store, names, partition)
    if table is None:
        return None
    uid = uid_array(table["uid"])
    row, concept, home = (table[name].to_numpy() for name in ("row", "concept", "home"))
    order = np.lexsort((uid, concept))
    return Partition(row[order], uid[order], concept[order], home[order], _vectors(table["vector"])[order])


def _row_group(url: str, group: int) -> Iterator[pa.Table]:
    with open_object(url) as stream:
        file = pq.ParquetFile(stream)
        text = (file.schema_arrow.metadata or {}).get(b"groups", b"").decode()
        present = [int(number) for number in text.split(",") if number]
        if group in present:
            yield file.read_row_group(present.index(group)).replace_schema_metadata(None)


def _vectors(column: pa.ChunkedArray) -> npt.NDArray[np.float16]:
    width = column.type.list_size
    flat = [chunk.flatten().to_numpy() for chunk in column.chunks]
    vectors: npt.NDArray[np.float16] = np.concatenate(flat).view(np.float16).reshape(-1, width)
    return vectors
