"""What workers do to build the graph: search a partition, choose its rows' neighbours, join its edges."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from filtering.concepts.objects import read_exact
from filtering.concepts.partition import read_partition, shard_and_row
from filtering.exchange import read_groups, write_groups
from filtering.graph.components import Components
from filtering.graph.csr import Int64Array
from filtering.graph.objects import GRAPH_NAME, read_graph
from filtering.graph.sharded import (
    EDGE,
    FOUND,
    Nodes,
    chosen_neighbours,
    found_neighbours,
    found_records,
    joined_graph,
    outgoing_edges,
    own_nodes,
    statistics,
)
from filtering.storage import Store

NODES_NAME = "{:08d}.nodes.npz"
FOUND_SUFFIX, EDGES_SUFFIX = ".found", ".edges"
FOUND_NAME = "{:08d}" + FOUND_SUFFIX
EDGES_NAME = "{:08d}" + EDGES_SUFFIX
QUERIES_NAME = "{:08d}.queries.npz"


def search(
    partition: int,
    grouped_url: str,
    names: Sequence[str],
    partition_of: Sequence[int],
    k: int,
    device: str,
    store_url: str,
) -> dict[str, Any]:
    """Find neighbours in every concept of a partition, and send those of guests to their own partition."""
    store, rows = Store(store_url), read_partition(Store(grouped_url), names, partition)
    if rows is None:
        return {"rows": 0, "guests": 0, "pairs": 0, "to": []}
    nodes = own_nodes(rows)
    _write(store, NODES_NAME.format(partition), nodes)
    neighbours, pairs = found_neighbours(rows, k, device)
    found, homes = found_records(rows, neighbours)
    partitions = np.array(partition_of, np.int32)[homes]
    to = write_groups(store, FOUND_NAME.format(partition), partitions, FOUND, found.__getitem__)
    return {"rows": len(nodes.row), "guests": len(rows.place) - len(nodes.row), "pairs": pairs, "to": to}


def choose(
    partition: int, senders: Sequence[int], partition_of: Sequence[int], k: int, concepts_url: str, store_url: str
) -> dict[str, Any]:
    """Keep the k nearest of what was found for a partition's rows, and send the edges to where they end."""
    store = Store(store_url)
    nodes = Nodes(**store.read_arrays(NODES_NAME.format(partition)))
    found = read_groups(store, [FOUND_NAME.format(sender) for sender in senders], partition)
    chosen = chosen_neighbours(nodes, np.zeros(0, FOUND) if found is None else found, k)
    edges, partitions = outgoing_edges(nodes, chosen, np.array(partition_of, np.int32), partition)
    to = write_groups(store, EDGES_NAME.format(partition), partitions, EDGE, edges.__getitem__)
    measured = np.flatnonzero(np.isin(nodes.row, read_exact(Store(concepts_url))[0]))
    queries: dict[str, Any] = {"row": nodes.row[measured], "distances": chosen.distances[measured]}
    store.write_arrays(QUERIES_NAME.format(partition), queries)
    return {"to": to}


def join(partition: int, senders: Sequence[int], store_url: str) -> dict[str, Any]:
    """Write a partition's part of the graph from all edges that end in it."""
    store = Store(store_url)
    nodes = Nodes(**store.read_arrays(NODES_NAME.format(partition)))
    edges = read_groups(store, [EDGES_NAME.format(sender) for sender in senders], partition)
    graph = joined_graph(nodes, np.zeros(0, EDGE) if edges is None else edges)
    _write(store, GRAPH_NAME.format(partition), graph)
    return statistics(graph)


def components(present: Sequence[int], most: int, store_url: str) -> dict[str, int]:
    """Count the connected components of the whole graph, if the pool, filtered rows included, has up to `most` rows."""
    store = Store(store_url)
    nodes = np.concatenate([store.read_arrays(NODES_NAME.format(number))["row"] for number in present])
    # A row's place follows from its shard's: a search among all ids would take longer than all else.
    shards, rows = shard_and_row(nodes)
    sizes = np.zeros(int(shards.max()) + 1, dtype=np.int64)
    np.maximum.at(sizes, shards, rows + 1)
    places = int(sizes.sum())
    if places > most:
        return {}
    first = np.cumsum(sizes) - sizes
    joined = Components(places)
    for number in present:
        graph = read_graph(store, number)
        if graph is not None:
            sources, targets = (_places(ids, first) for ids in (graph.row, graph.indices))
            joined.join(np.repeat(sources, np.diff(graph.indptr)), targets)
    # Places of rows that were filtered out stand alone, and are no components.
    found = joined.sizes()
    return {"components": len(found) - (places - len(nodes)), "largest_component": int(found[0])}


def _places(ids: Int64Array, first: Int64Array) -> Int64Array:
    """Return where rows stand when the shards' rows follow each other, shard s from `first[s]` on."""
    shards, rows = shard_and_row(ids)
    return first[shards] + rows


def _write(store: Store, name: str, value: Any) -> None:
    store.write_arrays(name, {part.name: getattr(value, part.name) for part in fields(value)})
