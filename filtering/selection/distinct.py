"""How many distinct right pairs each concept is expected to hold: one pass over the partitions, for the budget."""

from dataclasses import dataclass

import numpy as np

from filtering.core.csr import Int64Array
from filtering.graph.median import median_squared_length
from filtering.runtime.records import RowCount
from filtering.runtime.stage import StageRun
from filtering.runtime.task_spec import task
from filtering.selection.artifacts import Pool
from filtering.selection.concept import ConceptSamples
from filtering.selection.kernel import Float64Array
from filtering.selection.novelty import distinct_right
from filtering.selection.scores import survivors
from filtering.storage.store import Store

DISTINCT_NAME = "{:08d}.distinct.npz"
# What a concept holds.
HELD = np.dtype([("concept", "<i4"), ("distinct", "<f8"), ("right", "<f8"), ("size", "<i8")])


@dataclass(frozen=True, slots=True)
class ExpectedCounts:
    """Of each of C concepts: its expected distinct right pairs, its expected right pairs, and its samples."""

    distinct: Float64Array
    right: Float64Array
    size: Int64Array


def expected_counts(stage: StageRun, pool: Pool, concepts: int) -> ExpectedCounts:
    """Count what the concepts hold, by the median squared length of the pool's edges; the counts stay in the stage."""
    unit, store = median_squared_length(stage, "lengths", pool.graph, pool.partitions), stage.store
    numbers = range(pool.partitions)
    tasks = [task(f"distinct-{number:08d}", count_distinct, number, unit, pool.graph, store) for number in numbers]
    stage.map(tasks, "partitions counted")
    return read_expected_counts(store, pool.partitions, concepts)


def count_distinct(partition: int, unit: float, graph: Store, store: Store) -> RowCount:
    """Write what each concept of a partition holds; where the unit is 0, most edges join equal rows, each has its own.

    No other partition is read: neither a concept nor the edges inside it reach beyond one.
    """
    found = survivors(partition, [], graph, store)
    concepts = () if found is None else ((found.part.concept[at.start], one) for at, one in found.concepts())
    held = np.array([(concept, *_held(one, unit or None)) for concept, one in concepts], HELD)
    store.write_arrays(DISTINCT_NAME.format(partition), {"held": held})
    return RowCount(rows=int(held["size"].sum()))


def _held(samples: ConceptSamples, unit: float | None) -> tuple[float, float, int]:
    distinct = distinct_right(samples.graph, samples.scores, unit=unit)
    return distinct, float(samples.scores.sum()), len(samples.uids)


def read_expected_counts(store: Store, partitions: int, concepts: int) -> ExpectedCounts:
    """Return what `expected_counts` left in the folder of a stage; concepts without samples hold nothing."""
    found = ExpectedCounts(np.zeros(concepts), np.zeros(concepts), np.zeros(concepts, dtype=np.int64))
    for number in range(partitions):
        held = store.read_arrays(DISTINCT_NAME.format(number))["held"]
        for name in ("distinct", "right", "size"):
            getattr(found, name)[held["concept"]] = held[name]
    return found
