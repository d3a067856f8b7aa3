"""What the scores of the whole pool decide: exact pool-wide cuts and difficulty strata, without gathering rows.

A cut is found digit by digit: every partition counts its rows by the next 16 bits of their key, one task sums the
counts and finds the digit. A key is the score's bits (2 digits), then the row id turned round (4 digits), so that the
rows first in the pool come first among equal scores, and a cut leaves exactly as many rows as asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from filtering.core.csr import Int64Array
from filtering.core.radix_select import SCORE_DIGITS, at_or_above, order_keys, split_digits
from filtering.runtime.rank_counts import count_keys
from filtering.runtime.records import RowCount
from filtering.selection.budgets import proportional_budgets
from filtering.selection.scores import read_collected
from filtering.selection.strata import strata_budgets, stratum_numbers
from filtering.storage.store import Store

Key = npt.NDArray[np.uint16]
ROW_DIGITS = 4
CELLS_NAME = "{:08d}.cells.npz"
STRATA_NAME = "strata.npz"


def keys_of(rows: Int64Array, scores: npt.NDArray[np.floating[Any]]) -> Key:
    """Return the keys by which rows stand in the pool's order, uint16 (n, 6): greater keys are kept first."""
    score = split_digits(order_keys(scores.astype(np.float32)), SCORE_DIGITS)
    row = split_digits(~rows.astype(np.uint64), ROW_DIGITS)
    return np.concatenate([score, row], axis=1)


def partition_keys(store: Store, partition: int, column: str = "score") -> Key:
    """Return the keys of a partition's own rows that are still there, by score or by difficulty."""
    scores = read_collected(store, partition)
    return keys_of(np.ascontiguousarray(scores["row"]), np.ascontiguousarray(scores[column]))


def count_digit(partition: int, column: str, prefix: Sequence[int], task_name: str, store: Store) -> RowCount:
    """Count a partition's rows whose keys begin with `prefix` by their next digit."""
    return count_keys(store, task_name, partition_keys(store, partition, column), prefix)


def count_above(partition: int, cut: Sequence[int], store_url: str) -> dict[str, int]:
    """Count a partition's rows at or above a cut by concept."""
    store = Store(store_url)
    scores = read_collected(store, partition)
    above = at_or_above(partition_keys(store, partition), cut)
    concept, count = np.unique(scores["concept"][above], return_counts=True)
    store.write_arrays(CELLS_NAME.format(partition), {"cell": concept.astype(np.int64), "count": count})
    return {"rows": int(count.sum())}


def score_range(partition: int, cut: Sequence[int], store_url: str) -> dict[str, float | None]:
    """Return the least and the largest difficulty of a partition's rows below a cut."""
    store = Store(store_url)
    scores = np.ascontiguousarray(read_collected(store, partition)["difficulty"])
    below = scores[~at_or_above(partition_keys(store, partition, "difficulty"), cut)] if cut else scores
    if len(below) == 0:
        return {"low": None, "high": None}
    return {"low": float(below.min()), "high": float(below.max())}


@dataclass(frozen=True, slots=True)
class Strata:
    """Difficulty strata over the pool, and a budget for each part of one that lies in a concept.

    Attributes
    ----------
    count : how many strata; the hardest rows, those at or above the cut, are a further one of their own.
    low, high : the range of the others' difficulties.
    cut : digits of a key; none where no row is dropped for being hard.
    cell : int64 (m,), concept * (count + 1) + stratum, ascending.
    budget : int64 (m,)
    """

    count: int
    low: float
    high: float
    cut: tuple[int, ...]
    cell: Int64Array
    budget: Int64Array

    def numbers(self, rows: Int64Array, scores: npt.NDArray[np.floating[Any]]) -> Int64Array:
        """Return the stratum of some rows by their difficulties, int64 (n,)."""
        numbers = stratum_numbers(scores.astype(np.float32), self.low, self.high, self.count)
        if self.cut:
            numbers[at_or_above(keys_of(rows, scores), self.cut)] = self.count
        return numbers

    def budgets_of(self, concept: int) -> Int64Array:
        """Return the budget of each stratum in a concept, int64 (count + 1,)."""
        width = self.count + 1
        budgets = np.zeros(width, dtype=np.int64)
        first, last = np.searchsorted(self.cell, [concept * width, (concept + 1) * width])
        budgets[self.cell[first:last] - concept * width] = self.budget[first:last]
        return budgets


def count_cells(partition: int, strata: Strata, store_url: str) -> dict[str, int]:
    """Count a partition's rows by concept and stratum."""
    store = Store(store_url)
    scores = read_collected(store, partition)
    numbers = strata.numbers(np.ascontiguousarray(scores["row"]), np.ascontiguousarray(scores["difficulty"]))
    cell, count = np.unique(scores["concept"].astype(np.int64) * (strata.count + 1) + numbers, return_counts=True)
    store.write_arrays(CELLS_NAME.format(partition), {"cell": cell, "count": count})
    return {"cells": len(cell)}


def read_cells(store: Store, partitions: int) -> tuple[Int64Array, Int64Array]:
    """Return cells, ascending, and how many rows each has; a concept lies in one partition."""
    parts = [store.read_arrays(CELLS_NAME.format(number)) for number in range(partitions)]
    cell = np.concatenate([np.zeros(0, np.int64), *(part["cell"] for part in parts)])
    count = np.concatenate([np.zeros(0, np.int64), *(part["count"] for part in parts)])
    order = np.argsort(cell)
    return cell[order], count[order]


def cell_budgets(cell: Int64Array, count: Int64Array, strata: int, total: int) -> Int64Array:
    """Return a budget for each cell, int64 (m,): CCS's for each stratum, in proportion to its parts in the concepts.

    What the strata cannot fill, the rows above the cut do.
    """
    number = cell % (strata + 1)
    sizes = np.bincount(number, weights=count, minlength=strata + 1).astype(np.int64)
    wanted = np.append(strata_budgets(sizes[:strata], min(total, int(sizes[:strata].sum()))), 0)
    wanted[strata] = total - wanted.sum()
    budgets = np.zeros(len(cell), dtype=np.int64)
    for stratum in np.flatnonzero(wanted):
        here = number == stratum
        budgets[here] = proportional_budgets(count[here], int(wanted[stratum]))
    return budgets


def write_strata(store: Store, strata: Strata) -> None:
    """Write strata with their budgets."""
    arrays = {"range": np.array([strata.low, strata.high]), "cut": np.array(strata.cut, dtype=np.int64)}
    store.write_arrays(
        STRATA_NAME, arrays | {"cell": strata.cell, "budget": strata.budget, "count": np.array(strata.count)}
    )


def read_strata(store: Store) -> Strata:
    """Return the strata that `write_strata` wrote."""
    found = store.read_arrays(STRATA_NAME)
    low, high = found["range"].tolist()
    return Strata(int(found["count"]), low, high, tuple(found["cut"].tolist()), found["cell"], found["budget"])
