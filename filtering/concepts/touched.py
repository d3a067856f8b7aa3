"""Tasks that compare concepts with those of a base: which of them changed, and which are searched again."""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from filtering.concepts.artifacts import TOUCHED, Assignment, read_assignment, read_sections
from filtering.concepts.statistics import present_concepts
from filtering.filters.artifacts import PassingShard
from filtering.storage.store import Store

CHANGED = "changed.npz"
SEARCHED_SUFFIX = ".searched.npz"
SEARCHED_NAME = "{}" + SEARCHED_SUFFIX


class ChangedCount(TypedDict):
    """How many concepts have other members than in the base."""

    changed: int


class SearchedCounts(ChangedCount):
    """Besides, how many concepts are searched again."""

    searched: int


def write_changed(new: Sequence[str], gone: Sequence[str], base: Store, store: Store) -> ChangedCount:
    """Write which concepts have other members than in a base.

    `new` are identities of the shards whose rows the base does not have, `gone` of those whose rows only the base has.
    """
    changed = np.zeros(int(read_sections(store).sum()), dtype=bool)
    for folder, identities in ((store, new), (base, gone)):
        for identity in identities:
            changed[present_concepts(folder, identity)] = True
    store.write_arrays(CHANGED, {"changed": changed})
    return ChangedCount(changed=int(changed.sum()))


def rows_searched_again(assigned: Assignment, changed: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return which rows of a shard are members of a changed concept, as home rows or by a replica; bool (n,)."""
    again: npt.NDArray[np.bool_] = changed[assigned.concept]
    again[assigned.replica[changed[assigned.replica_concept]]] = True
    return again


def find_searched(shard: PassingShard, store: Store) -> int:
    """Write all concepts of the rows of a shard that are members of a changed one; return how many rows those are."""
    assigned, changed = read_assignment(store, shard.identity), store.read_arrays(CHANGED)["changed"]
    again = rows_searched_again(assigned, changed)
    both = assigned.concept[again], assigned.replica_concept[again[assigned.replica]]
    store.write_arrays(SEARCHED_NAME.format(shard.identity), {"searched": np.unique(np.concatenate(both))})
    return int(again.sum())


def merge_searched(identities: Sequence[str], target: str, store: Store) -> int:
    """Write the concepts of several shards that are searched again as those of one, `target`; return their number."""
    parts = [store.read_arrays(SEARCHED_NAME.format(identity))["searched"] for identity in identities]
    searched = np.unique(np.concatenate(parts))
    store.write_arrays(SEARCHED_NAME.format(target), {"searched": searched})
    return len(searched)


def join_searched(identities: Sequence[str], store: Store) -> SearchedCounts:
    """Write `TOUCHED` from the concepts of all shards that are searched again."""
    changed = store.read_arrays(CHANGED)["changed"]
    # A concept that lost its last row is searched too, so that its part of the base is not reused.
    searched = changed.copy()
    for identity in identities:
        searched[store.read_arrays(SEARCHED_NAME.format(identity))["searched"]] = True
    store.write_arrays(TOUCHED, {"changed": changed, "searched": searched})
    return SearchedCounts(changed=int(changed.sum()), searched=int(searched.sum()))
