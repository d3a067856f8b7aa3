"""The tasks that renew a partition's part of a base's graph: its rows choose again, its edges are joined again."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from filtering.core.csr import Int64Array, distinct
from filtering.graph.change_tasks import GONE_HERE_NAME, NEW_ROW, Renewing
from filtering.graph.joining import BasePart, joined_nodes, joined_part
from filtering.graph.part_merge import RenewedPart, renewed_part
from filtering.graph.renewal import DROPPED, Standing, renewed_choice, standing
from filtering.graph.sharded import (
    EDGE,
    FOUND,
    Nodes,
    PartStatistics,
    statistics,
    to_both_ends,
)
from filtering.graph.spares import read_spares, write_spares
from filtering.graph.tasks import (
    EDGES_NAME,
    NODES_NAME,
    Chosen,
    no_nodes,
    nodes_of,
    read_base_part,
    sent_edges,
    write_nodes,
    write_part,
)
from filtering.runtime.shuffle import Records, packed, read_groups, write_groups
from filtering.storage.store import Store

# By partition: edges that are dropped, and that lead to neighbours which were spare; whoever shares edges reads them.
DROPPED_NAME, PROMOTED_NAME = "{:08d}.dropped.npz", "{:08d}.promoted.npz"


class ChosenAgain(Chosen):
    """Besides: whether any row chose otherwise than in the base, or has other spares; the concepts it searched in."""

    differs: bool
    other_spares: bool
    concepts: int


def choose_again(
    partition: int,
    found_names: Sequence[str],
    new_names: Sequence[str],
    asked_names: Sequence[str],
    work: Renewing,
    store: Store,
) -> ChosenAgain:
    """Let a partition's rows choose among what they had and what was found, and send the edges that are new."""
    base, gone = read_base_part(store, partition, work.inputs.k), _gone_here(store, partition)
    there = None if base is None else standing(base, gone)
    new = read_groups(store, new_names, partition)
    nodes = _nodes_now(base, there, np.zeros(0, NEW_ROW) if new is None else new)
    records = read_groups(store, found_names, partition)
    found = np.zeros(0, FOUND) if records is None else records
    partition_of = np.array(work.partition_of, np.int32)
    choice = renewed_choice(nodes, base, there, found, partition_of, work.inputs.k)
    asked = read_groups(store, asked_names, partition) if asked_names else None
    concepts = 0 if asked is None else len(distinct(np.ascontiguousarray(asked["concept"])))
    moves = len(choice.added) + len(choice.promoted) + len(choice.dropped)
    differs = base is None or there is None or new is not None or not there.rows.all() or moves > 0
    counts = ChosenAgain(to=[], spare=choice.beside.tolist(), differs=differs, other_spares=False, concepts=concepts)
    if differs or base is None or not base.spares.equals(choice.spares):
        write_spares(store, partition, choice.spares)
        counts["other_spares"] = True
    if differs:
        write_nodes(store, NODES_NAME.format(partition), nodes)
        for name, edges in ((DROPPED_NAME, choice.dropped), (PROMOTED_NAME, choice.promoted)):
            store.write_arrays(name.format(partition), {one: edges[one] for one in edges.dtype.names or ()})
        edges, partitions = to_both_ends(choice.added, choice.partitions, partition)
        counts["to"] = write_groups(store, EDGES_NAME.format(partition), partitions, EDGE, edges.__getitem__)
    return counts


def renew(partition: int, senders: Sequence[int], near: Sequence[int], work: Renewing, store: Store) -> PartStatistics:
    """Write a partition's part of the graph from the base's, unless it is the same.

    `senders` are the partitions that sent edges, `near` those, itself among them if so, whose rows chose otherwise.
    """
    base, gone = read_base_part(store, partition, work.inputs.k), _gone_here(store, partition)
    edges, nodes = (
        sent_edges(store, senders, partition),
        nodes_of(store, partition, lambda: base.graph if base else None),
    )
    if base is None:
        part = RenewedPart(*joined_part(nodes, edges), same=False)
    else:
        dropped, promoted = (_told(store, near, *of) for of in ((DROPPED_NAME, DROPPED), (PROMOTED_NAME, EDGE)))
        part = renewed_part(base, standing(base, gone), nodes, dropped, np.concatenate([edges, promoted]))
    # A part is one run's as a whole.
    own = read_spares(store, partition)
    same = part.same and own is None
    if not same:
        write_part(store, partition, part.graph, part.chosen, work.inputs)
    if own is None and base is not None and not same:
        write_spares(store, partition, base.spares)
    return statistics(part.graph, same)


def _nodes_now(base: BasePart | None, there: Standing | None, new: Records) -> Nodes:
    added = Nodes(*(np.ascontiguousarray(new[name]) for name in ("row", "uid", "concept")))
    if base is None or there is None:
        return joined_nodes(no_nodes(), added)
    graph = base.graph
    return joined_nodes(Nodes(graph.row[there.rows], graph.uid[there.rows], graph.concept[there.rows]), added)


def _gone_here(store: Store, partition: int) -> Int64Array:
    return _optional(store, GONE_HERE_NAME.format(partition)).get("row", np.zeros(0, np.int64))


def _told(store: Store, near: Sequence[int], name: str, kind: np.dtype[Any]) -> Records:
    """Return what partitions tell of their edges: those that their rows choose no more, or that were spare."""
    found = [_optional(store, name.format(number)) for number in near]
    return np.concatenate([np.zeros(0, kind), *(packed(kind, **one) for one in found if one)])


def _optional(store: Store, name: str) -> dict[str, npt.NDArray[Any]]:
    try:
        return store.read_arrays(name)
    except FileNotFoundError:
        return {}
