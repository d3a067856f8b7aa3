"""What workers do to renew a base's graph: tell what changed, search query rows by shard, choose and join again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import TypedDict

from filtering.concepts.artifacts import Assignment, read_assignment
from filtering.concepts.grouping import send_rows
from filtering.concepts.partition import Partition, global_rows, read_partition, shard_and_row
from filtering.core.csr import Int64Array, distinct
from filtering.core.step_products import aligned
from filtering.embedding.artifacts import unit_steps
from filtering.filters.artifacts import PassingShard, VectorReader
from filtering.graph.joining import BasePart, joined_nodes, joined_part, same_part
from filtering.graph.query_search import Members, met
from filtering.graph.renewal import DROPPED, KNOWN, Standing, holding_edges, radii, renewed_choice, standing
from filtering.graph.sharded import (
    EDGE,
    FOUND,
    Float32Array,
    Int32Array,
    Nodes,
    PartStatistics,
    found_records,
    statistics,
)
from filtering.graph.tasks import (
    EDGES_NAME,
    FOUND_SUFFIX,
    NODES_NAME,
    GraphInputs,
    SentTo,
    read_base_part,
    write_nodes,
    write_part,
)
from filtering.runtime.shuffle import Records, packed, read_groups, write_groups
from filtering.storage.store import Store

# By shard, grouped by partition: rows that are gone, new rows, rows that search, and what a shard found.
GONE_NAME, NEW_NAME, ASKING_NAME = "{}.gone", "{}.new", "{}.asking"
LOST_ASKING_NAME = "{}.lost-asking"
SHARD_FOUND_NAME = "{}" + FOUND_SUFFIX
# By partition: what the base knows of its rows, grouped by shard; rows that are gone; edges that are dropped.
KNOWN_NAME, GONE_HERE_NAME, DROPPED_NAME = "{:08d}.known", "{:08d}.gone-here.npz", "{:08d}.dropped.npz"
GONE_ROW = np.dtype([("row", "<i8")])
NEW_ROW = np.dtype([("row", "<i8"), ("uid", "S32"), ("concept", "<i4")])
# Of rows of which no radius is known: any new row is sent to them, and they choose.
UNKNOWN_RADIUS, ASKS_ITSELF = np.float32(np.inf), np.float32(-1)


@dataclass(frozen=True, slots=True)
class Renewing:
    """What the tasks that renew a graph read."""

    inputs: GraphInputs
    base_concepts: Store  # the base's concepts stage
    partition_of: Sequence[int]  # the partition of each concept
    most: int  # concepts of a row, at most


class Asked(TypedDict):
    """The partitions in which rows of a shard search, ascending, and how many do in each."""

    asked: list[int]
    rows: list[int]


class ChangedRows(Asked):
    """Besides: the partitions of a shard's rows that are gone, and those of its new rows."""

    gone: list[int]
    new: list[int]


class KnownRows(TypedDict):
    """The shards to which a partition told its rows that have lost a neighbour, and whether any row is gone."""

    lost: list[int]
    gone: bool


class Searched(SentTo):
    """The partitions to which a shard sent what it found, and the distances that it computed."""

    distances: int


class Chosen(SentTo):
    """Besides: whether any row chose otherwise than in the base, and the concepts in which rows searched."""

    differs: bool
    concepts: int


def find_gone(identity: str, work: Renewing) -> list[int]:
    """Return the partitions in which a shard of the base that is gone had rows at home."""
    return _partitions(read_assignment(work.base_concepts, identity).concept, work)


def find_changed(shard: PassingShard, known: bool, work: Renewing, store: Store) -> ChangedRows:
    """Send a shard's rows that the base does not have to where they search, and to their partitions.

    Also those that the base has and that are gone. `known` where the base has the shard.
    """
    assigned = read_assignment(work.inputs.concepts, shard.identity)
    before = read_assignment(work.base_concepts, shard.identity) if known else None
    new, gone = np.ones(len(assigned.row), dtype=bool), list[int]()
    if before is not None:
        new = ~np.isin(assigned.row, before.row)
        gone = _send_gone(shard, before, assigned, work, store)
    asked = _send_asking(shard, assigned, new, new, ASKING_NAME, work, store)
    rows, homes = assigned.row[new], assigned.concept[new]
    records = packed(NEW_ROW, row=global_rows(shard.index, rows), uid=shard.uids(rows), concept=homes)
    partitions = np.array(work.partition_of, np.int32)[homes]
    sent = write_groups(store, NEW_NAME.format(shard.identity), partitions, NEW_ROW, records.__getitem__)
    return ChangedRows(gone=gone, new=sent, **asked)


def _send_gone(shard: PassingShard, before: Assignment, now: Assignment, work: Renewing, store: Store) -> list[int]:
    gone = ~np.isin(before.row, now.row)
    records = packed(GONE_ROW, row=global_rows(shard.index, before.row[gone]))
    partitions = np.array(work.partition_of, np.int32)[before.concept[gone]]
    return write_groups(store, GONE_NAME.format(shard.identity), partitions, GONE_ROW, records.__getitem__)


def _send_asking(
    shard: PassingShard,
    assigned: Assignment,
    asking: npt.NDArray[np.bool_],
    new: npt.NDArray[np.bool_],
    name: str,
    work: Renewing,
    store: Store,
) -> Asked:
    """Send rows that search, each to every partition of its concepts."""
    if not asking.any():
        return Asked(asked=[], rows=[])
    partition_of, to = np.array(work.partition_of, np.int32), name.format(shard.identity)
    sent = send_rows(shard, assigned, asking, new, partition_of, work.most, to, store)
    return Asked(asked=sent.partitions, rows=sent.rows)


def tell_known(
    partition: int, near: Sequence[int], gone_names: Sequence[str], work: Renewing, store: Store
) -> KnownRows:
    """Tell the shards what the base knows of a partition's rows; `near` are it and those that it shares edges with."""
    base = read_base_part(store, partition)
    gone = _gone_rows(near, gone_names, store)
    if base is None:
        return KnownRows(lost=[], gone=False)
    if len(gone):
        store.write_arrays(GONE_HERE_NAME.format(partition), {"row": gone})
    there = standing(base, gone)
    row, lost = base.graph.row[there.rows], there.lost[there.rows]
    shards, rows = shard_and_row(row)
    records = packed(KNOWN, row=rows, radius=radii(base, there, work.inputs.k)[there.rows], lost=lost)
    write_groups(store, KNOWN_NAME.format(partition), shards, KNOWN, records.__getitem__)
    return KnownRows(lost=distinct(shards[lost]).tolist(), gone=not there.rows.all())


def ask_for_lost(shard: PassingShard, known_names: Sequence[str], work: Renewing, store: Store) -> Asked:
    """Send a shard's rows that have lost a neighbour to where they search."""
    assigned, known = read_assignment(work.inputs.concepts, shard.identity), _known(shard, known_names, store)
    lost = np.isin(assigned.row, known["row"][known["lost"]])
    return _send_asking(shard, assigned, lost, np.zeros(len(lost), dtype=bool), LOST_ASKING_NAME, work, store)


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
        known = _known(shard, known_names, store)
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


def choose_again(
    partition: int,
    found_names: Sequence[str],
    new_names: Sequence[str],
    asking_names: Sequence[str],
    work: Renewing,
    store: Store,
) -> Chosen:
    """Let a partition's rows choose among what they had and what was found, and send the edges that are new."""
    base, gone = read_base_part(store, partition), _gone_here(store, partition)
    there = None if base is None else standing(base, gone)
    new = read_groups(store, new_names, partition)
    nodes = _nodes_now(base, there, np.zeros(0, NEW_ROW) if new is None else new)
    records = read_groups(store, found_names, partition)
    found = np.zeros(0, FOUND) if records is None else records
    partition_of = np.array(work.partition_of, np.int32)
    added, targets, dropped = renewed_choice(nodes, base, there, found, partition_of, work.inputs.k)
    asked = read_partition(store, asking_names, partition)
    concepts = 0 if asked is None else len(distinct(asked.concept.astype(np.int64)))
    differs = new is not None or there is None or not there.rows.all() or len(added) + len(dropped) > 0
    if not differs:
        return Chosen(to=[], differs=False, concepts=concepts)
    write_nodes(store, NODES_NAME.format(partition), nodes)
    store.write_arrays(DROPPED_NAME.format(partition), {name: dropped[name] for name in ("source", "target")})
    leaving = targets != partition
    here = np.full(int(leaving.sum()), partition, dtype=np.int32)
    edges, partitions = np.concatenate([added, added[leaving]]), np.concatenate([targets, here])
    sent = write_groups(store, EDGES_NAME.format(partition), partitions, EDGE, edges.__getitem__)
    return Chosen(to=sent, differs=True, concepts=concepts)


def renew(partition: int, senders: Sequence[int], near: Sequence[int], work: Renewing, store: Store) -> PartStatistics:
    """Write a partition's part of the graph from the base's, unless it is the same.

    `senders` are the partitions that sent edges, `near` those, itself among them if so, whose rows chose otherwise.
    """
    base, gone = read_base_part(store, partition), _gone_here(store, partition)
    sent = read_groups(store, [EDGES_NAME.format(sender) for sender in senders], partition)
    edges, nodes = np.zeros(0, EDGE) if sent is None else sent, _chosen_nodes(store, partition)
    if base is not None:
        dropped = np.concatenate([np.zeros(0, DROPPED), *(_dropped(store, number) for number in near)])
        there = standing(base, gone)
        edges = np.concatenate([holding_edges(base, there, gone, dropped), edges])
        nodes = nodes or base.graph
    graph, chosen = joined_part(nodes or _no_nodes(), edges)
    reused = base is not None and same_part(base, graph, chosen)
    if not reused:
        write_part(store, partition, graph, chosen, work.inputs)
    return statistics(graph, reused)


def _nodes_now(base: BasePart | None, there: Standing | None, new: Records) -> Nodes:
    added = Nodes(*(np.ascontiguousarray(new[name]) for name in ("row", "uid", "concept")))
    if base is None or there is None:
        return joined_nodes(_no_nodes(), added)
    graph = base.graph
    return joined_nodes(Nodes(graph.row[there.rows], graph.uid[there.rows], graph.concept[there.rows]), added)


def _query_members(queries: Partition) -> Members:
    steps = aligned(unit_steps(queries.vectors))
    return Members(queries.row, queries.home, steps, queries.place, queries.concept)


def _gone_rows(near: Sequence[int], names: Sequence[str], store: Store) -> Int64Array:
    groups = [read_groups(store, names, number) for number in near] if names else []
    return np.concatenate([np.zeros(0, np.int64), *(group["row"] for group in groups if group is not None)])


def _gone_here(store: Store, partition: int) -> Int64Array:
    return _optional(store, GONE_HERE_NAME.format(partition)).get("row", np.zeros(0, np.int64))


def _dropped(store: Store, partition: int) -> Records:
    found = _optional(store, DROPPED_NAME.format(partition))
    return packed(DROPPED, **found) if found else np.zeros(0, DROPPED)


def _chosen_nodes(store: Store, partition: int) -> Nodes | None:
    found = _optional(store, NODES_NAME.format(partition))
    return Nodes(**found) if found else None


def _optional(store: Store, name: str) -> dict[str, npt.NDArray[Any]]:
    try:
        return store.read_arrays(name)
    except FileNotFoundError:
        return {}


def _known(shard: PassingShard, names: Sequence[str], store: Store) -> Records:
    """Return what the base knows of a shard's rows, KNOWN (n,), as far as it has been told."""
    found = read_groups(store, names, shard.index) if names else None
    return np.zeros(0, KNOWN) if found is None else found


def _partitions(concepts: Int32Array, work: Renewing) -> list[int]:
    found: list[int] = np.unique(np.array(work.partition_of, np.int32)[concepts]).tolist()
    return found


def _no_nodes() -> Nodes:
    return Nodes(np.zeros(0, np.int64), np.zeros(0, "S32"), np.zeros(0, np.int32))
