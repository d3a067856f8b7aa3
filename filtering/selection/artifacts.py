"""The objects of the selection stages, as the stages after them read them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from filtering.core.csr import Int64Array
from filtering.runtime.shuffle import Records, read_groups
from filtering.storage.store import Store

PICKS_SUFFIX = ".picks"
PICKS_NAME = "{:08d}" + PICKS_SUFFIX
BUDGETS_NAME = "budgets.npz"
# A pick on its way to the manifest of its shard; `row` is the global row id.
PICK = np.dtype([("row", "<i8"), ("concept", "<i4"), ("score", "<f4"), ("rank", "<i8")])
# More shards than any pool has: picks are grouped by shard.
ALL_SHARDS = 1 << 31


@dataclass(frozen=True, slots=True)
class SelectionResult:
    """The result of a step of selection.

    Attributes
    ----------
    picks, available : int
        Samples kept, and samples that reached the step.
    wanted : int
        Samples that the configuration asks for.
    summary : str
        One line for a person.
    total : int or None
        Samples that the step could keep at most; None where named selections were joined.
    selected_concepts : int or None
        Concepts whose order was not taken from a base.
    """

    picks: int
    available: int
    wanted: int
    summary: str
    total: int | None = None
    selected_concepts: int | None = None


@dataclass(frozen=True, slots=True)
class PickFilter:
    """A stage that must have picked a sample.

    Attributes
    ----------
    reason : the reason of a sample that it did not pick, as the manifest spells it.
    store : the folder of its picks.
    """

    reason: str
    store: Store


def read_picks(store: Store, names: Sequence[str], shard: int) -> Records:
    """Return the picks, PICK (n,), of the shard at a place in the inventory, from the named objects."""
    picks = read_groups(store, names, shard)
    return np.zeros(0, PICK) if picks is None else picks


def partition_picks(store: Store, partition: int) -> Records:
    """Return the picks of a partition, PICK (n,); none where it has no object."""
    try:
        picks = read_groups(store, [PICKS_NAME.format(partition)], 0, ALL_SHARDS)
    except FileNotFoundError:
        picks = None
    return np.zeros(0, PICK) if picks is None else picks


def picked_rows(store: Store, partition: int) -> Int64Array:
    """Return the rows of a partition that were picked, global ids, int64 (n,)."""
    return np.ascontiguousarray(partition_picks(store, partition)["row"])
