"""Exact cuts through the scores of the whole pool, without gathering rows.

A cut is a key found digit by digit (`runtime.rank_counts`). A key is the score's bits (2 digits, 4 of a wide score),
then the complement of the row id (4 digits), so that of equal scores the first rows of the pool come first, and exactly
as many rows are at or above the cut as were asked for.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from filtering.core.csr import Int64Array
from filtering.core.radix_select import SCORE_DIGITS, WIDE_DIGITS, Digits, at_or_above, score_digits, split_digits
from filtering.runtime.rank_counts import count_keys, key_at_rank
from filtering.runtime.records import RowCount
from filtering.runtime.shuffle import Records
from filtering.runtime.stage import StageRun
from filtering.runtime.task_spec import TaskSpec, task
from filtering.selection.scores import read_collected
from filtering.storage.store import Store

ROW_DIGITS = 4
CELLS_NAME = "{:08d}.cells.npz"
# The first digits of a key: the rows whose keys begin with them, and those with greater keys, are at or above the cut.
Cut = tuple[int, ...]
Column = Literal["score", "second"]


def cut_at(
    stage: StageRun,
    label: str,
    partitions: int,
    rank: int,
    *,
    wide: bool = False,
    ties: bool = False,
    column: Column = "score",
) -> Cut:
    """Return the cut below the row at a rank of the pool; rank 0 has the greatest key, ranks are below the rows there.

    `wide` says whether the scores are float64. With `ties`, rows of equal scores are on the same side: the row ids in
    the keys do not count.
    """

    def tasks_of(name: str, prefix: Cut) -> list[TaskSpec[RowCount]]:
        names = [f"{name}-{number:08d}" for number in range(partitions)]
        return [task(name, count_digit, number, column, prefix, name, stage.store) for number, name in enumerate(names)]

    digits = (WIDE_DIGITS if wide else SCORE_DIGITS) + (0 if ties else ROW_DIGITS)
    return key_at_rank(stage, label, tasks_of, lambda _: rank, digits, unit="partitions counted")


def cut_at_score(score: float, *, wide: bool = False) -> Cut:
    """Return the cut below all rows of a score."""
    return tuple(score_digits(np.array([score], np.float64 if wide else np.float32))[0].tolist())


def counts_above(stage: StageRun, partitions: int, concepts: int, cut: Cut) -> Int64Array:
    """Return how many rows of each concept are at or above a cut, int64 (`concepts`,)."""
    tasks = [task(f"above-{number:08d}", count_above, number, cut, stage.store) for number in range(partitions)]
    stage.map(tasks, "partitions counted")
    cell, count = read_cells(stage.store, partitions)
    counts = np.zeros(concepts, dtype=np.int64)
    counts[cell] = count
    return counts


def keys_of(rows: Records, column: Column = "score") -> Digits:
    """Return the keys of rows, SCORE or WIDE_SCORE (n,), by score or by the second one; greater keys are kept first.

    They are uint16 (n, 6), of wide scores (n, 8).
    """
    score = score_digits(np.ascontiguousarray(rows[column]))
    row = split_digits(~rows["row"].astype(np.uint64), ROW_DIGITS)
    return np.concatenate([score, row], axis=1)


def count_digit(partition: int, column: Column, prefix: Sequence[int], task_name: str, store: Store) -> RowCount:
    """Count a partition's rows whose keys begin with `prefix` by their next digit."""
    return count_keys(store, task_name, keys_of(read_collected(store, partition), column), prefix)


def count_above(partition: int, cut: Cut, store: Store) -> RowCount:
    """Count a partition's rows at or above a cut by concept."""
    scores = read_collected(store, partition)
    concept, count = np.unique(scores["concept"][at_or_above(keys_of(scores), cut)], return_counts=True)
    write_cells(store, partition, concept.astype(np.int64), count)
    return RowCount(rows=int(count.sum()))


def write_cells(store: Store, partition: int, cell: Int64Array, count: Int64Array) -> None:
    """Write how many rows of a partition each cell has: a concept, or a part of one."""
    store.write_arrays(CELLS_NAME.format(partition), {"cell": cell, "count": count})


def read_cells(store: Store, partitions: int) -> tuple[Int64Array, Int64Array]:
    """Return the cells of all partitions, ascending, and how many rows each has; a concept lies in one partition."""
    parts = [store.read_arrays(CELLS_NAME.format(number)) for number in range(partitions)]
    cell = np.concatenate([np.zeros(0, np.int64), *(part["cell"] for part in parts)])
    count = np.concatenate([np.zeros(0, np.int64), *(part["count"] for part in parts)])
    order = np.argsort(cell)
    return cell[order], count[order]
