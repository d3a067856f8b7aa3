"""The concepts stage: train centroids on a sample, give every row its concept, invite guests; and the grouping."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filtering import tables
from filtering.attempts import Task
from filtering.concepts.assignment import CELLS_SUFFIX, STATISTICS_NAME, assign, invite, visit
from filtering.concepts.grouping import group
from filtering.concepts.kmeans import (
    POINTS_PER_CENTROID,
    REFINEMENTS,
    automatic_clusters,
    coarse_groups,
    group_shares,
    inter_distances,
    largest_in_sample,
)
from filtering.concepts.objects import CENTROIDS, CONCEPTS, INVITATION, read_centroids
from filtering.concepts.packing import automatic_partition_rows, packed_partitions
from filtering.concepts.training import (
    FINE_NAME,
    MOVED_NAME,
    MOVED_TOGETHER,
    ROUND_NAME,
    SAMPLE_SUFFIX,
    SPREAD_NAME,
    SPREAD_SUFFIX,
    SUMS_NAME,
    SUMS_SUFFIX,
    cluster_groups,
    collect_centroids,
    find_groups,
    move_centroids,
    sample_shard,
    spread_sample,
    sum_members,
)
from filtering.config import Concepts, Config
from filtering.filters.objects import PassingShard
from filtering.stage import Runtime, Stage
from filtering.storage import Store

VERSION = 3
PARTITIONS_VERSION = 2
# A concept with more rows than this many times the mean is cut into sections by uid; clustering could not split it.
OVERSIZED = 4
# Rows on which a coarse centroid is trained, in multiples of a fine one's; sampled rows that one task clusters.
COARSE_POINTS = 4
BATCH_ROWS = 20_000
# The objects between tasks of this stage that nothing else reads.
CONSUMED_SUFFIXES = (SAMPLE_SUFFIX, SPREAD_SUFFIX, SUMS_SUFFIX, CELLS_SUFFIX)
FEWEST_LARGEST = 1_000


def concepts_stage(runtime: Runtime, config: Config, filters: str) -> Stage:
    """Return the stage."""
    settings = [config.concepts.model_dump(), config.graph.model_dump()]
    return Stage(runtime, "concepts", VERSION, settings, (filters,))


def find_concepts(stage: Stage, config: Config, shards: Sequence[PassingShard], rows: int) -> dict[str, Any]:
    """Train, assign, invite guests, write the table of concepts; return how many there are and what was decided.

    Parameters
    ----------
    rows : int
        Rows of all shards that passed the filters.
    """
    url, settings, graph = stage.store.url, config.concepts, config.graph
    clusters, identities = wanted_clusters(settings, rows), [shard.identity for shard in shards]
    centroids = _train(stage, shards, clusters, settings.seed, rows)
    _over_shards(stage, assign, "assign", shards, (graph.reach, graph.k, url), "shards assigned")
    largest = largest_concept(settings, rows, clusters)
    invitation = stage.call(invite, "invitation", identities, graph.recall, graph.guests, largest, url)
    visits = _over_shards(stage, visit, "visit", shards, (url,), "shards of guests")
    table = _concepts_table(stage.store, identities, settings.partition_rows)
    stage.store.write_table(CONCEPTS, table)
    # Read for the last time; together they take a fifth of the room that the grouped rows will.
    for suffix in CONSUMED_SUFFIXES:
        stage.store.delete_all(suffix)
    partitions = int(table["partition"].to_numpy().max(initial=-1)) + 1
    guests = sum(count["guests"] for count in visits)
    many = "s" * (partitions != 1)
    stage.summary = (
        f"{len(table):,} concepts in {partitions:,} partition{many}, {guests / max(rows, 1):.2f} guests a row"
    )
    dimension = read_centroids(stage.store).vectors.shape[1]
    found = {"concepts": len(table), "centroids": centroids, "partitions": partitions, "guests": guests}
    return {**found, "dimension": dimension, "margin": invitation["margin"], "expected_recall": invitation["expected"]}


def _train(stage: Stage, shards: Sequence[PassingShard], clusters: int, seed: int, rows: int) -> int:
    """Train the centroids, a task a shard and a task for some groups; return how many there are."""
    url, identities, groups = stage.store.url, [shard.identity for shard in shards], coarse_groups(clusters)
    shares = [count * POINTS_PER_CENTROID / max(rows, 1) for count in (clusters, COARSE_POINTS * groups)]
    _over_shards(stage, sample_shard, "sample", shards, (*shares, seed, rows, url), "shards sampled")
    stage.call(find_groups, "groups", identities, groups, seed, url)
    tasks = [Task(f"spread-{identity}", (identity, url)) for identity in identities]
    spread = stage.map(lambda engine: engine.tasks(spread_sample), tasks, "samples grouped")
    sizes = np.array([found["sizes"] for found in spread], dtype=np.int64).sum(axis=0)
    names = [SPREAD_NAME.format(one) for one, found in zip(identities, spread, strict=True) if any(found["sizes"])]
    portions, largest = group_shares(sizes, clusters), largest_in_sample(int(sizes.sum()), clusters)
    batches = [
        Task(f"cluster-{part.start:08d}", (part.start, portions[part].tolist(), largest, names, seed, url))
        for part in _batches(sizes)
    ]
    stage.map(lambda engine: engine.tasks(cluster_groups), batches, "groups clustered")
    parts = [FINE_NAME.format(task.arguments[0]) for task in batches]
    filled = [one for one, found in zip(identities, spread, strict=True) if any(found["sizes"])]
    return _refine(stage, filled, parts)


def _refine(stage: Stage, identities: Sequence[str], parts: Sequence[str]) -> int:
    """Move all centroids to their members a few times; return how many there are in the end."""
    url = stage.store.url
    for number in range(REFINEMENTS + 1):
        current = CENTROIDS if number == REFINEMENTS else ROUND_NAME.format(number)
        count = int(stage.call(collect_centroids, f"centroids-{number}", list(parts), current, url)["centroids"])
        if number < REFINEMENTS:
            tasks = [Task(f"sums-{number}-{identity}", (identity, current, url)) for identity in identities]
            stage.map(lambda engine: engine.tasks(sum_members), tasks, "samples summed")
            names = [SUMS_NAME.format(identity, current) for identity in identities]
            numbers = range(-(-count // MOVED_TOGETHER))
            tasks = [Task(f"move-{number}-{part:08d}", (part, names, current, url)) for part in numbers]
            stage.map(lambda engine: engine.tasks(move_centroids), tasks, "centroids moved")
            parts = [MOVED_NAME.format(part, current) for part in numbers]
    return count


def _batches(sizes: npt.NDArray[np.int64]) -> list[slice]:
    """Return consecutive groups that hold some 20,000 sampled rows together."""
    if len(sizes) == 0:
        return []
    ends = np.flatnonzero(np.diff(np.cumsum(sizes) // BATCH_ROWS, append=-1)) + 1
    return [slice(start, end) for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True)]


def wanted_clusters(settings: Concepts, rows: int) -> int:
    """Return how many centroids are trained for a pool of `rows` rows."""
    return automatic_clusters(rows) if settings.clusters == "auto" else settings.clusters


def largest_concept(settings: Concepts, rows: int, clusters: int) -> int:
    """Return how many rows a concept may have before it is cut into sections."""
    if settings.largest != "auto":
        return settings.largest
    return max(-(-OVERSIZED * rows // max(clusters, 1)), FEWEST_LARGEST)


def partitions_stage(runtime: Runtime, concepts: str) -> Stage:
    """Return the stage that groups rows by the partition of their concepts."""
    return Stage(runtime, "partitions", PARTITIONS_VERSION, None, (concepts,))


def group_rows(stage: Stage, config: Config, shards: Sequence[PassingShard], concepts_url: str) -> dict[str, int]:
    """Write each shard's rows grouped by partition, guests included; return how many rows that makes."""
    tasks = [Task(s.identity, (s, config.graph.reach, concepts_url, stage.store.url)) for s in shards]
    counts = stage.map(lambda engine: engine.tasks(group), tasks, "shards")
    totals = {name: sum(count[name] for count in counts) for name in ("rows", "guests", "copies")}
    stage.summary = f"{totals['rows']:,} rows grouped in {totals['copies']:,} copies"
    return totals


def _over_shards(
    stage: Stage, function: Any, name: str, shards: Sequence[PassingShard], arguments: tuple[Any, ...], unit: str
) -> list[Any]:
    tasks = [Task(f"{name}-{shard.identity}", (shard, *arguments)) for shard in shards]
    return stage.map(lambda engine: engine.tasks(function), tasks, unit)


def _concepts_table(store: Store, identities: Sequence[str], partition_rows: int | str) -> pa.Table:
    sections = store.read_arrays(INVITATION)["sections"]
    count = int(sections.sum())
    totals = {name: np.zeros(count) for name in ("sizes", "guests", "distances")}
    pairs = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
    for identity in identities:
        sums = store.read_arrays(STATISTICS_NAME.format(identity))
        for name in totals:
            totals[name] += sums[name]
        pairs.append((sums["pairs"], sums["visits"]))
    sizes, guests = totals["sizes"].astype(np.int64), totals["guests"].astype(np.int64)
    limit = automatic_partition_rows(int((sizes + guests).sum())) if partition_rows == "auto" else int(partition_rows)
    columns = {
        "concept": np.arange(count, dtype=np.int32),
        "size": sizes,
        "guests": guests,
        "d_intra": totals["distances"] / np.maximum(sizes, 1),
        "d_inter": np.repeat(inter_distances(read_centroids(store)), sections),
        "partition": packed_partitions(sizes + guests, *_visits(pairs, count), limit),
    }
    return pa.table([pa.array(columns[name]) for name in tables.CONCEPTS.names], schema=tables.CONCEPTS)


def _visits(pairs: Sequence[tuple[Any, Any]], count: int) -> tuple[Any, Any, Any]:
    """Return visitors, hosts and how often, from shards' counts of pairs written as visitor * K + host."""
    every, place = np.unique(np.concatenate([pair for pair, _ in pairs]), return_inverse=True)
    visits = np.bincount(place, weights=np.concatenate([number for _, number in pairs]), minlength=len(every))
    return every // max(count, 1), every % max(count, 1), visits
