"""The inputs of a step of selection, in the stores of other stages."""

from collections.abc import Sequence
from dataclasses import dataclass

from filtering.filters.artifacts import PassingShard
from filtering.storage.store import Store


@dataclass(frozen=True, slots=True)
class Pool:
    """The inputs that all steps share.

    Attributes
    ----------
    shards : the pool's shards after the filters.
    concepts, graph : the folders of those stages' objects.
    partitions : how many there are.
    """

    shards: Sequence[PassingShard]
    concepts: Store
    graph: Store
    partitions: int


@dataclass(frozen=True, slots=True)
class ScoreStores:
    """The folders of a step's scores.

    Attributes
    ----------
    score : of the score that picks.
    difficulty : of the stratifying score; the same folder where strata have no score of their own.
    """

    score: Store
    difficulty: Store


@dataclass(frozen=True, slots=True)
class PreviousResult:
    """A base's result of the same step.

    Attributes
    ----------
    store : the folder of its picks.
    total : how many samples it could keep.
    shards : identities of its shards that have not changed.
    """

    store: Store
    total: int
    shards: frozenset[str]
