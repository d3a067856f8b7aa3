"""The stores that the steps of selection read, and the objects that they leave to the stages after them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from filtering.core.csr import Int64Array
from filtering.filters.artifacts import PassingShard
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
class Pool:
    """The inputs that all steps share: the shards after the filters, and the folders of concepts and graph."""

    shards: Sequence[PassingShard]
    concepts: Store
    graph: Store
    partitions: int


@dataclass(frozen=True, slots=True)
class ScoreStores:
    """The folders of a step's scores: the score that picks, and its second one, which may be the same.

    `wide` says whether one of them is float64; `probable` names the score that picks where it must lie in [0, 1], and
    is empty where any number is a score.
    """

    score: Store
    second: Store
    wide: bool = False
    probable: str = ""


@dataclass(frozen=True, slots=True)
class PreviousResult:
    """A base's picks of the same step, how many it could keep, and the identities of its unchanged shards."""

    store: Store | None  # none where they are damaged
    total: int
    shards: frozenset[str]


@dataclass(frozen=True, slots=True)
class SelectionResult:
    """How many samples a step kept, how many reached it, and how many the configuration asks for.

    `total` is how many it could keep at most, None where named selections were joined; `selected_concepts` counts the
    concepts whose order was not taken from a base; `warnings` are for a person.
    """

    picks: int
    available: int
    wanted: int
    summary: str
    total: int | None = None
    selected_concepts: int | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PickFilter:
    """A stage that must have picked a sample, and the reason of a sample that it did not, as the manifest spells it."""

    reason: str
    store: Store


def read_picks(store: Store, names: Sequence[str], first: int, last: int | None = None) -> Records:
    """Return the picks, PICK (n,), of the shards [first, last) of the inventory, or of one, from the named objects."""
    picks = read_groups(store, names, first, last)
    return np.zeros(0, PICK) if picks is None else picks


def partition_picks(store: Store, partition: int) -> Records:
    """Return the picks of a partition, PICK (n,); none where it has no object."""
    try:
        return read_picks(store, [PICKS_NAME.format(partition)], 0, ALL_SHARDS)
    except FileNotFoundError:
        return np.zeros(0, PICK)


def picked_rows(store: Store, partition: int) -> Int64Array:
    """Return the rows of a partition that were picked, global ids, int64 (n,)."""
    return np.ascontiguousarray(partition_picks(store, partition)["row"])
