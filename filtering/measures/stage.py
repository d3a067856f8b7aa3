"""The measures stage: what is kept against the whole pool, and against a random choice of equal size."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filtering.core import schemas
from filtering.filters.artifacts import PassingShard
from filtering.measures.artifacts import MEASURES, ByChoice, MeasuresResult
from filtering.measures.figures import effective_concepts, matching_distance, mean_distance
from filtering.measures.tasks import (
    CHOICES,
    CONCEPTS_NAME,
    CONCEPTS_SUFFIX,
    SHARD_NAME,
    SHARD_SUFFIX,
    measure_concepts,
    measure_shard,
)
from filtering.runtime.records import from_plain, to_plain
from filtering.runtime.stage import StageKey, StageRun
from filtering.runtime.stage_objects import consume
from filtering.runtime.task_spec import task
from filtering.selection.artifacts import PICKS_SUFFIX
from filtering.storage.reading import each_arrays
from filtering.storage.store import Store

VERSION = 1
FIGURES = "figures.json"


def measures_key(selection: str, graph: str) -> StageKey:
    """Return the stage's identity."""
    return StageKey("measures", VERSION, None, (selection, graph))


@dataclass(frozen=True, slots=True)
class MeasuredSelection:
    """A selection and the pool that it is compared with: `kept` of the `rows` that passed the filters."""

    shards: Sequence[PassingShard]
    rows: int
    kept: int
    partitions: int
    picks: Store
    concepts: Store
    graph: Store

    @property
    def share(self) -> float:
        """Share of the rows that is kept."""
        return self.kept / max(self.rows, 1)


def measure(stage: StageRun, selection: MeasuredSelection) -> MeasuresResult:
    """Measure a selection and write a line for each concept; return the figures of pool, selection and chance."""
    store = stage.store
    shards, partitions = _measured_shards(stage, selection), _measured_partitions(stage, selection)
    if not store.exists(FIGURES):
        by_concept = _by_concept(store, partitions)
        store.write_table(MEASURES, _table(by_concept))
        store.write_record(FIGURES, to_plain(_of_concepts(by_concept, *_of_vectors(store, shards))))
    # A run that is killed from here on finds the figures again, but not the parts.
    for suffix in (SHARD_SUFFIX, CONCEPTS_SUFFIX):
        consume(store, suffix)
    return from_plain(MeasuresResult, store.read_record(FIGURES), store.path(FIGURES))


def _measured_shards(stage: StageRun, found: MeasuredSelection) -> list[str]:
    """Measure each shard; return the identities of those that have rows."""
    names, picks, concepts, share = found.picks.names(PICKS_SUFFIX), found.picks, found.concepts, found.share
    counts = stage.over_shards(
        "shard", "shards", found.shards, measure_shard, picks, names, share, concepts, stage.store
    )
    return [shard.identity for shard, count in zip(found.shards, counts, strict=True) if count["rows"]]


def _measured_partitions(stage: StageRun, found: MeasuredSelection) -> list[int]:
    """Measure each partition; return the numbers of those that have concepts."""
    tasks = [
        task(f"concepts-{number:08d}", measure_concepts, number, found.picks, found.share, found.graph, stage.store)
        for number in range(found.partitions)
    ]
    counts = stage.map(tasks, "partitions")
    return [number for number, count in enumerate(counts) if count["concepts"]]


def _by_concept(store: Store, partitions: Sequence[int]) -> npt.NDArray[np.float64]:
    """Return a line for each concept, float64 (C, 8), from the partitions' parts."""
    names = [CONCEPTS_NAME.format(number) for number in partitions]
    return np.concatenate([*(part["concepts"] for part in each_arrays(store, names)), np.zeros((0, 8))])


def _of_vectors(store: Store, identities: Sequence[str]) -> tuple[ByChoice, ByChoice]:
    """Return coverage and matching from the shards' parts."""
    rows = np.zeros(len(CHOICES), dtype=np.int64)
    sums: dict[str, npt.NDArray[np.float64]] = dict.fromkeys(CHOICES, np.zeros(1))
    nearest: dict[str, npt.NDArray[np.float32]] = {}
    for part in each_arrays(store, map(SHARD_NAME.format, identities)):
        rows += part["rows"]
        for name in CHOICES:
            sums[name] = sums[name] + part[f"sums_{name}"]
        for name in CHOICES[1:]:
            here = part[f"nearest_{name}"]
            nearest[name] = np.minimum(nearest.get(name, here), here)
    nothing = np.full(1, np.inf, dtype=np.float32)
    counted = dict(zip(CHOICES, rows.tolist(), strict=True))
    coverage = {name: mean_distance(nearest.get(name, nothing)) for name in CHOICES[1:]}
    matching = {
        name: matching_distance(sums["pool"], counted["pool"], sums[name], counted[name]) for name in CHOICES[1:]
    }
    return coverage, matching


def _of_concepts(lines: npt.NDArray[np.float64], coverage: ByChoice, matching: ByChoice) -> MeasuresResult:
    """Return all figures: also the concepts in effect and the mean spread of rows that have a kept neighbour."""
    size, kept, near, apart, random, random_near, random_apart = lines[:, 1:].T
    dropped = {"selection": (kept, near, apart), "random": (random, random_near, random_apart)}
    effective = {name: effective_concepts(count.astype(np.int64)) for name, (count, _, _) in dropped.items()}
    spread, uncovered = {}, {}
    for name, (count, there, distances) in dropped.items():
        tests = float((size - count).sum())
        spread[name] = round(float(distances.sum() / there.sum()), 5) if there.sum() else None
        uncovered[name] = round(1 - float(there.sum()) / tests, 5) if tests else 0.0
    pool = {"pool": effective_concepts(size.astype(np.int64))}
    return MeasuresResult(coverage, matching, pool | effective, spread, uncovered)


def _table(lines: npt.NDArray[np.float64]) -> pa.Table:
    concept, size, kept, near, apart, random, random_near, random_apart = lines.T
    columns = {"concept": concept, "size": size, "kept": kept, "random": random}
    with np.errstate(invalid="ignore"):
        columns |= {"spread": apart / near, "random_spread": random_apart / random_near}
    return pa.table({name: pa.array(columns[name], from_pandas=True) for name in schemas.MEASURES.names}).cast(
        schemas.MEASURES
    )
