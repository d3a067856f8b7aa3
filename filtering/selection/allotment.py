"""The budgets of all concepts, as a step's budget allots them: from sizes, or from the scores of the whole pool."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

import numpy as np
import pyarrow as pa

from filtering.concepts.artifacts import read_concept_centroids, read_concepts
from filtering.concepts.cutting import read_copies
from filtering.concepts.kmeans import centroid_hierarchy
from filtering.config.methods import HierarchicalBudget, MinimumBudget, StrataBudget, ThresholdSettings, exchanges_of
from filtering.config.selection import Step
from filtering.core.csr import Int64Array
from filtering.core.radix_select import at_or_above
from filtering.runtime.records import RowCount
from filtering.runtime.shuffle import Records
from filtering.runtime.stage import StageRun
from filtering.runtime.task_spec import task
from filtering.selection.artifacts import BUDGETS_NAME, Pool
from filtering.selection.budgets import distinct_budgets, proportional_budgets
from filtering.selection.cuts import (
    Cut,
    counts_above,
    cut_at,
    cut_at_score,
    keys_of,
    read_cells,
    write_cells,
)
from filtering.selection.distinct import expected_counts
from filtering.selection.hierarchy import hierarchical_budgets
from filtering.selection.registry import BUDGETS, selector_of
from filtering.selection.scores import read_collected, read_concept_counts
from filtering.selection.strata import hardest_share, strata_budgets, stratum_numbers
from filtering.storage.store import Store

HIERARCHY_NAME = "hierarchy.npz"
STRATA_NAME = "strata.npz"


def write_budgets(stage: StageRun, step: Step, pool: Pool, total: int, available: int, *, wide: bool = False) -> None:
    """Write how many samples each concept may keep, `total` of `available`; strata over the pool with their budgets.

    `wide` says whether the scores are float64.
    """
    name, settings, concepts = step.budget_name, step.budget_settings, surviving_concepts(stage, pool)
    sizes = concepts["size"].to_numpy()
    if not name:
        budgets = once(sizes, read_copies(pool.concepts)) if selector_of(step).once else sizes
    elif isinstance(settings, StrataBudget) and settings.scope == "pool":
        hardest = int(available * hardest_share(settings.drop_hardest, total, available))
        write_strata(stage.store, pool_strata(stage, pool.partitions, settings.strata, hardest, total, wide=wide))
        budgets = sizes
    elif name == "pool" and exchanges_of(step.settings):
        # The rounds of picks spend it.
        return
    elif name in ("pool", "threshold"):
        cut = _cut(stage, step, pool, total, available, wide)
        budgets = np.zeros_like(sizes) if cut is None else counts_above(stage, pool.partitions, len(sizes), cut)
    else:
        budgets = _allotted(stage, step, concepts, pool, total)
    stage.store.write_arrays(BUDGETS_NAME, {"budgets": budgets})


def once(sizes: Int64Array, copies: Sequence[range]) -> Int64Array:
    """Return budgets, int64 (C,): the concepts' sizes, but of concepts that hold copies of one vector only one has any.

    `copies` are the concepts of each such vector. The first that still has samples keeps its budget.
    """
    budgets = sizes.copy()
    for concepts in copies:
        filled = [concept for concept in concepts if sizes[concept]]
        budgets[filled[1:]] = 0
    return budgets


def surviving_concepts(stage: StageRun, pool: Pool) -> pa.Table:
    """Return the table of concepts with the sizes that the steps before have left."""
    table = read_concepts(pool.concepts)
    sizes = read_concept_counts(stage.store, pool.partitions, len(table))
    return table.set_column(table.column_names.index("size"), "size", pa.array(sizes))


def _allotted(stage: StageRun, step: Step, concepts: pa.Table, pool: Pool, total: int) -> Int64Array:
    """Return what a budget allots to each concept."""
    name, settings = step.budget_name, step.budget_settings
    if name == "distinct":
        held = expected_counts(stage, pool, len(concepts))
        return distinct_budgets(held.distinct, held.right, held.size, total)
    if isinstance(settings, HierarchicalBudget):
        stage.call("hierarchy", write_hierarchy, pool.concepts, settings.levels, settings.seed, stage.store)
        return hierarchical_budgets(concepts["size"].to_numpy(), read_hierarchy(stage.store), total)
    if isinstance(settings, StrataBudget):
        # Strata inside each concept spend what the concept has in proportion to its size.
        name, settings = "proportional", MinimumBudget()
    allot = BUDGETS[name].allot
    assert allot is not None
    return allot(concepts, total, settings)


def write_hierarchy(concepts: Store, levels: int, seed: int, store: Store) -> None:
    """Write a k-means hierarchy over the concepts' centroids: each node's parent on the level above."""
    parents = centroid_hierarchy(read_concept_centroids(concepts), levels, seed)
    store.write_arrays(HIERARCHY_NAME, {f"{level:02d}": array for level, array in enumerate(parents)})


def read_hierarchy(store: Store) -> list[Int64Array]:
    """Return each node's parent, int64 (nodes,), by level, the level above the concepts first."""
    arrays = store.read_arrays(HIERARCHY_NAME)
    return [arrays[level] for level in sorted(arrays)]


def _cut(stage: StageRun, step: Step, pool: Pool, total: int, available: int, wide: bool) -> Cut | None:
    """Return the cut at and above which rows of the whole pool are kept; None if no row is kept."""
    if not isinstance(step.settings, ThresholdSettings):
        return cut_at(stage, "cut", pool.partitions, total - 1, wide=wide) if total else None
    if step.settings.threshold is not None:
        return cut_at_score(step.settings.threshold, wide=wide)
    # DataComp's rule: the value at int(n * fraction), and all that equal it.
    place = int(available * step.keep) if isinstance(step.keep, float) else step.keep - 1
    place = min(place, available - 1)
    return cut_at(stage, "cut", pool.partitions, place, wide=wide, ties=True) if available else None


@dataclass(frozen=True, slots=True)
class PoolStrata:
    """Strata of difficulty over the pool, and a budget for each cell: the part of a stratum that lies in a concept.

    `count` strata of equal width lie between the difficulties `low` and `high`; the hardest rows, those at or above the
    cut (none if it is empty), are one more. Cells, int64 (m,), are concept * (count + 1) + stratum, ascending.
    """

    count: int
    low: float
    high: float
    cut: Cut
    cell: Int64Array
    budget: Int64Array

    def numbers(self, rows: Records) -> Int64Array:
        """Return the stratum of some rows, SCORE (n,), by their difficulties, int64 (n,)."""
        numbers = stratum_numbers(rows["second"], self.low, self.high, self.count)
        if self.cut:
            numbers[at_or_above(keys_of(rows, "second"), self.cut)] = self.count
        return numbers

    def budgets_of(self, concept: int) -> Int64Array:
        """Return the budget of each stratum in a concept, int64 (count + 1,)."""
        width = self.count + 1
        budgets = np.zeros(width, dtype=np.int64)
        first, last = np.searchsorted(self.cell, [concept * width, (concept + 1) * width])
        budgets[self.cell[first:last] - concept * width] = self.budget[first:last]
        return budgets


class DifficultyRange(TypedDict):
    """The least and the largest difficulty of a partition's rows below a cut; None where it has none."""

    low: float | None
    high: float | None


def pool_strata(
    stage: StageRun, partitions: int, count: int, hardest: int, total: int, *, wide: bool = False
) -> PoolStrata:
    """Return `count` strata of the pool that spend `total`, after the `hardest` rows were set apart."""
    numbers, store, nothing = range(partitions), stage.store, np.zeros(0, dtype=np.int64)
    cut = cut_at(stage, "hardest", partitions, hardest - 1, wide=wide, column="second") if hardest else ()
    measuring = [task(f"range-{number:08d}", difficulty_range, number, cut, store) for number in numbers]
    ranges = stage.map(measuring, "partitions measured")
    low = min((found["low"] for found in ranges if found["low"] is not None), default=0.0)
    high = max((found["high"] for found in ranges if found["high"] is not None), default=0.0)
    strata = PoolStrata(count, low, high, cut, nothing, nothing)
    counting = [task(f"cells-{number:08d}", count_cells, number, strata, store) for number in numbers]
    stage.map(counting, "partitions counted")
    cell, rows = read_cells(store, partitions)
    return replace(strata, cell=cell, budget=cell_budgets(cell, rows, count, total))


def difficulty_range(partition: int, cut: Cut, store: Store) -> DifficultyRange:
    """Return the least and the largest difficulty of a partition's rows below a cut; of all rows if it is empty."""
    rows = read_collected(store, partition)
    below = (rows[~at_or_above(keys_of(rows, "second"), cut)] if cut else rows)["second"]
    if len(below) == 0:
        return DifficultyRange(low=None, high=None)
    return DifficultyRange(low=float(below.min()), high=float(below.max()))


def count_cells(partition: int, strata: PoolStrata, store: Store) -> RowCount:
    """Count a partition's rows by concept and stratum."""
    scores = read_collected(store, partition)
    cells = scores["concept"].astype(np.int64) * (strata.count + 1) + strata.numbers(scores)
    cell, count = np.unique(cells, return_counts=True)
    write_cells(store, partition, cell, count)
    return RowCount(rows=len(scores))


def cell_budgets(cell: Int64Array, rows: Int64Array, strata: int, total: int) -> Int64Array:
    """Return a budget for each cell, int64 (m,): CCS's for each stratum, in proportion to its parts in the concepts.

    Rows above the cut fill up what the strata cannot.
    """
    number = cell % (strata + 1)
    sizes = np.bincount(number, weights=rows, minlength=strata + 1).astype(np.int64)
    wanted = np.append(strata_budgets(sizes[:strata], min(total, int(sizes[:strata].sum()))), 0)
    wanted[strata] = total - wanted.sum()
    budgets = np.zeros(len(cell), dtype=np.int64)
    for stratum in np.flatnonzero(wanted):
        here = number == stratum
        budgets[here] = proportional_budgets(rows[here], int(wanted[stratum]))
    return budgets


def write_strata(store: Store, strata: PoolStrata) -> None:
    """Write strata with their budgets."""
    arrays = {"range": np.array([strata.low, strata.high]), "cut": np.array(strata.cut, dtype=np.int64)}
    store.write_arrays(
        STRATA_NAME, arrays | {"cell": strata.cell, "budget": strata.budget, "count": np.array(strata.count)}
    )


def read_strata(store: Store) -> PoolStrata:
    """Return the strata that `write_strata` wrote."""
    found = store.read_arrays(STRATA_NAME)
    low, high = found["range"].tolist()
    return PoolStrata(int(found["count"]), low, high, tuple(found["cut"].tolist()), found["cell"], found["budget"])
