"""The task that brings rows together by partition: a shard's rows in one object, sorted by partition."""

from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from filtering.concepts.artifacts import (
    GROUPED_NAME,
    Assignment,
    Touched,
    read_assignment,
    read_concepts,
    read_touched,
)
from filtering.concepts.nearest import Int32Array
from filtering.concepts.partition import by_partition, global_rows, row_dtype
from filtering.concepts.touched import rows_searched_again
from filtering.core.csr import distinct
from filtering.filters.artifacts import PassingShard
from filtering.runtime.shuffle import Records, packed, write_groups
from filtering.storage.store import Store


class GroupedCounts(TypedDict):
    """The rows of a shard that were written, its replicas, and the copies: a row's, one for each of its partitions."""

    rows: int
    replicas: int
    copies: int


def group(shard: PassingShard, most: int, concepts: Store, store: Store) -> GroupedCounts:
    """Write a shard's rows, each once for every partition that has one of its concepts, which are `most` at most.

    Where parts of a base's graph are reused, only concepts that are searched again count.
    """
    assigned, touched = read_assignment(concepts, shard.identity), read_touched(concepts)
    member, concept = _members(assigned, touched)
    if len(member) == 0:
        return GroupedCounts(rows=0, replicas=0, copies=0)
    partition_of = read_concepts(concepts)["partition"].to_numpy()
    copied, partitions, lists = by_partition(member, concept, partition_of, most)
    again = _again(assigned, touched)
    ids, uids = global_rows(shard.index, assigned.row), shard.uids(assigned.row)
    read = shard.reader().in_memory()
    dtype = row_dtype(read.whole.shape[1], most)

    def records(places: npt.NDArray[Any]) -> Records:
        at = copied[places]
        columns = {"row": ids[at], "uid": uids[at], "home": assigned.concept[at], "again": again[at]}
        return packed(dtype, **columns, concepts=lists[places], vector=read(assigned.row[at]))

    write_groups(store, GROUPED_NAME.format(shard.identity), partitions, dtype, records)
    return GroupedCounts(rows=len(distinct(member)), replicas=len(assigned.replica), copies=len(copied))


def _members(assigned: Assignment, touched: Touched | None) -> tuple[Int32Array, Int32Array]:
    """Return the members of concepts, home rows and replicas, as places in `assigned.row`, and their concepts."""
    member = np.concatenate([np.arange(len(assigned.row), dtype=np.int32), assigned.replica])
    concept = np.concatenate([assigned.concept, assigned.replica_concept])
    if touched is None:
        return member, concept
    searched = touched.searched[concept]
    return member[searched], concept[searched]


def _again(assigned: Assignment, touched: Touched | None) -> npt.NDArray[np.bool_]:
    """Return which rows choose their neighbours again, bool (n,): all of them where there is no base."""
    if touched is None:
        return np.ones(len(assigned.row), dtype=bool)
    return rows_searched_again(assigned, touched.changed)
