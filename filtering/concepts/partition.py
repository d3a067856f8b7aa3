"""The rows of one partition: the format in which they are sent to it, and the rows as they are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from filtering.runtime.shuffle import read_groups
from filtering.storage.store import Store

# A global row id: the shard's place in the inventory, then the row inside the shard.
ROW_BITS = 32


@dataclass(frozen=True, slots=True)
class Partition:
    """The rows of one partition, each once, and the members of its concepts: home rows and replicas."""

    row: npt.NDArray[np.int64]  # int64 (n,), global row ids, ascending
    uid: npt.NDArray[np.bytes_]  # bytes S32 (n,)
    home: npt.NDArray[np.int32]  # int32 (n,), the row's home concept
    vectors: npt.NDArray[np.float16]  # float16 (n, d)
    place: npt.NDArray[np.int64]  # int64 (m,), the row of each member, by its place in the arrays above
    # int32 (m,), the concept of each member: sorted by concept, home rows before replicas, each by id
    concept: npt.NDArray[np.int32]
    new: npt.NDArray[np.bool_]  # bool (n,), whether no base has the row


def row_dtype(dimension: int, most: int) -> np.dtype[Any]:
    """Return the dtype of the records in which rows are sent to a partition.

    `concepts` are the row's concepts in that partition, at most `most`, -1 where there are fewer.
    """
    concepts, vector = ("concepts", "<i4", (most,)), ("vector", "<f2", (dimension,))
    return np.dtype([("row", "<i8"), ("uid", "S32"), ("home", "<i4"), ("new", "?"), concepts, vector])


def by_partition(
    rows: npt.NDArray[np.integer[Any]], concepts: npt.NDArray[np.int32], partition_of: npt.NDArray[np.int32], most: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Group the concepts of rows by partition, so that a row is copied to each partition once.

    `rows` and `concepts`, int (m,), are the row and the concept of each member, home rows and replicas; `partition_of`,
    int32 (C,), has the partition of each concept, and a row has at most `most` concepts. Return each row once for every
    partition that has one of its concepts, int64 (t,), that partition, int32 (t,), and the row's concepts in it, int32
    (t, most), -1 where there are fewer.
    """
    partitions = partition_of[concepts]
    order = np.lexsort((concepts, partitions, rows))
    copied: npt.NDArray[np.int64] = rows[order].astype(np.int64)
    partitions, concepts = partitions[order], concepts[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = (copied[1:] != copied[:-1]) | (partitions[1:] != partitions[:-1])
    number = np.cumsum(first) - 1
    starts = np.flatnonzero(first)
    lists = np.full((len(starts), most), -1, dtype=np.int32)
    lists[number, np.arange(len(order)) - starts[number]] = concepts
    return copied[first], partitions[first], lists


def global_rows(shard: int, rows: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the global ids of rows of the shard at a place in the inventory, int64 (n,)."""
    return (np.int64(shard) << ROW_BITS) | rows.astype(np.int64)


def shard_and_row(ids: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the inventory place and the row that global ids stand for, int64 (n,) each."""
    return ids >> ROW_BITS, ids & ((1 << ROW_BITS) - 1)


def moved_rows(ids: npt.NDArray[np.int64], places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the present global ids of rows of an earlier inventory, int64 (n,); -1 for rows that are gone, or for -1.

    `places`, int64 (b,), has for each shard of the earlier inventory its place now, -1 where its rows are gone.
    """
    shards, rows = shard_and_row(ids)
    there = ids >= 0
    now = np.full(len(ids), -1, dtype=np.int64)
    now[there] = places[shards[there]]
    return np.where(now >= 0, (now << ROW_BITS) | rows, -1)


def read_partition(store: Store, names: Sequence[str], partition: int, last: int | None = None) -> Partition | None:
    """Return the rows of one partition from the objects of all shards; None if it has none.

    With `last` those of the partitions [partition, last): a row comes once for each of them that has a concept of it.
    """
    records = read_groups(store, names, partition, last)
    if records is None:
        return None
    # Contiguous, because the keys of the sort are a kilobyte apart in the records.
    order = np.argsort(np.ascontiguousarray(records["row"]), kind="stable")
    names = ("row", "uid", "home", "concepts", "vector", "new")
    row, uid, home, concepts, vectors, new = (records[name][order] for name in names)
    place, column = np.nonzero(concepts >= 0)
    concept = concepts[place, column]
    by_concept = np.lexsort((place, concept != home[place], concept))
    return Partition(row, uid, home, vectors, place[by_concept], concept[by_concept], new)
