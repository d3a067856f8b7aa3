"""The concepts stage: train centroids on a sample, assign every row, keep the clusters' statistics."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filtering import tables
from filtering.attempts import Task
from filtering.concepts.kmeans import (
    POINTS_PER_CENTROID,
    automatic_clusters,
    inter_distances,
    nearest_centroids,
    packed_partitions,
    spherical_kmeans,
)
from filtering.concepts.objects import (
    ASSIGNMENTS_NAME,
    CENTROIDS,
    CONCEPTS,
    GROUPED_NAME,
    read_assignments,
    read_centroids,
    read_concepts,
)
from filtering.concepts.partition import Partition, global_rows, partition_table, write_groups
from filtering.config import Config
from filtering.embedding.objects import unit_rows
from filtering.filters.objects import PassingShard
from filtering.stage import Runtime, Stage
from filtering.storage import Store
from filtering.uids import sampled

VERSION = 1
STATISTICS_NAME = "{}.statistics.npz"


def concepts_stage(runtime: Runtime, config: Config, filters: str) -> Stage:
    """Return the stage."""
    settings = [config.concepts.model_dump(), config.graph.reach]
    return Stage(runtime, "concepts", VERSION, settings, (filters,))


def find_concepts(stage: Stage, config: Config, shards: Sequence[PassingShard], rows: int) -> dict[str, int]:
    """Train, assign, and write the table of concepts; return how many concepts and partitions there are."""
    wanted = config.concepts.clusters
    clusters = automatic_clusters(rows) if wanted == "auto" else wanted
    seed = config.concepts.seed
    stage.call(_train, "centroids", list(shards), clusters, seed, rows, stage.store.url)
    reach = config.graph.reach
    tasks = [Task(s.identity, (s, reach, stage.store.url)) for s in shards]
    stage.map(lambda engine: engine.tasks(_assign), tasks, "shards")
    table = _concepts_table(stage.store, shards, config.concepts.partition_rows)
    stage.store.write_table(CONCEPTS, table)
    partitions = int(table["partition"].to_numpy().max(initial=-1)) + 1
    stage.summary = f"{len(table):,} concepts in {partitions:,} partition{'s' * (partitions != 1)}"
    dimension = read_centroids(stage.store).shape[1]
    return {"concepts": len(table), "partitions": partitions, "dimension": dimension}


def partitions_stage(runtime: Runtime, concepts: str) -> Stage:
    """Return the stage that groups rows by the partition of their concepts."""
    return Stage(runtime, "partitions", VERSION, None, (concepts,))


def group_rows(stage: Stage, shards: Sequence[PassingShard], concepts_url: str) -> dict[str, int]:
    """Write each shard's rows grouped by partition, guests included; return how many rows that makes."""
    tasks = [Task(s.identity, (s, concepts_url, stage.store.url)) for s in shards]
    counts = stage.map(lambda engine: engine.tasks(_group), tasks, "shards")
    totals = {name: sum(count[name] for count in counts) for name in ("rows", "guests")}
    stage.summary = f"{totals['rows']:,} rows and {totals['guests']:,} guests grouped"
    return totals


def _train(shards: Sequence[PassingShard], clusters: int, seed: int, rows: int, store_url: str) -> dict[str, int]:
    """Fit the centroids on a sample that depends on uids and seed, in the order of uids."""
    fraction = clusters * POINTS_PER_CENTROID / max(rows, 1)
    uids, vectors = [np.zeros(0, "S32")], []
    for shard in shards:
        passing = shard.rows()
        names = shard.uids(passing)
        chosen = sampled(names, fraction, seed)
        if chosen.any():
            uids.append(names[chosen])
            vectors.append(shard.vectors(passing[chosen]))
    order = np.argsort(np.concatenate(uids), kind="stable")
    sample = unit_rows(np.concatenate(vectors)[order]) if vectors else np.zeros((0, 0), np.float32)
    centroids = spherical_kmeans(sample, clusters, seed) if len(sample) else sample
    Store(store_url).write_arrays(CENTROIDS, {"centroids": centroids})
    return {"sample": len(sample), "clusters": len(centroids)}


def _assign(shard: PassingShard, reach: int, store_url: str) -> dict[str, int]:
    store = Store(store_url)
    centroids = read_centroids(store)
    rows = shard.rows()
    concepts = np.zeros((len(rows), min(reach, len(centroids))), dtype=np.int32)
    distances = np.zeros(len(rows), dtype=np.float32)
    for block, vectors in shard.vector_blocks(rows):
        concepts[block], apart = nearest_centroids(unit_rows(vectors), centroids, reach)
        distances[block] = apart[:, 0]
    lists = pa.array(list(concepts), pa.list_(pa.int32()))
    columns = [pa.array(rows, pa.int32()), lists, pa.array(distances)]
    store.write_table(ASSIGNMENTS_NAME.format(shard.identity), pa.table(columns, schema=tables.ASSIGNMENTS))
    store.write_arrays(STATISTICS_NAME.format(shard.identity), _sums(concepts, distances, len(centroids)))
    return {"rows": len(rows)}


def _group(shard: PassingShard, concepts_url: str, store_url: str) -> dict[str, int]:
    """Write a shard's rows in blocks, each an object with a row group for each partition."""
    partition_of = read_concepts(Store(concepts_url))["partition"].to_numpy()
    table = read_assignments(Store(concepts_url), shard)
    rows = table["row"].to_numpy()
    if len(rows) == 0:
        return {"rows": 0, "guests": 0}
    concepts, uids = np.stack(table["concepts"].to_numpy()), shard.uids(rows)
    ids, visits = global_rows(shard.index, rows), concepts.shape[1]
    for block, vectors in shard.vector_blocks(rows):
        each = np.repeat(np.arange(len(vectors)), visits)
        visited, home = concepts[block].ravel(), concepts[block, 0]
        columns = Partition(ids[block][each], uids[block][each], visited, home[each], vectors[each])
        name = GROUPED_NAME.format(shard.identity, block.start)
        write_groups(Store(store_url), name, partition_table(columns), partition_of[visited])
    return {"rows": len(rows), "guests": len(rows) * (visits - 1)}


def _sums(
    concepts: npt.NDArray[np.int32], distances: npt.NDArray[np.float32], clusters: int
) -> dict[str, npt.NDArray[Any]]:
    home = concepts[:, 0] if len(concepts) else np.zeros(0, dtype=np.int32)
    return {
        "sizes": np.bincount(home, minlength=clusters),
        "guests": np.bincount(concepts[:, 1:].ravel(), minlength=clusters),
        "distances": np.bincount(home, weights=distances, minlength=clusters),
    }


def _concepts_table(store: Store, shards: Sequence[PassingShard], partition_rows: int) -> pa.Table:
    centroids = read_centroids(store)
    totals = {name: np.zeros(len(centroids)) for name in ("sizes", "guests", "distances")}
    for shard in shards:
        sums = store.read_arrays(STATISTICS_NAME.format(shard.identity))
        for name in totals:
            totals[name] += sums[name]
    sizes, guests = totals["sizes"].astype(np.int64), totals["guests"].astype(np.int64)
    columns = {
        "concept": np.arange(len(centroids), dtype=np.int32),
        "size": sizes,
        "guests": guests,
        "d_intra": totals["distances"] / np.maximum(sizes, 1),
        "d_inter": inter_distances(centroids),
        "partition": packed_partitions(sizes + guests, partition_rows),
    }
    return pa.table([pa.array(columns[name]) for name in tables.CONCEPTS.names], schema=tables.CONCEPTS)
