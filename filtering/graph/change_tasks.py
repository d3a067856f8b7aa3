"""Tasks that tell how a pool differs from a base's: rows that are new, gone, or have lost a neighbour."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from typing_extensions import TypedDict

from filtering.concepts.artifacts import Assignment, read_assignment
from filtering.concepts.grouping import send_rows
from filtering.concepts.partition import global_rows, shard_and_row
from filtering.core.csr import Int64Array, distinct
from filtering.filters.artifacts import PassingShard
from filtering.graph.renewal import KNOWN, searching, standing
from filtering.graph.sharded import (
    Int32Array,
)
from filtering.graph.tasks import (
    GraphInputs,
    read_base_part,
)
from filtering.runtime.shuffle import Records, packed, read_groups, write_groups
from filtering.storage.store import Store

# By shard, grouped by partition: rows that are gone, and new rows.
GONE_NAME, NEW_NAME = "{}.gone", "{}.new"
# Rows that search, at home, and the concepts in which they do; of rows that are new, and that have lost a neighbour.
ASKING_NAME, ASKED_NAME = "{}.asking", "{}.asked"
LOST_ASKING_NAME, LOST_ASKED_NAME = "{}.lost-asking", "{}.lost-asked"
# By partition: what the base knows of its rows, grouped by shard, and rows that are gone.
KNOWN_NAME, GONE_HERE_NAME = "{:08d}.known", "{:08d}.gone-here.npz"
GONE_ROW = np.dtype([("row", "<i8")])
ASKED_CONCEPT = np.dtype([("concept", "<i4")])
NEW_ROW = np.dtype([("row", "<i8"), ("uid", "S32"), ("concept", "<i4")])


@dataclass(frozen=True, slots=True)
class Renewing:
    """What the tasks that renew a graph read."""

    inputs: GraphInputs
    base_concepts: Store  # the base's concepts stage
    partition_of: Sequence[int]  # the partition of each concept
    most: int  # concepts of a row, at most


class Asked(TypedDict):
    """The partitions in which rows of a shard search, those in which these are at home, and how many in each."""

    asked: list[int]
    homes: list[int]
    rows: list[int]


class ChangedRows(Asked):
    """Besides: the partitions of a shard's rows that are gone, and those of its new rows."""

    gone: list[int]
    new: list[int]


class KnownRows(TypedDict):
    """The shards of a partition's rows that have to search, and whether a row, neighbour or spare one is gone."""

    searching: list[int]
    gone: bool


def find_gone(identity: str, work: Renewing) -> list[int]:
    """Return the partitions in which a shard of the base that is gone had rows at home."""
    return _partitions(read_assignment(work.base_concepts, identity).concept, work)


def find_changed(shard: PassingShard, known: bool, work: Renewing, store: Store) -> ChangedRows:
    """Send a shard's rows that the base does not have to where they search, and to their partitions.

    Also those that the base has and that are gone. `known` where the base has the shard.
    """
    assigned = read_assignment(work.inputs.concepts, shard.identity)
    before = read_assignment(work.base_concepts, shard.identity) if known else None
    new, gone = np.ones(len(assigned.row), dtype=bool), list[int]()
    if before is not None:
        new = ~np.isin(assigned.row, before.row)
        gone = _send_gone(shard, before, assigned, work, store)
    asked = _send_asking(shard, assigned, new, new, (ASKING_NAME, ASKED_NAME), work, store)
    rows, homes = assigned.row[new], assigned.concept[new]
    records = packed(NEW_ROW, row=global_rows(shard.index, rows), uid=shard.uids(rows), concept=homes)
    partitions = np.array(work.partition_of, np.int32)[homes]
    sent = write_groups(store, NEW_NAME.format(shard.identity), partitions, NEW_ROW, records.__getitem__)
    return ChangedRows(gone=gone, new=sent, **asked)


def _send_gone(shard: PassingShard, before: Assignment, now: Assignment, work: Renewing, store: Store) -> list[int]:
    gone = ~np.isin(before.row, now.row)
    records = packed(GONE_ROW, row=global_rows(shard.index, before.row[gone]))
    partitions = np.array(work.partition_of, np.int32)[before.concept[gone]]
    return write_groups(store, GONE_NAME.format(shard.identity), partitions, GONE_ROW, records.__getitem__)


def _send_asking(
    shard: PassingShard,
    assigned: Assignment,
    asking: npt.NDArray[np.bool_],
    new: npt.NDArray[np.bool_],
    names: tuple[str, str],
    work: Renewing,
    store: Store,
) -> Asked:
    """Send rows that search to where they are at home, and the concepts in which they search to their partitions."""
    if not asking.any():
        return Asked(asked=[], homes=[], rows=[])
    partition_of, (rows, told) = np.array(work.partition_of, np.int32), (one.format(shard.identity) for one in names)
    sent = send_rows(shard, assigned, asking, new, partition_of, work.most, rows, store, once=True)
    member, concept = assigned.members
    concepts = packed(ASKED_CONCEPT, concept=distinct(concept[asking[member]]))
    asked = write_groups(store, told, partition_of[concepts["concept"]], ASKED_CONCEPT, concepts.__getitem__)
    return Asked(asked=asked, homes=sent.partitions, rows=sent.rows)


def tell_known(
    partition: int, near: Sequence[int], gone_names: Sequence[str], work: Renewing, store: Store
) -> KnownRows:
    """Tell the shards what the base knows of a partition's rows; `near` are it and those that it shares edges with."""
    base = read_base_part(store, partition, work.inputs.k)
    gone = _gone_rows(near, gone_names, store)
    if base is None:
        return KnownRows(searching=[], gone=False)
    if len(gone):
        store.write_arrays(GONE_HERE_NAME.format(partition), {"row": gone})
    there = standing(base, gone)
    row, searches = base.graph.row[there.rows], searching(base, there, work.inputs.k)[there.rows]
    shards = shard_and_row(row)[0]
    records = packed(KNOWN, row=row, radius=base.spares.reach[there.rows], searches=searches)
    write_groups(store, KNOWN_NAME.format(partition), shards, KNOWN, records.__getitem__)
    # Spare neighbours of a shard that is gone have been forgotten as they were read.
    spare_gone = (base.spares.ids >= 0)[there.rows] & ~there.spares[there.rows]
    gone_here = not there.rows.all() or there.lost.any() or spare_gone.any()
    return KnownRows(searching=distinct(shards[searches]).tolist(), gone=bool(gone_here))


def ask_for_lost(shard: PassingShard, known_names: Sequence[str], work: Renewing, store: Store) -> Asked:
    """Send a shard's rows that have lost neighbours to where they search."""
    assigned = read_assignment(work.inputs.concepts, shard.identity)
    known = known_rows(shard.index, shard.index + 1, known_names, store)
    names = (LOST_ASKING_NAME, LOST_ASKED_NAME)
    lost = np.isin(global_rows(shard.index, assigned.row), known["row"][known["searches"]])
    return _send_asking(shard, assigned, lost, np.zeros(len(lost), dtype=bool), names, work, store)


def known_rows(first: int, last: int, names: Sequence[str], store: Store) -> Records:
    """Return what the base knows of the rows of the shards [first, last), KNOWN (n,), as far as it has been told."""
    found = read_groups(store, names, first, last) if names else None
    return np.zeros(0, KNOWN) if found is None else found


def _gone_rows(near: Sequence[int], names: Sequence[str], store: Store) -> Int64Array:
    groups = [read_groups(store, names, number) for number in near] if names else []
    return np.concatenate([np.zeros(0, np.int64), *(group["row"] for group in groups if group is not None)])


def _partitions(concepts: Int32Array, work: Renewing) -> list[int]:
    found: list[int] = np.unique(np.array(work.partition_of, np.int32)[concepts]).tolist()
    return found
