"""Partitions: which concepts stand together, and the rows of one partition."""

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
    """The rows of one partition, each once, and where they stand in its concepts.

    Attributes
    ----------
    row : int64 (n,), global row ids.
    uid : bytes S32 (n,), ascending.
    home : int32 (n,), the row's own concept.
    vectors : float16 (n, d).
    place : int64 (m,), which row stands, at home or as a guest.
    concept : int32 (m,), the concept in which it stands: by concept, first its own rows, then its guests, each by uid.
    again : bool (n,), whether the row's neighbours are sought: those of others beside it may be known from a base.
    """

    row: npt.NDArray[np.int64]
    uid: npt.NDArray[np.bytes_]
    home: npt.NDArray[np.int32]
    vectors: npt.NDArray[np.float16]
    place: npt.NDArray[np.int64]
    concept: npt.NDArray[np.int32]
    again: npt.NDArray[np.bool_]


def row_dtype(dimension: int, reach: int) -> np.dtype[Any]:
    """Return the dtype of the records in which rows travel; `concepts` are those of one partition, -1 where none."""
    concepts, vector = ("concepts", "<i4", (reach,)), ("vector", "<f2", (dimension,))
    return np.dtype([("row", "<i8"), ("uid", "S32"), ("home", "<i4"), ("again", "?"), concepts, vector])


def by_partition(
    rows: npt.NDArray[np.integer[Any]], concepts: npt.NDArray[np.int32], partition_of: npt.NDArray[np.int32], reach: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Bring the concepts in which rows stand together by partition, so that a row travels to each partition once.

    Parameters
    ----------
    rows, concepts : int (m,)
        A row and a concept in which it stands.
    partition_of : int32 (K,)
        The partition of each concept.
    reach : int
        The most concepts of a row.

    Returns
    -------
    rows : int64 (t,)
        Each row once for every partition it travels to.
    partitions : int32 (t,)
        The partition that it travels to.
    concepts : int32 (t, reach)
        Its concepts there, -1 where there are fewer.
    """
    partitions = partition_of[concepts]
    order = np.lexsort((concepts, partitions, rows))
    travelling: npt.NDArray[np.int64] = rows[order].astype(np.int64)
    partitions, concepts = partitions[order], concepts[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = (travelling[1:] != travelling[:-1]) | (partitions[1:] != partitions[:-1])
    number = np.cumsum(first) - 1
    starts = np.flatnonzero(first)
    lists = np.full((len(starts), reach), -1, dtype=np.int32)
    lists[number, np.arange(len(order)) - starts[number]] = concepts
    return travelling[first], partitions[first], lists


def global_rows(shard: int, rows: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the global ids of rows of the shard at a place in the inventory, int64 (n,)."""
    return (np.int64(shard) << ROW_BITS) | rows.astype(np.int64)


def shard_and_row(ids: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the inventory place and the row that global ids stand for, int64 (n,) each."""
    return ids >> ROW_BITS, ids & ((1 << ROW_BITS) - 1)


def moved_rows(ids: npt.NDArray[np.int64], places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return global ids of an earlier inventory as they are now, int64 (n,); -1 for those that are gone, or are -1.

    Parameters
    ----------
    ids : int64 (n,)
        Global ids by the earlier inventory, or -1.
    places : int64 (b,)
        For each shard of the earlier inventory its place now, -1 where its rows are gone.
    """
    shards, rows = shard_and_row(ids)
    there = ids >= 0
    now = np.full(len(ids), -1, dtype=np.int64)
    now[there] = places[shards[there]]
    return np.where(now >= 0, (now << ROW_BITS) | rows, -1)


def read_partition(store: Store, names: Sequence[str], partition: int) -> Partition | None:
    """Gather the rows of one partition from every shard's object; None if it has none."""
    records = read_groups(store, names, partition)
    if records is None:
        return None
    # Contiguous: the keys of a sort lie a kilobyte apart in the records.
    order = np.argsort(np.ascontiguousarray(records["uid"]), kind="stable")
    names = ("row", "uid", "home", "concepts", "vector", "again")
    row, uid, home, concepts, vectors, again = (records[name][order] for name in names)
    place, column = np.nonzero(concepts >= 0)
    concept = concepts[place, column]
    standing = np.lexsort((place, concept != home[place], concept))
    return Partition(row, uid, home, vectors, place[standing], concept[standing], again)
