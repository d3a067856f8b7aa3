"""The measures stage: what is kept against the whole pool, and against a random choice of equal size."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filtering.core import schemas
from filtering.filters.artifacts import PassingShard
from filtering.measures.artifacts import MEASURES, ByChoice, MeasuresResult
from filtering.measures.concepts import effective_concepts
from filtering.measures.coverage import mean_distance
from filtering.measures.matching import matching_distance
from filtering.measures.tasks import (
    CHOICES,
    CONCEPTS_NAME,
    CONCEPTS_SUFFIX,
    SHARD_NAME,
    SHARD_SUFFIX,
    measure_concepts,
    measure_shard,
)
from filtering.runtime.stage import StageKey, StageRun
from filtering.runtime.task_spec import task
from filtering.selection.artifacts import PICKS_SUFFIX
from filtering.storage.store import Store

VERSION = 1


def measures_key(selection: str, graph: str) -> StageKey:
    """Return the stage's identity."""
    return StageKey("measures", VERSION, None, (selection, graph))


def measure(
    stage: StageRun, shards: Sequence[PassingShard], rows: int, kept: int, partitions: int, urls: tuple[str, str, str]
) -> MeasuresResult:
    """Measure a selection and write a line for each concept; return the figures of the pool, the selection and chance.

    Parameters
    ----------
    rows, kept : int
        How many rows passed the filters, and how many of them are kept.
    partitions : int
        How many there are.
    urls : three str
        Where the picks, the concepts and the graph are.
    """
    picks, concepts, graph = urls
    share, names = kept / max(rows, 1), Store(picks).names(PICKS_SUFFIX)
    tasks = [
        task(f"shard-{s.identity}", measure_shard, s, picks, names, share, concepts, stage.store.url) for s in shards
    ]
    counts = stage.map(tasks, "shards")
    tasks = [
        task(f"concepts-{n:08d}", measure_concepts, n, picks, share, graph, stage.store.url) for n in range(partitions)
    ]
    found = stage.map(tasks, "partitions")
    filled = [s.identity for s, count in zip(shards, counts, strict=True) if count["rows"]]
    lines = [
        stage.store.read_arrays(CONCEPTS_NAME.format(n))["concepts"]
        for n, count in enumerate(found)
        if count["concepts"]
    ]
    by_concept = np.concatenate([*lines, np.zeros((0, 8))])
    stage.store.write_table(MEASURES, _table(by_concept))
    coverage, matching = _of_vectors(stage.store, filled)
    result = _of_concepts(by_concept, coverage, matching)
    for suffix in (SHARD_SUFFIX, CONCEPTS_SUFFIX):
        stage.store.delete_all(suffix)
    return result


def _of_vectors(store: Store, identities: Sequence[str]) -> tuple[ByChoice, ByChoice]:
    """Return coverage and matching from the shards' parts."""
    rows = np.zeros(len(CHOICES), dtype=np.int64)
    sums: dict[str, Any] = dict.fromkeys(CHOICES, 0.0)
    nearest: dict[str, npt.NDArray[np.float32]] = {}
    for identity in identities:
        part = store.read_arrays(SHARD_NAME.format(identity))
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
    """Return, besides, the concepts in effect, and the mean spread of the rows that have a kept neighbour."""
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
    columns: dict[str, npt.NDArray[Any]] = {"concept": concept, "size": size, "kept": kept, "random": random}
    with np.errstate(invalid="ignore"):
        columns |= {"spread": apart / near, "random_spread": random_apart / random_near}
    return pa.table({name: pa.array(columns[name], from_pandas=True) for name in schemas.MEASURES.names}).cast(
        schemas.MEASURES
    )
