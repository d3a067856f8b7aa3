"""What workers do to build the graph: search a partition, choose its rows' neighbours, join its edges."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from filtering.concepts.artifacts import GROUPED_SUFFIX, read_exact
from filtering.concepts.partition import read_partition, shard_and_row
from filtering.core.csr import Int64Array, distinct
from filtering.core.spare_neighbours import listed_count
from filtering.graph.artifacts import (
    CHOSEN_NAME,
    GRAPH_NAME,
    QUERIES_NAME,
    moved_graph,
    read_graph,
    read_origins,
    reused_graph,
)
from filtering.graph.components import Components
from filtering.graph.joining import (
    BasePart,
    chosen_distances,
    joined_part,
    radii,
)
from filtering.graph.sharded import (
    EDGE,
    FOUND,
    Nodes,
    PartStatistics,
    ShardGraph,
    chosen_neighbours,
    found_neighbours,
    found_records,
    outgoing_edges,
    own_nodes,
    statistics,
)
from filtering.graph.spares import Spares, read_spares, unknown_spares, write_spares
from filtering.runtime.shuffle import Records, read_groups, write_groups
from filtering.runtime.stage_objects import check_not_consumed
from filtering.storage.store import Store

NODES_NAME = "{:08d}.nodes.npz"
FOUND_SUFFIX, EDGES_SUFFIX = ".found", ".edges"
FOUND_NAME = "{:08d}" + FOUND_SUFFIX
EDGES_NAME = "{:08d}" + EDGES_SUFFIX


@dataclass(frozen=True, slots=True)
class GraphInputs:
    """What the graph is built from."""

    # grouped, concepts: the objects of the partitions stage and of the concepts stage
    grouped: Store
    concepts: Store
    dimension: int  # of the vectors
    k: int  # neighbours of a row
    gpus: float = 0.0  # the share of a GPU that a search takes; 0 searches on CPUs


class SentTo(TypedDict):
    """The partitions to which a task sent records."""

    to: list[int]


class SearchCounts(SentTo):
    """The result of searching a partition: its rows, and distances computed."""

    rows: int
    pairs: int


class Chosen(SentTo):
    """Besides: the partitions of spare neighbours."""

    spare: list[int]


def adjacent_partitions(before: Mapping[int, Sequence[int]], chosen: Mapping[int, Chosen]) -> dict[int, list[int]]:
    """Return the partitions that each shares edges or spare neighbours with: those of before, and where rows chose."""
    adjacent = defaultdict[int, set[int]](set, {number: set(others) for number, others in before.items()})
    for number, one in chosen.items():
        adjacent[number].update(one["to"], one["spare"])
        for other in (*one["to"], *one["spare"]):
            adjacent[other].add(number)
    return {number: sorted(others - {number}) for number, others in sorted(adjacent.items())}


class ComponentCounts(TypedDict, total=False):
    """Connected components and the size of the largest; nothing where there are too many rows to count them."""

    components: int
    largest_component: int


def search(
    partition: int, names: Sequence[str], partition_of: Sequence[int], inputs: GraphInputs, store: Store
) -> SearchCounts:
    """Find neighbours in every concept of a partition, and send those of replicas to the rows' own partition."""
    # What names the rows is a listing, in which deleted ones would not be missed.
    check_not_consumed(inputs.grouped, GROUPED_SUFFIX)
    rows = read_partition(inputs.grouped, names, partition)
    if rows is None:
        return SearchCounts(rows=0, pairs=0, to=[])
    nodes = own_nodes(rows)
    write_nodes(store, NODES_NAME.format(partition), nodes)
    neighbours, pairs = found_neighbours(rows, listed_count(inputs.k), "cuda" if inputs.gpus else "cpu")
    found, homes = found_records(rows.row, rows.home, neighbours)
    partitions = np.array(partition_of, np.int32)[homes]
    to = write_groups(store, FOUND_NAME.format(partition), partitions, FOUND, found.__getitem__)
    return SearchCounts(rows=len(nodes.row), pairs=pairs, to=to)


def choose(partition: int, senders: Sequence[int], partition_of: Sequence[int], k: int, store: Store) -> Chosen:
    """Keep the nearest of what was found for a partition's rows, send edges to where they end, and write spares."""
    nodes = Nodes(**store.read_arrays(NODES_NAME.format(partition)))
    found = read_groups(store, [FOUND_NAME.format(sender) for sender in senders], partition)
    listed = chosen_neighbours(nodes, np.zeros(0, FOUND) if found is None else found, listed_count(k))
    chosen, spare = listed.divided(k)
    write_spares(store, partition, Spares(spare.ids, spare.distances))
    where = np.array(partition_of, np.int32)
    edges, partitions = outgoing_edges(nodes, chosen, where, partition)
    to = write_groups(store, EDGES_NAME.format(partition), partitions, EDGE, edges.__getitem__)
    return Chosen(to=to, spare=distinct(where[spare.homes[spare.ids >= 0]]).tolist())


def join(partition: int, senders: Sequence[int], inputs: GraphInputs, store: Store) -> PartStatistics:
    """Write a partition's part of the graph from all edges that end in it, and what measures its recall."""
    nodes = Nodes(**store.read_arrays(NODES_NAME.format(partition)))
    graph, chosen = joined_part(nodes, sent_edges(store, senders, partition))
    write_part(store, partition, graph, chosen, inputs)
    return statistics(graph)


def read_base_part(store: Store, partition: int, k: int) -> BasePart | None:
    """Return a partition's part of the base's graph; None where the base has none."""
    origin = read_origins(store).of(partition)
    if origin is None:
        return None
    there, places = origin
    graph, chosen = moved_graph(there, places, partition), there.read_arrays(CHOSEN_NAME.format(partition))["chosen"]
    spares = read_spares(there, partition)
    if spares is None:
        return BasePart(graph, chosen, unknown_spares(radii(graph.indptr, chosen, graph.distances, k), k))
    return BasePart(graph, chosen, spares.moved(places))


def nodes_of(store: Store, partition: int, reused: Callable[[], ShardGraph | None]) -> Nodes:
    """Return a partition's rows: as they were found when it was searched, else those of the part that is reused."""
    try:
        return Nodes(**store.read_arrays(NODES_NAME.format(partition)))
    except FileNotFoundError:
        graph = reused()
    return no_nodes() if graph is None else graph


def no_nodes() -> Nodes:
    """Return no rows."""
    return Nodes(np.zeros(0, np.int64), np.zeros(0, "S32"), np.zeros(0, np.int32))


def sent_edges(store: Store, senders: Sequence[int], partition: int) -> Records:
    """Return the edges, EDGE (m,), that partitions sent to one."""
    edges = read_groups(store, [EDGES_NAME.format(sender) for sender in senders], partition)
    return np.zeros(0, EDGE) if edges is None else edges


def write_part(
    store: Store, partition: int, graph: ShardGraph, chosen: npt.NDArray[np.uint8], inputs: GraphInputs
) -> None:
    """Write a partition's part of the graph, who chose each edge, and what measures recall."""
    measured = np.flatnonzero(np.isin(graph.row, read_exact(inputs.concepts)[0]))
    distances = chosen_distances(graph, chosen, measured, inputs.k)
    store.write_arrays(QUERIES_NAME.format(partition), {"row": graph.row[measured], "distances": distances})
    store.write_arrays(CHOSEN_NAME.format(partition), {"chosen": chosen})
    write_nodes(store, GRAPH_NAME.format(partition), graph)


def components(present: Sequence[int], most: int, store: Store) -> ComponentCounts:
    """Count the connected components of the whole graph, if the pool, filtered rows included, has up to `most` rows."""
    nodes = np.concatenate([nodes_of(store, n, partial(reused_graph, store, n)).row for n in present])
    # A row's place follows from its shard's: a search among all ids would take longer than all else.
    shards, rows = shard_and_row(nodes)
    sizes = np.zeros(int(shards.max()) + 1, dtype=np.int64)
    np.maximum.at(sizes, shards, rows + 1)
    places = int(sizes.sum())
    if places > most:
        return ComponentCounts()
    first = np.cumsum(sizes) - sizes
    joined = Components(places)
    for number in present:
        graph = read_graph(store, number)
        if graph is not None:
            sources, targets = (_places(ids, first) for ids in (graph.row, graph.indices))
            joined.join(np.repeat(sources, np.diff(graph.indptr)), targets)
    # Places of rows that were filtered out stand alone, and are no components.
    found = joined.sizes()
    return ComponentCounts(components=len(found) - (places - len(nodes)), largest_component=int(found[0]))


def _places(ids: Int64Array, first: Int64Array) -> Int64Array:
    """Return where rows stand when the shards' rows follow each other, shard s from `first[s]` on."""
    shards, rows = shard_and_row(ids)
    return first[shards] + rows


def write_nodes(store: Store, name: str, value: Nodes) -> None:
    """Write rows, or a part of the graph."""
    store.write_arrays(name, {part.name: getattr(value, part.name) for part in fields(value)})
