"""The task that brings rows together by partition: a shard's rows in one object, sorted by partition."""

from typing import Any, NamedTuple, TypedDict

import numpy as np
import numpy.typing as npt

from filtering.concepts.artifacts import (
    GROUPED_NAME,
    Assignment,
    read_assignment,
    read_concepts,
)
from filtering.concepts.nearest import Int32Array
from filtering.concepts.partition import by_partition, global_rows, row_dtype
from filtering.filters.artifacts import PassingShard
from filtering.runtime.shuffle import Records, packed, write_groups
from filtering.storage.store import Store


class GroupedCounts(TypedDict):
    """The rows of a shard that were written, its replicas, and the copies: a row's, one for each of its partitions."""

    rows: int
    replicas: int
    copies: int


def group(shard: PassingShard, most: int, concepts: Store, store: Store) -> GroupedCounts:
    """Write a shard's rows, each once for every partition that has one of its concepts, which are `most` at most."""
    assigned = read_assignment(concepts, shard.identity)
    if len(assigned.row) == 0:
        return GroupedCounts(rows=0, replicas=0, copies=0)
    every, partition_of = np.ones(len(assigned.row), dtype=bool), read_concepts(concepts)["partition"].to_numpy()
    name = GROUPED_NAME.format(shard.identity)
    sent = send_rows(shard, assigned, every, every, partition_of, most, name, store)
    return GroupedCounts(rows=len(assigned.row), replicas=len(assigned.replica), copies=sum(sent.rows))


class SentRows(NamedTuple):
    """The partitions to which rows were sent, ascending, and the rows that were sent to each."""

    partitions: list[int]
    rows: list[int]


def send_rows(
    shard: PassingShard,
    assigned: Assignment,
    some: npt.NDArray[np.bool_],
    new: npt.NDArray[np.bool_],
    partition_of: Int32Array,
    most: int,
    name: str,
    store: Store,
    once: bool = False,
) -> SentRows:
    """Send some rows of a shard, at least one, bool (n,), to every partition of their concepts, in one object.

    `new`, bool (n,), is told of each row; `partition_of`, int32 (C,), is each concept's partition, and a row has at
    most `most` concepts. With `once` a row goes to the partition of its home alone, with all of its concepts.
    """
    member, concept = assigned.members
    here = some[member]
    target = np.zeros_like(partition_of) if once else partition_of
    copied, partitions, lists = by_partition(member[here], concept[here], target, most)
    if once:
        partitions = partition_of[assigned.concept[copied]]
    ids, uids = global_rows(shard.index, assigned.row), shard.uids(assigned.row)
    read = shard.reader() if 2 * some.sum() < len(some) else shard.reader().in_memory()
    dtype = row_dtype(read.whole.shape[1], most)

    def records(places: npt.NDArray[Any]) -> Records:
        at = copied[places]
        columns = {"row": ids[at], "uid": uids[at], "home": assigned.concept[at], "new": new[at]}
        return packed(dtype, **columns, concepts=lists[places], vector=read(assigned.row[at]))

    to = write_groups(store, name, partitions, dtype, records)
    return SentRows(to, np.bincount(partitions)[to].tolist())
