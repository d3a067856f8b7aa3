"""The concepts stage: train centroids on a sample, give every row its home concept and its replicas."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from filtering.concepts.artifacts import (
    CENTROIDS,
    CONCEPTS,
    FIT,
    REPLICATION,
    ConceptsResult,
    read_centroids,
    read_concepts,
    replica_counts,
)
from filtering.concepts.assignment import CELLS_NAME, CELLS_SUFFIX, assign_concepts, find_nearest
from filtering.concepts.cutting import CUT_SAMPLE_NAME, CUT_SAMPLE_SUFFIX, cut_oversized, sample_oversized
from filtering.concepts.kmeans import automatic_clusters
from filtering.concepts.merging import merged_identities
from filtering.concepts.replication import decide_replication, merge_nearest
from filtering.concepts.statistics import (
    INTER_SUFFIX,
    concepts_table,
    inter_parts,
    measure_inter,
    merge_statistics,
    summed_statistics,
)
from filtering.concepts.training import SAMPLE_SUFFIX, SPREAD_SUFFIX, SUMS_SUFFIX
from filtering.concepts.training_stage import train
from filtering.config.run import Concepts, Graph
from filtering.filters.artifacts import PassingShard, stage_of
from filtering.runtime.shard_groups import group_identities, of_shard, sent_names
from filtering.runtime.stage import StageKey, StageRun
from filtering.runtime.stage_objects import consume
from filtering.runtime.task_spec import task
from filtering.shards.vectors import Side
from filtering.storage.checksums import content_sum
from filtering.storage.store import Store, digest

NAME = "concepts"
VERSION = 7
# The settings that decide the training.
TRAINING_KEYS = ("clusters", "seed", "largest", "partition_rows")
# A concept with more rows than this many times the mean is cut into sections; clustering could not split it.
OVERSIZED = 4
FEWEST_LARGEST = 1_000
# The objects between tasks of this stage that nothing else reads.
CONSUMED_SUFFIXES = (SAMPLE_SUFFIX, SPREAD_SUFFIX, SUMS_SUFFIX, CELLS_SUFFIX, CUT_SAMPLE_SUFFIX, INTER_SUFFIX)


def concepts_key(
    settings: Concepts, graph: Graph, filters: str, side: Side, given: str | None = None, alone: bool = False
) -> StageKey:
    """Return the stage's identity; `filters` is the fingerprint of the filters stage, `graph` the side's own section.

    `given` is the identity of another run's concepts, where their centroids are used and none are trained; with `alone`
    they are not compared with those of a base, of which objects are damaged.
    """
    decisive: Any = [settings.model_dump(include=set(TRAINING_KEYS)), graph.of_one_side()]
    if given is not None:
        # The margin of replicas comes with the centroids.
        decisive = ["given", given, settings.partition_rows, graph.k, graph.max_replicas]
        decisive += ["alone"] * alone
    if side == "image" and settings.embedding is not None:
        decisive.append({"embedding": settings.embedding})
    return StageKey(stage_of(NAME, side), VERSION, decisive, (filters,))


def find_concepts(
    stage: StageRun, settings: Concepts, graph: Graph, shards: Sequence[PassingShard], rows: int
) -> ConceptsResult:
    """Train centroids, assign every row to its home concept and replica concepts, and write the table of concepts.

    `rows` is how many of all shards passed the filters.
    """
    store, identities = stage.store, [shard.identity for shard in shards]
    clusters = wanted_clusters(settings, rows)
    trained = train(stage, shards, clusters, settings.seed, rows)
    stage.over_shards("nearest", "shards compared", shards, find_nearest, graph.max_replicas, graph.k, store)
    nearest = merged_identities(stage, "nearest-merged", group_identities(shards), merge_nearest)
    replication = stage.call(
        "replication", decide_replication, nearest, graph.k, graph.recall, graph.mean_replicas, store
    )
    _cut(stage, shards, replication["largest"], largest_concept(settings, rows, clusters))
    stage.over_shards("assign", "shards assigned", shards, assign_concepts, store)
    sums = summed_statistics(store, merged_identities(stage, "statistics-merged", identities, merge_statistics))
    store.write_arrays(FIT, {"sizes": sums.sizes, "distances": sums.distances})
    measure_centroids(stage)
    store.write_table(CONCEPTS, concepts_table(store, sums, settings.partition_rows))
    delete_consumed(store)
    margin, expected = replication["margin"], replication["expected"]
    return replace(concepts_result(store, rows), margin=margin, expected_recall=expected, trained_rows=trained)


def _cut(stage: StageRun, shards: Sequence[PassingShard], found: int, largest: int) -> None:
    """Cut the concepts of more than `largest` rows into sections, if the largest that was `found` is one."""
    if found <= largest:
        shards = ()
    given = largest, stage.store
    tasks = [
        of_shard(task(f"oversized-{one.identity}", sample_oversized, one, CELLS_NAME.format(one.identity), *given), one)
        for one in shards
    ]
    sent = stage.map(tasks, "shards sampled") if tasks else []
    names = sent_names(CUT_SAMPLE_NAME.format, shards, sent)
    stage.call("cut", cut_oversized, names, largest, stage.store)


def measure_centroids(stage: StageRun) -> None:
    """Measure how far apart centroids are, for the table of concepts."""
    parts = inter_parts(stage.store)
    stage.map([task(f"inter-{part:08d}", measure_inter, part, stage.store) for part in parts], "centroids measured")


def delete_consumed(store: Store) -> None:
    """Delete the objects that no task reads any more: a fifth of the room that the grouped rows will take."""
    for suffix in CONSUMED_SUFFIXES:
        consume(store, suffix)


def concepts_result(store: Store, rows: int) -> ConceptsResult:
    """Return the counts of the concepts of `rows` rows once their table is written."""
    table, centroids = read_concepts(store), read_centroids(store).steps
    return ConceptsResult(
        rows=rows,
        concepts=len(table),
        centroids=len(centroids),
        partitions=int(table["partition"].to_numpy().max(initial=-1)) + 1,
        replicas=int(replica_counts(table).sum()),
        dimension=centroids.shape[1],
        identity=identity_of(store),
    )


def identity_of(store: Store) -> str:
    """Return the identity of trained concepts: a digest of the centroids, the margin of replicas and the sections."""
    return digest([content_sum(store.read_checked(name)) for name in (CENTROIDS, REPLICATION)])


def wanted_clusters(settings: Concepts, rows: int) -> int:
    """Return how many centroids are trained for a pool of `rows` rows."""
    return automatic_clusters(rows) if settings.clusters == "auto" else settings.clusters


def largest_concept(settings: Concepts, rows: int, clusters: int) -> int:
    """Return how many rows a concept may have before it is cut into sections."""
    if settings.largest != "auto":
        return settings.largest
    return max(-(-OVERSIZED * rows // max(clusters, 1)), FEWEST_LARGEST)
