"""The task that searches query rows among the rows of a shard."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from filtering.concepts.artifacts import Assignment, read_assignment
from filtering.concepts.partition import Partition, global_rows, read_partition
from filtering.core.csr import Int64Array
from filtering.core.step_products import aligned
from filtering.embedding.artifacts import unit_steps
from filtering.filters.artifacts import PassingShard, VectorReader
from filtering.graph.change_tasks import Renewing, known_rows
from filtering.graph.query_search import Members, met
from filtering.graph.sharded import (
    FOUND,
    Float32Array,
    Int32Array,
    found_records,
)
from filtering.graph.tasks import (
    FOUND_SUFFIX,
    SentTo,
)
from filtering.runtime.shuffle import write_groups
from filtering.storage.store import Store

# What a shard found, grouped by partition.
SHARD_FOUND_NAME = "{}" + FOUND_SUFFIX
# Of rows of which no radius is known: any new row is sent to them, and they choose.
UNKNOWN_RADIUS, ASKS_ITSELF = np.float32(np.inf), np.float32(-1)


class Searched(SentTo):
    """The partitions to which a shard sent what it found, and the distances that it computed."""

    distances: int


def search_shard(
    shard: PassingShard,
    batches: Sequence[tuple[int, int]],
    asking_names: Sequence[str],
    known_names: Sequence[str],
    work: Renewing,
    store: Store,
) -> Searched:
    """Search the query rows of partitions among a shard's rows, and send what both found to their partitions.

    `batches` are the first partition, and the one after the last, of those whose query rows are read at once.
    """
    assigned = read_assignment(work.inputs.concepts, shard.identity)
    member, concept = assigned.members
    partition_of = np.array(work.partition_of, np.int32)
    # Stable: members of a concept stay as they are, home rows before replicas.
    order = np.argsort(partition_of[concept], kind="stable")
    member, concept = member[order], concept[order]
    bounds = np.searchsorted(partition_of[concept], np.array(batches).reshape(-1, 2))
    found, homes, distances = [np.zeros(0, FOUND)], [np.zeros(0, np.int32)], 0
    rows = None
    for batch, (first, last) in zip(batches, bounds.tolist(), strict=True):
        queries = read_partition(store, asking_names, *batch) if first < last else None
        if queries is None:
            continue
        rows = rows or _ShardRows.read_from(shard, assigned, known_names, store)
        own = rows.members(member[first:last], concept[first:last])
        radius = np.where(np.isin(own.row, queries.row), ASKS_ITSELF, rows.radius_of(own.row))
        one = met(_query_members(queries), queries.new, own, radius, work.inputs.k)
        for ids, home, neighbours in ((queries.row, queries.home, one.by_queries), (own.row, own.home, one.by_rows)):
            records, whose = found_records(ids, home, neighbours)
            found.append(records)
            homes.append(whose)
        distances += one.distances
    every, partitions = np.concatenate(found), partition_of[np.concatenate(homes)]
    sent = write_groups(store, SHARD_FOUND_NAME.format(shard.identity), partitions, FOUND, every.__getitem__)
    return Searched(to=sent, distances=distances)


@dataclass(frozen=True, slots=True)
class _ShardRows:
    """A shard's rows in memory: global ids, ascending, home concepts, vectors, and the base's radius of each."""

    row: Int64Array
    home: Int32Array
    read: VectorReader
    local: Int32Array
    radius: Float32Array

    @classmethod
    def read_from(
        cls, shard: PassingShard, assigned: Assignment, known_names: Sequence[str], store: Store
    ) -> "_ShardRows":
        known = known_rows(shard, known_names, store)
        radius = np.full(len(assigned.row), UNKNOWN_RADIUS, dtype=np.float32)
        radius[np.searchsorted(assigned.row, known["row"])] = known["radius"]
        ids = global_rows(shard.index, assigned.row)
        return cls(ids, assigned.concept, shard.reader().in_memory(), assigned.row, radius)

    def members(self, member: Int32Array, concept: Int32Array) -> Members:
        """Return some members, places in the rows, and their concepts, with the vectors of their rows."""
        rows, place = np.unique(member, return_inverse=True)
        by_concept = np.lexsort((place, concept != self.home[member], concept))
        steps = aligned(unit_steps(self.read(self.local[rows])))
        return Members(self.row[rows], self.home[rows], steps, place[by_concept], concept[by_concept])

    def radius_of(self, ids: Int64Array) -> Float32Array:
        """Return the radii of rows by their ids."""
        return self.radius[np.searchsorted(self.row, ids)]


def _query_members(queries: Partition) -> Members:
    steps = aligned(unit_steps(queries.vectors))
    return Members(queries.row, queries.home, steps, queries.place, queries.concept)
