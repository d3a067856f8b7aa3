"""The graph stage: directed search by partition, exchange of crossing edges, recall against exact search."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pyarrow as pa

from filtering import tables
from filtering.attempts import Task
from filtering.concepts.objects import grouped_names
from filtering.concepts.partition import global_rows, read_groups, read_partition, write_groups
from filtering.config import Config
from filtering.embedding.objects import unit_rows
from filtering.filters.objects import PassingShard
from filtering.graph.knn import nearest_neighbours
from filtering.graph.objects import GRAPH_NAME
from filtering.graph.recall import QUERIES, merged_nearest, recall_at_k
from filtering.graph.sharded import (
    DirectedEdges,
    ShardGraph,
    directed_edges,
    merged_graph,
    search_memory_bytes,
    statistics,
)
from filtering.stage import Runtime, Stage
from filtering.storage import Store
from filtering.uids import sampled

VERSION = 1
RECALL_SEED = 1
DIRECTED_NAME = "{:08d}.directed.npz"
CROSSING_NAME = "{:08d}.crossing.parquet"
QUERIES_NAME = "{:08d}.queries.npz"
EXACT_NAME = "{}.exact.npz"


def graph_stage(runtime: Runtime, config: Config, partitions: str) -> Stage:
    """Return the stage."""
    return Stage(runtime, "graph", VERSION, config.graph.k, (partitions,))


def build_graph(
    stage: Stage,
    config: Config,
    shards: Sequence[PassingShard],
    rows: int,
    grouped_url: str,
    concepts: pa.Table,
    dimension: int,
) -> dict[str, Any]:
    """Build every partition's graph and measure recall@k; return the graph's statistics.

    Parameters
    ----------
    rows : int
        Rows of all shards that passed the filters.
    grouped_url : str
        Where the grouped rows are.
    concepts : pa.Table
        `tables.CONCEPTS`.
    dimension : int
        Of the vectors.
    """
    url = stage.store.url
    memory = partition_memory(concepts, dimension, config.graph.k)
    count = len(memory)
    arguments = (
        grouped_url,
        grouped_names(Store(grouped_url)),
        concepts["partition"].to_pylist(),
        config.graph.k,
        QUERIES / max(rows, 1),
        url,
    )
    searches = [Task(f"search-{number:08d}", (number, *arguments), memory[number]) for number in range(count)]
    found = stage.map(lambda engine: engine.tasks(_search), searches, "partitions searched")
    present = [number for number, counts in enumerate(found) if counts["rows"]]
    merges = [Task(f"merge-{number:08d}", (number, present, url), memory[number]) for number in present]
    parts = stage.map(lambda engine: engine.tasks(_merge), merges, "partitions merged")
    result = {name: sum(part[name] for part in parts) for name in ("nodes", "edges", "isolated", "crossing")}
    result["largest_degree"] = max((part["largest_degree"] for part in parts), default=0)
    result["partitions"] = count
    result["recall"] = _recall(stage, config.graph.k, shards, present)
    stage.summary = f"{result['edges'] // 2:,} edges, recall@{config.graph.k} {result['recall']:.3f}"
    return result


def partition_memory(concepts: pa.Table, dimension: int, k: int) -> list[int]:
    """Return the bytes that each partition's tasks need, by `search_memory_bytes`."""
    partitions = concepts["partition"].to_numpy()
    sizes, guests = (concepts[name].to_numpy() for name in ("size", "guests"))
    own = np.bincount(partitions, weights=sizes).astype(np.int64)
    rows = np.bincount(partitions, weights=sizes + guests).astype(np.int64)
    return [search_memory_bytes(int(r), int(o), dimension, k) for r, o in zip(rows, own, strict=True)]


def _search(
    partition: int,
    grouped_url: str,
    names: Sequence[str],
    partition_of: Sequence[int],
    k: int,
    share: float,
    store_url: str,
) -> dict[str, int]:
    store = Store(store_url)
    rows = read_partition(Store(grouped_url), names, partition)
    if rows is None:
        return {"rows": 0, "guests": 0}
    edges = directed_edges(rows, k)
    store.write_arrays(DIRECTED_NAME.format(partition), _arrays(edges))
    homes = np.array(partition_of, dtype=np.int32)[edges.homes]
    leaving = (edges.neighbours >= 0) & (homes != partition)
    sources = np.broadcast_to(edges.row[:, None], leaving.shape)[leaving]
    columns = [homes[leaving], sources, edges.neighbours[leaving], edges.distances[leaving]]
    crossing = pa.table([pa.array(column) for column in columns], schema=tables.CROSSING)
    write_groups(store, CROSSING_NAME.format(partition), crossing, homes[leaving])
    own = np.flatnonzero(rows.concept == rows.home)
    asked = np.flatnonzero(sampled(edges.uid, share, RECALL_SEED))
    queries: dict[str, Any] = {
        "row": edges.row[asked],
        "vectors": rows.vectors[own[asked]],
        "found": edges.distances[asked],
    }
    store.write_arrays(QUERIES_NAME.format(partition), queries)
    return {"rows": len(own), "guests": len(rows.row) - len(own)}


def _merge(partition: int, present: Sequence[int], store_url: str) -> dict[str, Any]:
    store = Store(store_url)
    edges = DirectedEdges(**store.read_arrays(DIRECTED_NAME.format(partition)))
    incoming = read_groups(store, [CROSSING_NAME.format(number) for number in present], partition)
    incoming = tables.CROSSING.empty_table() if incoming is None else incoming
    graph = merged_graph(edges, *(incoming[name].to_numpy() for name in ("source", "target", "distance")))
    store.write_arrays(GRAPH_NAME.format(partition), _arrays(graph))
    return statistics(graph)


def _recall(stage: Stage, k: int, shards: Sequence[PassingShard], present: Sequence[int]) -> float:
    """Compare the sampled rows' neighbours with an exact search of every shard."""
    if not present:
        return 1.0
    names = [QUERIES_NAME.format(number) for number in present]
    tasks = [Task(f"exact-{s.identity}", (s, names, k, stage.store.url)) for s in shards]
    stage.map(lambda engine: engine.tasks(_exact), tasks, "shards searched for recall")
    found = np.concatenate([stage.store.read_arrays(name)["found"] for name in names])
    parts = [stage.store.read_arrays(EXACT_NAME.format(s.identity))["distances"] for s in shards]
    return round(recall_at_k(found, merged_nearest(parts, k)), 4)


def _exact(shard: PassingShard, names: Sequence[str], k: int, store_url: str) -> dict[str, int]:
    """Search one shard's rows exactly for the sampled queries."""
    store = Store(store_url)
    passing = shard.rows()
    asked = [store.read_arrays(name) for name in names]
    ids = np.concatenate([query["row"] for query in asked])
    queries = unit_rows(np.concatenate([query["vectors"] for query in asked]))
    rows = global_rows(shard.index, passing)
    nearest = np.full((len(ids), k), np.inf, dtype=np.float32)
    for block, vectors in shard.vector_blocks(passing):
        here = rows[block]
        at = np.minimum(np.searchsorted(here, ids), len(here) - 1)
        own = np.where(here[at] == ids, at, -1)
        found = nearest_neighbours(queries, unit_rows(vectors), own, k)[1]
        nearest = merged_nearest([nearest, found], k)
    store.write_arrays(EXACT_NAME.format(shard.identity), {"distances": nearest})
    return {"rows": len(passing)}


def _arrays(value: DirectedEdges | ShardGraph) -> dict[str, Any]:
    return {part.name: getattr(value, part.name) for part in fields(value)}
