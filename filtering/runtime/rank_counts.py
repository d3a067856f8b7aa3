"""Exact ranks in a pool that no task holds: tasks count their rows by the digits of their keys (`core.radix_select`).

A round runs one counting task for each part of the pool (a shard, a partition), and tasks that add the counts up.
"""

from collections.abc import Callable, Sequence
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from filtering.core.radix_select import DIGIT_VALUES, Digits, digit_counts, find_digit
from filtering.runtime.records import RowCount
from filtering.runtime.shard_groups import grouped, write_shared
from filtering.runtime.stage import StageRun
from filtering.runtime.sums import summed_objects
from filtering.runtime.task_spec import TaskSpec
from filtering.storage.reading import each_arrays
from filtering.storage.store import Store

COUNTS_SUFFIX = ".digits.npz"
COUNTS_NAME = "{}" + COUNTS_SUFFIX

# The counting tasks of a round: the round's name and the digits found so far in, tasks out. Each task's function
# returns what `count_keys` returns, and gives it the name of the task.
CountTasks = Callable[[str, tuple[int, ...]], Sequence[TaskSpec[RowCount]]]


class DigitAtRank(TypedDict):
    """The digit of the key at a rank, the rank of that key among the rows of the digit, and how many those are."""

    digit: int
    rank: int
    rows: int


def key_at_rank(
    stage: StageRun,
    label: str,
    tasks_of: CountTasks,
    rank_of: Callable[[int], int],
    digits: int,
    *,
    unit: str,
    whole: bool = False,
) -> tuple[int, ...]:
    """Return the first digits of the key at a rank of the pool, the greatest key having rank 0.

    `tasks_of` returns the counting tasks of a round, each for one `unit` such as "shards"; `rank_of` the rank, from the
    number of rows that were counted. The counts are in the stage's folder, under names that begin with `label`, which
    is unique in the stage, and end in `COUNTS_SUFFIX`. At most `digits` are found: rows whose keys begin with the same
    ones count as equal. With `whole` all are found, even if fewer separate the row at the rank from the rows after it.

    The digits have 16 bits, the most significant first; the rows at or above them (`at_or_above`) are the rows up to
    the rank, and those equal to it. There are none if no row was counted.
    """
    prefix: tuple[int, ...] = ()
    rank = 0
    for place in range(digits):
        name = f"{label}-digit-{place}"
        tasks = tasks_of(name, prefix)
        rows = sum(counted["rows"] for counted in stage.map(tasks, unit))
        if rows == 0:
            break
        rank = rank if prefix else rank_of(rows)
        names = summed_objects(stage, name, counts_of(tasks), add_counts, COUNTS_SUFFIX)
        found = stage.call(name, digit_at_rank, names, rank, stage.store)
        prefix, rank = (*prefix, found["digit"]), found["rank"]
        if rank == found["rows"] - 1 and not whole:
            break
    return prefix


def counts_of(tasks: Sequence[TaskSpec[RowCount]]) -> list[str]:
    """Return the names of the objects that counting tasks write."""
    return [COUNTS_NAME.format(task.name) for task in grouped(tasks)]


def count_keys(store: Store, task_name: str, keys: Digits, prefix: Sequence[int]) -> RowCount:
    """Count the keys, uint16 (n, r), that begin with `prefix` by their next digit; return how many they are."""
    counts = digit_counts(keys, prefix)
    name = COUNTS_NAME.format(task_name)
    digit = np.flatnonzero(counts)
    write_shared(store, name, (digit, counts[digit]), _write_parts)
    return RowCount(rows=int(counts.sum()))


def _write_parts(store: Store, name: str, parts: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]) -> None:
    """Write the sum of the counts of some shards."""
    counts = np.zeros(DIGIT_VALUES, dtype=np.int64)
    for digit, count in parts:
        counts[digit] += count
    digit = np.flatnonzero(counts)
    store.write_arrays(name, {"digit": digit, "count": counts[digit]})


def summed_counts(store: Store, names: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the sum of the counts that tasks wrote, int64 (65536,)."""
    counts = np.zeros(DIGIT_VALUES, dtype=np.int64)
    for part in each_arrays(store, names):
        counts[part["digit"]] += part["count"]
    return counts


def add_counts(names: Sequence[str], name: str, store: Store) -> None:
    """Write the sum of counts that tasks wrote."""
    counts = summed_counts(store, names)
    digit = np.flatnonzero(counts)
    store.write_arrays(name, {"digit": digit, "count": counts[digit]})


def digit_at_rank(names: Sequence[str], rank: int, store: Store) -> DigitAtRank:
    """Return the digit of the key at a rank, from the counts of a round."""
    counts = summed_counts(store, names)
    digit, within = find_digit(counts, rank)
    return DigitAtRank(digit=digit, rank=within, rows=int(counts[digit]))
