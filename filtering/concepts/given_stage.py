"""Concepts taken over from another run, a base or any other, rather than trained: the stage's other way.

Centroids, the margin within which guests are invited and the sections of large concepts stay as they are. So a row's
concepts depend on its own vector alone, and of a base's shards that are the same nothing is computed again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from filtering.concepts.artifacts import (
    CENTROIDS,
    CONCEPTS,
    FIT,
    INVITATION,
    QUERIES_NAME,
    ConceptsResult,
    TouchedCounts,
    read_concepts,
)
from filtering.concepts.assignment import assign, visit
from filtering.concepts.drift import drift
from filtering.concepts.exact_search import MEASURING_SHARE, QUERIES
from filtering.concepts.reuse import (
    SEARCHED_SUFFIX,
    carry_queries,
    carry_visits,
    find_exact,
    find_searched,
    join_searched,
    measure,
    resample_queries,
    write_changed,
)
from filtering.concepts.stage import (
    NAME,
    Statistics,
    concepts_table,
    concluded,
    over_shards,
    rows_in_a_partition,
    summed_statistics,
)
from filtering.concepts.training import gather_queries, sample_shard
from filtering.config.aliases import renamed
from filtering.config.run import Concepts, Graph
from filtering.filters.artifacts import PassingShard
from filtering.runtime.finished_run import Reusable
from filtering.runtime.stage import StageRun
from filtering.shards.changes import GONE
from filtering.storage.store import Store

# A base's partitions stay until one has grown to this many times what a partition may hold.
OUTGROWN = 2


@dataclass(frozen=True, slots=True)
class Kept:
    """What of a base holds for a run that takes its concepts over.

    Attributes
    ----------
    store : the base's concepts.
    places : int64 (b,), the places of its shards now, -1 where their rows are not what they were.
    gone : identities of those.
    same : identities of the others.
    """

    store: Store
    places: npt.NDArray[np.int64]
    gone: tuple[str, ...]
    same: frozenset[str]


def kept_of(reusable: Reusable | None, identity: str, settings: Graph) -> Kept | None:
    """Return what of a base holds; None if its concepts or its graph are others, or its shards in another order."""
    if reusable is None or not reusable.changes.in_order:
        return None
    base = reusable.base
    graph = settings.model_dump(mode="json")
    if base.result(NAME, ConceptsResult).identity != identity or renamed(base.record["config"]).data["graph"] != graph:
        return None
    places = reusable.places()
    there = zip(base.shards, places.tolist(), strict=True)
    gone = tuple(shard.identity for shard, place in there if place == GONE)
    return Kept(base.store(NAME), places, gone, reusable.same)


def take_over_concepts(
    stage: StageRun,
    settings: Concepts,
    graph: Graph,
    shards: Sequence[PassingShard],
    rows: int,
    source: Store,
    kept: Kept | None,
) -> ConceptsResult:
    """Assign rows to another run's concepts and write their table; return what was found.

    Parameters
    ----------
    rows : int
        Rows of all shards that passed the filters.
    source : Store
        The other run's concepts.
    kept : Kept or None
        What of a base holds.
    """
    for name in (CENTROIDS, INVITATION, FIT):
        stage.store.write(name, source.read(name))
    url, new = stage.store.url, [shard for shard in shards if kept is None or shard.identity not in kept.same]
    sample = _Sample(settings.seed, graph.k, rows)
    _write_queries(stage, sample, shards, new, kept)
    if kept is not None:
        same = [shard for shard in shards if shard.identity in kept.same]
        over_shards(stage, "carry", "shards carried over", same, carry_visits, kept.store.url, url)
    over_shards(stage, "assign", "shards assigned", new, assign, graph.max_replicas, graph.k, url)
    over_shards(stage, "visit", "shards of guests", new, visit, url)
    identities = [shard.identity for shard in new]
    measuring = _find_exact(stage, sample, shards, new, kept)
    sums = summed_statistics(stage.store, [shard.identity for shard in shards])
    partitions = _partitions(kept, sums, settings.partition_rows)
    table = concepts_table(stage.store, sums, settings.partition_rows, partitions)
    stage.store.write_table(CONCEPTS, table)
    touched = None if kept is None or partitions is None else _touched(stage, shards, identities, kept)
    drifted = drift(stage.store, summed_statistics(stage.store, identities), sums, settings)
    return replace(
        concluded(stage, rows),
        taken_over=source.url,
        carried_shards=len(shards) - len(new),
        touched=touched,
        drift=drifted,
        recall_rows=measuring,
    )


@dataclass(frozen=True, slots=True)
class _Sample:
    """How rows on which recall is measured are drawn: by a seed, of how many rows, and how many neighbours of each."""

    seed: int
    k: int
    rows: int


def _draw(stage: StageRun, sample: _Sample, shards: Sequence[PassingShard]) -> None:
    """Let shards sample the rows on which recall is measured; no centroids are trained."""
    over_shards(
        stage, "sample", "shards sampled", shards, sample_shard, 0.0, 0.0, sample.seed, sample.rows, stage.store.url
    )


def _write_queries(
    stage: StageRun,
    sample: _Sample,
    shards: Sequence[PassingShard],
    new: Sequence[PassingShard],
    kept: Kept | None,
) -> None:
    """Write the rows on which recall is measured: the base's as far as they are there, and a sample of the others."""
    url = stage.store.url
    _draw(stage, sample, new)
    identities = [shard.identity for shard in new]
    if kept is None:
        stage.call("queries", gather_queries, identities, url)
        return
    found = stage.call("queries", carry_queries, identities, kept.store.url, kept.places, url)
    if found["fresh"]:
        same = [shard for shard in shards if shard.identity in kept.same]
        over_shards(stage, "measure", "shards measured", same, measure, sample.k, url)


def _find_exact(
    stage: StageRun,
    sample: _Sample,
    shards: Sequence[PassingShard],
    new: Sequence[PassingShard],
    kept: Kept | None,
) -> int:
    """Find the true neighbours of the rows on which recall is measured; return how many rows those are.

    Of a base's rows some are gone, and some have lost so many neighbours that the others do not follow from what is
    known. If less than half of what a run measures is left, a new sample is compared with the whole pool.
    """
    k, url, nowhere = sample.k, stage.store.url, np.zeros(0, np.int64)
    everyone = [shard.identity for shard in shards]
    if kept is None:
        return int(stage.call("exact", find_exact, everyone, None, nowhere, k, url)["rows"])
    fresh = bool(stage.store.read_arrays(QUERIES_NAME)["fresh"].any())
    looked = everyone if fresh else [shard.identity for shard in new]
    found = stage.call("exact", find_exact, looked, kept.store.url, kept.places, k, url)
    if 2 * found["rows"] >= MEASURING_SHARE * min(sample.rows, QUERIES):
        return int(found["rows"])
    _draw(stage, sample, shards)
    stage.call("resampled", resample_queries, everyone, url)
    over_shards(stage, "remeasure", "shards measured", shards, measure, k, url)
    return int(stage.call("exact-again", find_exact, everyone, None, nowhere, k, url)["rows"])


def _partitions(kept: Kept | None, sums: Statistics, partition_rows: int | str) -> npt.NDArray[np.int32] | None:
    """Return the base's partitions; None where there are none, or one has outgrown its place."""
    if kept is None:
        return None
    partitions: npt.NDArray[np.int32] = read_concepts(kept.store)["partition"].to_numpy()
    rows = np.bincount(partitions, weights=sums.sizes + sums.guests)
    # A single concept cannot be divided.
    alone = np.bincount(partitions) == 1
    outgrown = (rows > OUTGROWN * rows_in_a_partition(sums, partition_rows)) & ~alone
    return None if outgrown.any() else partitions


def _touched(stage: StageRun, shards: Sequence[PassingShard], new: Sequence[str], kept: Kept) -> TouchedCounts:
    url = stage.store.url
    stage.call("changed", write_changed, list(new), list(kept.gone), kept.store.url, url)
    over_shards(stage, "searched", "shards compared", shards, find_searched, url)
    found = stage.call("touched", join_searched, [shard.identity for shard in shards], url)
    stage.store.delete_all(SEARCHED_SUFFIX)
    return TouchedCounts(found["changed"], found["searched"])
