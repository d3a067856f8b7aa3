"""The concepts stage: train centroids on a sample, give every row its concept, invite guests; and the grouping."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filtering.concepts.artifacts import (
    CENTROIDS,
    CONCEPTS,
    FIT,
    INVITATION,
    ConceptsResult,
    PartitionsResult,
    read_centroids,
    read_concepts,
    read_sections,
)
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
from filtering.config.run import Concepts, Graph
from filtering.core import schemas
from filtering.filters.artifacts import PassingShard
from filtering.runtime.stage import StageKey, StageRun
from filtering.runtime.task_spec import task
from filtering.storage.store import Store, checksum, digest

P = ParamSpec("P")
R = TypeVar("R")
NAME = "concepts"
VERSION = 3
PARTITIONS_VERSION = 3
# What concepts are trained by.
TRAINING_KEYS = ("clusters", "seed", "largest", "partition_rows")
# A concept with more rows than this many times the mean is cut into sections by uid; clustering could not split it.
OVERSIZED = 4
# Rows on which a coarse centroid is trained, in multiples of a fine one's; sampled rows that one task clusters.
COARSE_POINTS = 4
BATCH_ROWS = 20_000
# The objects between tasks of this stage that nothing else reads.
CONSUMED_SUFFIXES = (SAMPLE_SUFFIX, SPREAD_SUFFIX, SUMS_SUFFIX, CELLS_SUFFIX)
FEWEST_LARGEST = 1_000


def concepts_key(settings: Concepts, graph: Graph, filters: str, frozen: str | None = None) -> StageKey:
    """Return the stage's identity; `frozen` identifies the concepts that it takes over, if it trains none."""
    decisive: Any = [settings.model_dump(include=set(TRAINING_KEYS)), graph.model_dump()]
    if frozen is not None:
        # Where guests are invited to is part of what is taken over.
        decisive = ["frozen", frozen, settings.partition_rows, graph.k, graph.max_replicas]
    return StageKey(NAME, VERSION, decisive, (filters,))


def find_concepts(
    stage: StageRun, settings: Concepts, graph: Graph, shards: Sequence[PassingShard], rows: int
) -> ConceptsResult:
    """Train, assign, invite guests, write the table of concepts; return how many there are and what was decided.

    Parameters
    ----------
    rows : int
        Rows of all shards that passed the filters.
    """
    url = stage.store.url
    clusters, identities = wanted_clusters(settings, rows), [shard.identity for shard in shards]
    _train(stage, shards, clusters, settings.seed, rows)
    over_shards(stage, "assign", "shards assigned", shards, assign, graph.max_replicas, graph.k, url)
    largest = largest_concept(settings, rows, clusters)
    invitation = stage.call("invitation", invite, identities, graph.k, graph.recall, graph.mean_replicas, largest, url)
    over_shards(stage, "visit", "shards of guests", shards, visit, url)
    sums = summed_statistics(stage.store, identities)
    stage.store.write_arrays(FIT, {"sizes": sums.sizes, "distances": sums.distances})
    stage.store.write_table(CONCEPTS, concepts_table(stage.store, sums, settings.partition_rows))
    return replace(concluded(stage, rows), margin=invitation["margin"], expected_recall=invitation["expected"])


def concluded(stage: StageRun, rows: int) -> ConceptsResult:
    """Return what is known of the concepts once their table is written, and delete what has been read."""
    # Read for the last time; together they take a fifth of the room that the grouped rows will.
    for suffix in CONSUMED_SUFFIXES:
        stage.store.delete_all(suffix)
    table, centroids = read_concepts(stage.store), read_centroids(stage.store).vectors
    return ConceptsResult(
        rows=rows,
        concepts=len(table),
        centroids=len(centroids),
        partitions=int(table["partition"].to_numpy().max(initial=-1)) + 1,
        guests=int(table["guests"].to_numpy().sum()),
        dimension=centroids.shape[1],
        identity=identity_of(stage.store),
    )


def identity_of(store: Store) -> str:
    """Return what tells trained concepts from others: a digest of the centroids, guests' margin and sections."""
    return digest([checksum(store.read(name)) for name in (CENTROIDS, INVITATION)])


def _train(stage: StageRun, shards: Sequence[PassingShard], clusters: int, seed: int, rows: int) -> None:
    """Train the centroids, a task a shard and a task for some groups."""
    url, identities, groups = stage.store.url, [shard.identity for shard in shards], coarse_groups(clusters)
    fine, coarse = (count * POINTS_PER_CENTROID / max(rows, 1) for count in (clusters, COARSE_POINTS * groups))
    over_shards(stage, "sample", "shards sampled", shards, sample_shard, fine, coarse, seed, rows, url)
    stage.call("groups", find_groups, identities, groups, seed, url)
    tasks = [task(f"spread-{identity}", spread_sample, identity, url) for identity in identities]
    spread = stage.map(tasks, "samples grouped")
    sizes = np.array([found["sizes"] for found in spread], dtype=np.int64).sum(axis=0)
    names = [SPREAD_NAME.format(one) for one, found in zip(identities, spread, strict=True) if any(found["sizes"])]
    portions, largest = group_shares(sizes, clusters), largest_in_sample(int(sizes.sum()), clusters)
    batches = _batches(sizes)
    clusterings = [
        task(
            f"cluster-{part.start:08d}", cluster_groups, part.start, portions[part].tolist(), largest, names, seed, url
        )
        for part in batches
    ]
    stage.map(clusterings, "groups clustered")
    parts = [FINE_NAME.format(part.start) for part in batches]
    filled = [one for one, found in zip(identities, spread, strict=True) if any(found["sizes"])]
    _refine(stage, filled, parts)


def _refine(stage: StageRun, identities: Sequence[str], parts: Sequence[str]) -> None:
    """Move all centroids to their members a few times."""
    url = stage.store.url
    for number in range(REFINEMENTS + 1):
        current = CENTROIDS if number == REFINEMENTS else ROUND_NAME.format(number)
        count = int(stage.call(f"centroids-{number}", collect_centroids, list(parts), current, url)["centroids"])
        if number < REFINEMENTS:
            tasks = [task(f"sums-{number}-{identity}", sum_members, identity, current, url) for identity in identities]
            stage.map(tasks, "samples summed")
            names = [SUMS_NAME.format(identity, current) for identity in identities]
            numbers = range(-(-count // MOVED_TOGETHER))
            tasks = [task(f"move-{number}-{part:08d}", move_centroids, part, names, current, url) for part in numbers]
            stage.map(tasks, "centroids moved")
            parts = [MOVED_NAME.format(part, current) for part in numbers]


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


def partitions_key(concepts: str) -> StageKey:
    """Return the identity of the stage that groups rows by the partition of their concepts."""
    return StageKey("partitions", PARTITIONS_VERSION, None, (concepts,))


def group_rows(stage: StageRun, settings: Graph, shards: Sequence[PassingShard], concepts_url: str) -> PartitionsResult:
    """Write each shard's rows grouped by partition, guests included; return how many rows that makes.

    Where a base's graph is carried over, those alone that stand in a concept that is searched again.
    """
    tasks = [task(s.identity, group, s, settings.max_replicas, concepts_url, stage.store.url) for s in shards]
    counts = stage.map(tasks, "shards")
    rows, guests, copies = (sum(count[name] for count in counts) for name in ("rows", "guests", "copies"))
    return PartitionsResult(rows, guests, copies)


def over_shards(
    stage: StageRun,
    name: str,
    unit: str,
    shards: Sequence[PassingShard],
    function: Callable[Concatenate[PassingShard, P], R],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> list[R]:
    """Run a task for each shard, named by its identity, and return the results in order.

    Parameters
    ----------
    name, unit : str
        What the task does, and what is counted in a person's view.
    function : callable
        Takes a shard, then the arguments that follow.
    """
    tasks = [task(f"{name}-{shard.identity}", function, shard, *args, **kwargs) for shard in shards]
    return stage.map(tasks, unit)


@dataclass(frozen=True, slots=True)
class Statistics:
    """Sums over shards, by concept: rows, guests, cosine distances to the centroid, and who visits whom how often."""

    sizes: npt.NDArray[np.int64]
    guests: npt.NDArray[np.int64]
    distances: npt.NDArray[np.float64]
    visits: tuple[Any, Any, Any]


def summed_statistics(store: Store, identities: Sequence[str]) -> Statistics:
    """Return the sums over the statistics of all shards, in their order."""
    count = int(read_sections(store).sum())
    totals = {name: np.zeros(count) for name in ("sizes", "guests", "distances")}
    pairs = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
    for identity in identities:
        sums = store.read_arrays(STATISTICS_NAME.format(identity))
        for name in totals:
            totals[name] += sums[name]
        pairs.append((sums["pairs"], sums["visits"]))
    sizes, guests = totals["sizes"].astype(np.int64), totals["guests"].astype(np.int64)
    return Statistics(sizes, guests, totals["distances"], _visits(pairs, count))


def rows_in_a_partition(sums: Statistics, partition_rows: int | str) -> int:
    """Return how many rows a partition may hold, guests included."""
    if partition_rows != "auto":
        return int(partition_rows)
    return automatic_partition_rows(int((sums.sizes + sums.guests).sum()))


def concepts_table(
    store: Store, sums: Statistics, partition_rows: int | str, partitions: npt.NDArray[np.int32] | None = None
) -> pa.Table:
    """Return `schemas.CONCEPTS`.

    Parameters
    ----------
    partitions : int32 (C,), optional
        The partition of each concept; packed anew where it is not given.
    """
    if partitions is None:
        limit = rows_in_a_partition(sums, partition_rows)
        partitions = packed_partitions(sums.sizes + sums.guests, *sums.visits, limit)
    columns = {
        "concept": np.arange(len(sums.sizes), dtype=np.int32),
        "size": sums.sizes,
        "guests": sums.guests,
        "d_intra": sums.distances / np.maximum(sums.sizes, 1),
        "d_inter": np.repeat(inter_distances(read_centroids(store)), read_sections(store)),
        "partition": partitions,
    }
    return pa.table([pa.array(columns[name]) for name in schemas.CONCEPTS.names], schema=schemas.CONCEPTS)


def _visits(pairs: Sequence[tuple[Any, Any]], count: int) -> tuple[Any, Any, Any]:
    """Return visitors, hosts and how often, from shards' counts of pairs written as visitor * K + host."""
    every, place = np.unique(np.concatenate([pair for pair, _ in pairs]), return_inverse=True)
    visits = np.bincount(place, weights=np.concatenate([number for _, number in pairs]), minlength=len(every))
    return every // max(count, 1), every % max(count, 1), visits
