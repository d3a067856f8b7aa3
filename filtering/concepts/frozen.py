"""Concepts taken over from another run, a base or any other, rather than trained: the stage's other way.

Centroids, the margin within which guests are invited and the sections of large concepts stay as they are. So a row's
concepts depend on its own vector alone, and of a base's shards that are the same nothing is computed again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from filtering.concepts.artifacts import CENTROIDS, CONCEPTS, FIT, INVITATION, QUERIES_NAME, read_concepts
from filtering.concepts.assignment import assign, visit
from filtering.concepts.carrying import (
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
from filtering.concepts.drift import drift
from filtering.concepts.exact_search import MEASURING_SHARE, QUERIES
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
from filtering.config.run import Config
from filtering.filters.artifacts import PassingShard
from filtering.runtime.finished_run import Carried
from filtering.runtime.stage import Stage
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


def kept_of(carried: Carried | None, identity: str, config: Config) -> Kept | None:
    """Return what of a base holds; None if its concepts or its graph are others, or its shards in another order."""
    if carried is None or not carried.changes.in_order:
        return None
    base = carried.base
    graph = config.graph.model_dump(mode="json")
    if base.result(NAME)["identity"] != identity or renamed(base.record["config"]).data["graph"] != graph:
        return None
    places = carried.places()
    there = zip(base.shards, places.tolist(), strict=True)
    gone = tuple(shard.identity for shard, place in there if place == GONE)
    return Kept(base.store(NAME), places, gone, carried.same)


def take_over_concepts(
    stage: Stage, config: Config, shards: Sequence[PassingShard], rows: int, source: Store, kept: Kept | None
) -> dict[str, Any]:
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
    _write_queries(stage, config, shards, new, rows, kept)
    if kept is not None:
        same = [shard for shard in shards if shard.identity in kept.same]
        over_shards(stage, carry_visits, "carry", same, (kept.store.url, url), "shards carried over")
    over_shards(stage, assign, "assign", new, (config.graph.max_replicas, config.graph.k, url), "shards assigned")
    over_shards(stage, visit, "visit", new, (url,), "shards of guests")
    identities = [shard.identity for shard in new]
    measuring = _find_exact(stage, config, shards, new, rows, kept)
    sums = summed_statistics(stage.store, [shard.identity for shard in shards])
    partitions = _partitions(kept, sums, config.concepts.partition_rows)
    table = concepts_table(stage.store, sums, config.concepts.partition_rows, partitions)
    stage.store.write_table(CONCEPTS, table)
    touched = None if kept is None or partitions is None else _touched(stage, shards, identities, kept)
    drifted = drift(stage.store, summed_statistics(stage.store, identities), sums, config.concepts)
    found = concluded(stage, rows)
    if touched is not None:
        stage.summary += f"; {touched['changed']:,} changed, {touched['searched']:,} searched again"
    origin = {"taken_over": source.url, "carried_shards": len(shards) - len(new), "touched": touched}
    return {**found, **origin, "drift": drifted, "recall_rows": measuring}


def _sample(stage: Stage, config: Config, shards: Sequence[PassingShard], rows: int) -> None:
    """Let shards sample the rows on which recall is measured; no centroids are trained."""
    arguments = (0.0, 0.0, config.concepts.seed, rows, stage.store.url)
    over_shards(stage, sample_shard, "sample", shards, arguments, "shards sampled")


def _write_queries(
    stage: Stage,
    config: Config,
    shards: Sequence[PassingShard],
    new: Sequence[PassingShard],
    rows: int,
    kept: Kept | None,
) -> None:
    """Write the rows on which recall is measured: the base's as far as they are there, and a sample of the others."""
    url = stage.store.url
    _sample(stage, config, new, rows)
    identities = [shard.identity for shard in new]
    if kept is None:
        stage.call(gather_queries, "queries", identities, url)
        return
    found = stage.call(carry_queries, "queries", identities, kept.store.url, kept.places, url)
    if found["fresh"]:
        same = [shard for shard in shards if shard.identity in kept.same]
        over_shards(stage, measure, "measure", same, (config.graph.k, url), "shards measured")


def _find_exact(
    stage: Stage,
    config: Config,
    shards: Sequence[PassingShard],
    new: Sequence[PassingShard],
    rows: int,
    kept: Kept | None,
) -> int:
    """Find the true neighbours of the rows on which recall is measured; return how many rows those are.

    Of a base's rows some are gone, and some have lost so many neighbours that the others do not follow from what is
    known. If less than half of what a run measures is left, a new sample is compared with the whole pool.
    """
    k, url, nowhere = config.graph.k, stage.store.url, np.zeros(0, np.int64)
    everyone = [shard.identity for shard in shards]
    if kept is None:
        return int(stage.call(find_exact, "exact", everyone, None, nowhere, k, url)["rows"])
    fresh = bool(stage.store.read_arrays(QUERIES_NAME)["fresh"].any())
    looked = everyone if fresh else [shard.identity for shard in new]
    found = stage.call(find_exact, "exact", looked, kept.store.url, kept.places, k, url)
    if 2 * found["rows"] >= MEASURING_SHARE * min(rows, QUERIES):
        return int(found["rows"])
    _sample(stage, config, shards, rows)
    stage.call(resample_queries, "resampled", everyone, url)
    over_shards(stage, measure, "remeasure", shards, (k, url), "shards measured")
    return int(stage.call(find_exact, "exact-again", everyone, None, nowhere, k, url)["rows"])


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


def _touched(stage: Stage, shards: Sequence[PassingShard], new: Sequence[str], kept: Kept) -> dict[str, int]:
    url = stage.store.url
    stage.call(write_changed, "changed", list(new), list(kept.gone), kept.store.url, url)
    over_shards(stage, find_searched, "searched", shards, (url,), "shards compared")
    found: dict[str, int] = stage.call(join_searched, "touched", [shard.identity for shard in shards], url)
    stage.store.delete_all(SEARCHED_SUFFIX)
    return found
