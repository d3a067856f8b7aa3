"""The concepts stage where centroids are given: those of a base, or of any other run, rather than trained.

The centroids, the margin of replicas and the sections of large concepts stay as they are. A row's concepts then depend
on its own vector alone, and the results of a base's unchanged shards are reused.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from filtering.concepts.artifacts import (
    CONCEPTS,
    FIT,
    QUERIES_NAME,
    REPLICATION,
    TRAINED,
    ConceptsResult,
    read_centroids,
    read_concepts,
    read_exact,
)
from filtering.concepts.assignment import assign_concepts, find_nearest
from filtering.concepts.centroid_files import is_in_steps, write_centroids
from filtering.concepts.drift import drift
from filtering.concepts.exact_search import MEASURING_SHARE, QUERIES
from filtering.concepts.merging import merged_identities
from filtering.concepts.reuse import (
    BaseConcepts,
    assign_new,
    find_exact,
    find_nearest_of_new,
    find_nearest_rows,
    resample_queries,
    reuse_assignment,
    reuse_queries,
)
from filtering.concepts.stage import NAME, concepts_result, delete_consumed, measure_centroids
from filtering.concepts.statistics import (
    ReplicaCounts,
    Statistics,
    concepts_table,
    merge_statistics,
    rows_in_a_partition,
    summed_statistics,
)
from filtering.concepts.training import gather_queries, merge_few, sample_shard
from filtering.concepts.true_neighbours import merge_neighbours
from filtering.config.aliases import renamed
from filtering.config.run import Concepts, Graph
from filtering.core.spare_neighbours import share_of_losers
from filtering.filters.artifacts import PassingShard, stage_of
from filtering.runtime.finished_run import Base, Reusable
from filtering.runtime.shard_groups import group_identities, named_groups
from filtering.runtime.stage import StageRun
from filtering.shards.vectors import Side
from filtering.storage.store import Store

# A base's partitions are reused until one has grown to this many times the rows that a partition may hold.
OUTGROWN = 2
# A graph is renewed where no more than this share of the rows searches, or so few; above, building it anew takes less
# time. Every task that searches reads all rows that do: of more than so many, that would be more than all vectors.
SEARCHING_SHARE, FEW_SEARCHING, MOST_SEARCHING = 1 / 6, 20_000, 3_000_000
COPIED_TOGETHER = 1 << 16


@dataclass(frozen=True, slots=True)
class ReusableConcepts:
    """The concepts of a base that a run with the same centroids and the same graph reuses."""

    base: BaseConcepts  # the base's concepts, and its shards in today's pool
    # same, partial: identities of the base's unchanged shards of which the same rows pass the filters, and of others
    same: frozenset[str]
    partial: frozenset[str]
    rows: int  # rows that have a concept in the base


def reusable_concepts(reusable: Reusable | None, identity: str, settings: Graph, side: Side) -> ReusableConcepts | None:
    """Return the concepts of a base that can be reused with given concepts of an identity; `settings` are the side's.

    None if the base's concepts or its settings of the graph differ, or its shards are in another order; InputError if
    the base is of an older version.
    """
    if reusable is None or not reusable.changes.in_order:
        return None
    base, name = reusable.base, stage_of(NAME, side)
    before = base.result(name, ConceptsResult)
    if before.identity != identity or _settings(base, side) != settings.of_one_side():
        return None
    if not is_in_steps(base.store(name), TRAINED):
        # An older version measured distances in another way.
        return None
    there = frozenset(reusable.identities(name))
    known = BaseConcepts(base.store(name), reusable.places())
    return ReusableConcepts(known, reusable.same & there, there - reusable.same, before.rows)


def _settings(base: Base, side: Side) -> dict[str, Any] | None:
    """Return a base's settings of the graph of one side; None where they are not valid any more."""
    try:
        found = Graph.model_validate(renamed(base.record["config"]).data["graph"])
    except ValidationError:
        return None
    return (found if side == "image" else found.of_texts()).of_one_side()


def assign_to_given(
    stage: StageRun,
    settings: Concepts,
    graph: Graph,
    shards: Sequence[PassingShard],
    rows: int,
    given: Store,
    reusable: ReusableConcepts | None,
) -> ConceptsResult:
    """Assign the `rows` rows that passed the filters to another run's concepts, `given`, and write their table.

    `reusable` is a base that has the same concepts.
    """
    store = stage.store
    _copy(given, store)
    pool = _pool(shards, reusable)
    sample = _Sample(settings.seed, graph.k, rows)
    _write_queries(stage, sample, pool, reusable)
    if reusable is not None:
        stage.over_shards("reuse", "shards reused", pool.same, reuse_assignment, reusable.base.store, store)
    most, k = graph.max_replicas, graph.k
    unassigned = sum(stage.over_shards("nearest", "shards compared", pool.unknown, find_nearest, most, k, store))
    stage.over_shards("assign", "shards assigned", pool.unknown, assign_concepts, store)
    if reusable is not None and pool.partial:
        base = reusable.base.store
        given_base = most, k, base, store
        unassigned += sum(
            stage.over_shards("nearest", "shards compared", pool.partial, find_nearest_of_new, *given_base)
        )
        stage.over_shards("assign", "shards assigned", pool.partial, assign_new, base, store)
    recall_rows = _find_exact(stage, sample, pool, reusable)
    sums, new = (
        summed_statistics(store, merged_identities(stage, f"{name}-statistics", _identities(some), merge_statistics))
        for name, some in (("all", pool.every), ("new", pool.new))
    )
    partitions = _partitions(reusable, sums, settings.partition_rows)
    measure_centroids(stage)
    store.write_table(CONCEPTS, concepts_table(store, sums, settings.partition_rows, partitions))
    delete_consumed(store)
    return replace(
        concepts_result(store, rows),
        reused_from=given.url,
        reused_shards=len(pool.same),
        compared=reusable is not None and partitions is not None and _few_search(reusable.rows, rows, unassigned, k),
        drift=drift(store, new, sums, settings),
        recall_rows=recall_rows,
    )


def unchanged_concepts(
    store: Store, base: ConceptsResult, given: Store, shards: int, settings: Concepts
) -> ConceptsResult:
    """Return the result of a run over its base's pool, all `shards` of it, with the base's concepts, copied to `store`.

    `base` is the base's result, `given` the other run's concepts, of which these are.
    """
    sizes = read_concepts(store)["size"].to_numpy()
    none, zeros = np.zeros(0, np.int64), np.zeros(len(sizes), np.int64)
    pairs = ReplicaCounts(none, none, none.astype(np.float64))
    new, pool = (Statistics(rows, zeros, zeros.astype(np.float64), pairs) for rows in (zeros, sizes))
    return replace(
        base,
        margin=None,
        expected_recall=None,
        trained_rows=None,
        reused_from=given.url,
        reused_shards=shards,
        compared=True,
        drift=drift(store, new, pool, settings),
        recall_rows=len(read_exact(store)[0]),
    )


def _copy(given: Store, store: Store) -> None:
    """Copy what another run has decided; centroids of an older version are written in steps."""
    centroids = read_centroids(given)
    starts = range(0, max(len(centroids.groups), 1), COPIED_TOGETHER)
    write_centroids(store, TRAINED, (centroids.take(slice(start, start + COPIED_TOGETHER)) for start in starts))
    for name in (REPLICATION, FIT):
        store.copy(name, given)


@dataclass(frozen=True, slots=True)
class _Pool:
    """All shards, those whose concepts a base has, those of which it has some rows' (`partial`), and the others."""

    every: tuple[PassingShard, ...]
    same: tuple[PassingShard, ...]
    partial: tuple[PassingShard, ...]
    unknown: tuple[PassingShard, ...]

    @property
    def new(self) -> tuple[PassingShard, ...]:
        """The shards whose concepts a base has not, or not of all rows."""
        return tuple(sorted((*self.partial, *self.unknown), key=lambda shard: shard.index))


def _pool(shards: Sequence[PassingShard], reusable: ReusableConcepts | None) -> _Pool:
    same, partial = (frozenset[str](),) * 2 if reusable is None else (reusable.same, reusable.partial)
    return _Pool(
        tuple(shards),
        tuple(shard for shard in shards if shard.identity in same),
        tuple(shard for shard in shards if shard.identity in partial),
        tuple(shard for shard in shards if shard.identity not in same | partial),
    )


@dataclass(frozen=True, slots=True)
class _Sample:
    """The sample of rows on which recall is measured: its seed, the neighbours of each row, and the pool's rows."""

    seed: int
    k: int
    rows: int


def _identities(shards: Sequence[PassingShard]) -> list[str]:
    return [shard.identity for shard in shards]


def _draw(stage: StageRun, sample: _Sample, shards: Sequence[PassingShard]) -> None:
    """Sample the rows on which recall is measured; no centroids are trained."""
    stage.over_shards("sample", "shards sampled", shards, sample_shard, 0.0, 0.0, sample.seed, sample.rows, stage.store)


def _write_queries(stage: StageRun, sample: _Sample, pool: _Pool, reusable: ReusableConcepts | None) -> None:
    """Write the rows on which recall is measured: those of the base that are left, and a sample of the new shards."""
    _draw(stage, sample, pool.new)
    few = merged_identities(stage, "few", _identities(pool.new), merge_few)
    if reusable is None:
        stage.call("queries", gather_queries, few, stage.store)
        return
    found = stage.call("queries", reuse_queries, few, reusable.base, stage.store)
    if found["fresh"]:
        stage.over_shards("measure", "shards measured", pool.same, find_nearest_rows, sample.k, stage.store)


def _find_exact(stage: StageRun, sample: _Sample, pool: _Pool, reusable: ReusableConcepts | None) -> int:
    """Find the true neighbours of the rows on which recall is measured; return how many rows those are.

    Some of the base's rows are gone, and some have lost neighbours that known rows cannot replace. If less than half of
    the usual number of rows is left, a new sample is compared with the whole pool.
    """
    k, store = sample.k, stage.store
    fresh = reusable is None or bool(store.read_arrays(QUERIES_NAME)["fresh"].any())
    groups = named_groups(pool.unknown) + named_groups(pool.partial) + named_groups(pool.same) * fresh
    groups.sort(key=lambda group: group[0].index)
    searched = merged_identities(stage, "neighbours", [name for _, name in groups], merge_neighbours)
    if reusable is None:
        return stage.call("exact", find_exact, searched, None, k, store)["rows"]
    rows = stage.call("exact", find_exact, searched, reusable.base, k, store)["rows"]
    if 2 * rows >= MEASURING_SHARE * min(sample.rows, QUERIES):
        return rows
    _draw(stage, sample, pool.every)
    everyone = _identities(pool.every)
    stage.call("resampled", resample_queries, merged_identities(stage, "few-again", everyone, merge_few), store)
    stage.over_shards("remeasure", "shards measured", pool.every, find_nearest_rows, k, store)
    merged = merged_identities(stage, "neighbours-again", group_identities(pool.every), merge_neighbours)
    return stage.call("exact-again", find_exact, merged, None, k, store)["rows"]


def _few_search(before: int, rows: int, new: int, k: int) -> bool:
    """Say whether few of the `rows` would search for neighbours: those that are new, and that have lost too many.

    As if rows went at random, and none had lost a neighbour before.
    """
    gone = 1 - (rows - new) / max(before, 1)
    searching = new + (rows - new) * share_of_losers(k, gone)
    return searching <= max(min(SEARCHING_SHARE * rows, MOST_SEARCHING), FEW_SEARCHING)


def _partitions(
    reusable: ReusableConcepts | None, sums: Statistics, partition_rows: int | str
) -> npt.NDArray[np.int32] | None:
    """Return the base's partitions; None where there are none, or one has outgrown its limit."""
    if reusable is None:
        return None
    partitions: npt.NDArray[np.int32] = read_concepts(reusable.base.store)["partition"].to_numpy()
    rows = np.bincount(partitions, weights=sums.members)
    # A single concept cannot be divided.
    alone = np.bincount(partitions) == 1
    outgrown = (rows > OUTGROWN * rows_in_a_partition(sums, partition_rows)) & ~alone
    return None if outgrown.any() else partitions
