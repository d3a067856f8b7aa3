"""The task that searches query rows among the rows of shards."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np

from filtering.concepts.artifacts import Assignment, read_assignment
from filtering.concepts.partition import Partition, global_rows, read_partition
from filtering.core.csr import Int64Array, grouped
from filtering.core.fixed_point import Int16Array
from filtering.core.spare_neighbours import listed_count
from filtering.core.step_products import aligned
from filtering.embedding.artifacts import unit_steps
from filtering.filters.artifacts import PassingShard
from filtering.graph.change_tasks import Renewing, known_rows
from filtering.graph.query_search import Bools, Members, meet
from filtering.graph.sharded import (
    FOUND,
    Float32Array,
    Int32Array,
    found_records,
    positions,
)
from filtering.graph.tasks import (
    FOUND_SUFFIX,
    SentTo,
)
from filtering.runtime.shuffle import Records, write_groups
from filtering.storage.store import Store

# What a task found, grouped by partition.
SHARD_FOUND_NAME = "{}" + FOUND_SUFFIX
# Of rows of which no radius is known: any new row is sent to them, and they choose.
UNKNOWN_RADIUS, ASKS_ITSELF = np.float32(np.inf), np.float32(-1)
# Rows of shards that are in memory at once, if a shard has not more: all query rows are read for so many.
ROWS_TOGETHER = 1 << 19


@dataclass(frozen=True, slots=True)
class AskingNames:
    """What the tasks that search read: objects of query rows, and of what the base knows.

    `partitions` are those in which query rows search.
    """

    asking: Sequence[str]
    known: Sequence[str]
    partitions: Sequence[int]


class Searched(SentTo):
    """The partitions to which a task sent what it found, and the distances that it computed."""

    distances: int


def search_shards(
    name: str,
    shards: Sequence[PassingShard],
    batches: Sequence[tuple[int, int]],
    names: AskingNames,
    work: Renewing,
    store: Store,
) -> Searched:
    """Search query rows among the rows of some shards, and send what both found to their partitions, in one object.

    `batches` are the first partition, and the one after the last, of those whose query rows are read at once.
    """
    found, distances = [(np.zeros(0, FOUND), np.zeros(0, np.int32))], 0
    for rows in _read_rows(shards, names, work, store):
        for batch in batches:
            queries = read_partition(store, names.asking, *batch)
            if queries is None:
                continue
            one = _query_members(queries)
            own = np.where(positions(one.row, rows.members.row) >= 0, ASKS_ITSELF, rows.radius)
            met = meet(one, queries.new, rows.members, own, listed_count(work.inputs.k))
            found += [
                found_records(side.row, side.home, lists)
                for side, lists in zip((one, rows.members), (met.by_queries, met.by_rows), strict=True)
            ]
            distances += met.distances
    every, homes = (np.concatenate(column) for column in zip(*found, strict=True))
    partitions = np.array(work.partition_of, np.int32)[homes]
    sent = write_groups(store, SHARD_FOUND_NAME.format(name), partitions, FOUND, every.__getitem__)
    return Searched(to=sent, distances=distances)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of shards in memory, and the base's radius of each, float32 (n,)."""

    members: Members
    radius: Float32Array


def _read_rows(shards: Sequence[PassingShard], names: AskingNames, work: Renewing, store: Store) -> Iterator[_Rows]:
    """Yield the rows of shards that have a concept of a partition in which rows search, of several shards at once."""
    asked = np.isin(np.array(work.partition_of, np.int32), names.partitions)
    held, count = list[_ShardRows](), 0
    for number, shard in enumerate(shards, 1):
        held.append(_read_shard(shard, read_assignment(work.inputs.concepts, shard.identity), asked, work))
        count += len(held[-1].row)
        if count >= ROWS_TOGETHER or number == len(shards):
            # The shards that a task reads follow one another.
            first = shards[number - len(held)].index
            known = known_rows(first, first + len(held), names.known, store) if count else None
            if known is not None:
                yield _joined(held, len(asked), known)
            held, count = [], 0


@dataclass(frozen=True, slots=True)
class _ShardRows:
    """Rows of a shard, as in `Members`, ascending, and their members in no order."""

    row: Int64Array
    home: Int32Array
    steps: Int16Array
    place: Int64Array
    concept: Int32Array


def _read_shard(shard: PassingShard, assigned: Assignment, asked: Bools, work: Renewing) -> _ShardRows:
    member, concept = assigned.members
    member, concept = member[asked[concept]], concept[asked[concept]]
    there = np.zeros(len(assigned.row), dtype=bool)
    there[member] = True
    rows, place = np.flatnonzero(there), (np.cumsum(there) - 1)[member]
    # A shard of which no row passes may have no vectors.
    vectors = (
        shard.reader()(assigned.row[rows]) if len(rows) else np.zeros((0, work.inputs.dimension), dtype=np.float16)
    )
    ids = global_rows(shard.index, assigned.row[rows])
    return _ShardRows(ids, assigned.concept[rows], unit_steps(vectors), place, concept)


def _joined(shards: Sequence[_ShardRows], concepts: int, known: Records) -> _Rows:
    """Return the rows of shards as members in the order of their concepts, of which there are `concepts`."""
    row, home, steps, place, concept = (
        np.concatenate([getattr(shard, part.name) for shard in shards]) for part in fields(_ShardRows)
    )
    lengths = [len(shard.row) for shard in shards]
    place += np.repeat(np.cumsum([0, *lengths[:-1]]), [len(shard.place) for shard in shards])
    order, _ = grouped(2 * concept.astype(np.int64) + (home[place] != concept), 2 * concepts)
    return _Rows(Members(row, home, aligned(steps), place[order], concept[order]), _radii(row, known))


def _radii(row: Int64Array, known: Records) -> Float32Array:
    """Return the base's radius of each of some rows, by ascending global ids."""
    radius = np.full(len(row), UNKNOWN_RADIUS, dtype=np.float32)
    ids = np.ascontiguousarray(known["row"])
    at = np.minimum(np.searchsorted(row, ids), len(row) - 1)
    there = row[at] == ids
    radius[at[there]] = known["radius"][there]
    return radius


def _query_members(queries: Partition) -> Members:
    steps = aligned(unit_steps(queries.vectors))
    return Members(queries.row, queries.home, steps, queries.place, queries.concept)
