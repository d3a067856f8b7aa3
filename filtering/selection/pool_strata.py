"""Strata of difficulty over the whole pool, with a budget for each part of one that lies in a concept."""

from dataclasses import dataclass, replace
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from filtering.core.csr import Int64Array
from filtering.core.radix_select import at_or_above
from filtering.runtime.records import RowCount
from filtering.runtime.stage import StageRun
from filtering.runtime.task_spec import task
from filtering.selection.budgets import proportional_budgets
from filtering.selection.cuts import Cut, cut_at, keys_of, partition_keys, read_cells, write_cells
from filtering.selection.scores import read_collected
from filtering.selection.strata import strata_budgets, stratum_numbers
from filtering.storage.store import Store

STRATA_NAME = "strata.npz"


@dataclass(frozen=True, slots=True)
class PoolStrata:
    """Strata of difficulty over the pool, and a budget for each part of one that lies in a concept.

    Attributes
    ----------
    count : how many strata; the hardest rows, those at or above the cut, are one more.
    low, high : the range of the other rows' difficulties.
    cut : empty where no row is dropped for being hard.
    cell : int64 (m,), concept * (count + 1) + stratum, ascending.
    budget : int64 (m,)
    """

    count: int
    low: float
    high: float
    cut: Cut
    cell: Int64Array
    budget: Int64Array

    def numbers(self, rows: Int64Array, difficulties: npt.NDArray[np.floating[Any]]) -> Int64Array:
        """Return the stratum of some rows by their difficulties, int64 (n,)."""
        numbers = stratum_numbers(difficulties.astype(np.float32), self.low, self.high, self.count)
        if self.cut:
            numbers[at_or_above(keys_of(rows, difficulties), self.cut)] = self.count
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


def pool_strata(stage: StageRun, partitions: int, count: int, hardest: int, total: int) -> PoolStrata:
    """Return `count` strata of the pool that spend `total`, after the `hardest` rows were set apart."""
    numbers, store, nothing = range(partitions), stage.store, np.zeros(0, dtype=np.int64)
    cut = cut_at(stage, "hardest", partitions, hardest - 1, column="difficulty") if hardest else ()
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
    found = np.ascontiguousarray(read_collected(store, partition)["difficulty"])
    below = found[~at_or_above(partition_keys(store, partition, "difficulty"), cut)] if cut else found
    if len(below) == 0:
        return DifficultyRange(low=None, high=None)
    return DifficultyRange(low=float(below.min()), high=float(below.max()))


def count_cells(partition: int, strata: PoolStrata, store: Store) -> RowCount:
    """Count a partition's rows by concept and stratum."""
    scores = read_collected(store, partition)
    numbers = strata.numbers(np.ascontiguousarray(scores["row"]), np.ascontiguousarray(scores["difficulty"]))
    cell, count = np.unique(scores["concept"].astype(np.int64) * (strata.count + 1) + numbers, return_counts=True)
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
