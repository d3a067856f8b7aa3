"""Which rows of a pool differ from those of a base, and what of the base's part of a partition still holds.

A row's neighbours are its k nearest by distance and id. Rows that the base has not are new; a row whose neighbour is
gone has lost it. Both search among all rows of their concepts. Any other row keeps its neighbours unless a new row is
nearer.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filtering.core.csr import Int64Array
from filtering.graph.joining import CHOSEN, CHOSEN_BY, BasePart
from filtering.graph.sharded import EDGE, FOUND, Float32Array, Nodes, chosen_neighbours, positions
from filtering.runtime.shuffle import Records, packed

# What a base knows of a row of a shard: the squared distance of its k-th neighbour, infinite where it has fewer, and
# whether it has lost a neighbour.
KNOWN = np.dtype([("row", "<i4"), ("radius", "<f4"), ("lost", "?")])
# An edge of the base that its row, the source, does not choose any more.
DROPPED = np.dtype([("source", "<i8"), ("target", "<i8")])

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Standing:
    """What of a base's part is still there."""

    rows: Bools  # bool (n,), rows that are not gone
    chosen: Bools  # bool (nnz,), edges that the row chose, between rows that are not gone
    lost: Bools  # bool (n,), rows that are not gone and chose one that is


def standing(base: BasePart, gone: Int64Array) -> Standing:
    """Return what of a base's part is there today; `gone`, int64 (g,), are rows that are gone though their shard is."""
    graph = base.graph
    rows, targets = _there(graph.row, gone), _there(graph.indices, gone)
    sources = np.repeat(np.arange(len(graph.row)), np.diff(graph.indptr))
    chosen = ((base.chosen & CHOSEN) > 0) & rows[sources]
    lost = np.zeros(len(graph.row), dtype=bool)
    lost[sources[chosen & ~targets]] = True
    return Standing(rows, chosen & targets, lost)


def radii(base: BasePart, there: Standing, k: int) -> Float32Array:
    """Return the squared distance of the k-th neighbour of each row, float32 (n,), infinite where it has fewer."""
    sources = np.repeat(np.arange(len(there.rows)), np.diff(base.graph.indptr))[there.chosen]
    farthest = np.full(len(there.rows), -1, dtype=np.float32)
    np.maximum.at(farthest, sources, base.graph.distances[there.chosen])
    farthest[np.bincount(sources, minlength=len(there.rows)) < k] = np.inf
    return farthest


def renewed_choice(
    nodes: Nodes,
    base: BasePart | None,
    there: Standing | None,
    found: Records,
    partition_of: npt.NDArray[np.int32],
    k: int,
) -> tuple[Records, npt.NDArray[np.int32], Records]:
    """Return the edges that rows choose and did not, EDGE (m,), the partition of each one's target, and those dropped.

    `nodes` are the partition's rows, `found` is what was found for them, FOUND (f,): all neighbours of rows that
    searched, new rows that are nearer than known neighbours for others. Of a row that has lost a neighbour, what it
    found holds whatever it keeps.
    """
    before = np.zeros(0, FOUND) if base is None or there is None else _chosen_edges(base, there)
    asked = np.unique(found["row"])
    if base is not None and there is not None:
        # Whoever has lost a neighbour and found none has fewer.
        asked = np.union1d(asked, base.graph.row[there.lost])
    before = before[np.isin(before["row"], asked)]
    choice = chosen_neighbours(nodes, np.concatenate([before, found]), k)
    at, column = np.nonzero(choice.ids >= 0)
    added = packed(EDGE, source=nodes.row[at], target=choice.ids[at, column], distance=choice.distances[at, column])
    homes = choice.homes[at, column]
    kept = _pairs_in(added["source"], added["target"], before["row"], before["neighbour"])
    left = _pairs_in(before["row"], before["neighbour"], added["source"], added["target"])
    dropped = packed(DROPPED, source=before["row"][~left], target=before["neighbour"][~left])
    return added[~kept], partition_of[homes[~kept]], dropped


def holding_edges(base: BasePart, there: Standing, gone: Int64Array, dropped: Records) -> Records:
    """Return the edges of a base's part that still hold, EDGE (m,): of which no end is gone, and which none dropped.

    `dropped`, DROPPED (d,), are those of this partition and of all that it shares edges with.
    """
    graph, chosen = base.graph, base.chosen
    sources = np.repeat(np.arange(len(graph.row)), np.diff(graph.indptr))
    row, target = graph.row[sources], graph.indices
    inwards = (chosen & CHOSEN_BY > 0) & there.rows[sources] & _there(target, gone)
    outwards = there.chosen.copy()
    outwards[outwards] = ~_pairs_in(row[outwards], target[outwards], dropped["source"], dropped["target"])
    inwards[inwards] = ~_pairs_in(target[inwards], row[inwards], dropped["source"], dropped["target"])
    left = packed(EDGE, source=row[outwards], target=target[outwards], distance=graph.distances[outwards])
    right = packed(EDGE, source=target[inwards], target=row[inwards], distance=graph.distances[inwards])
    return np.concatenate([left, right])


def _chosen_edges(base: BasePart, there: Standing) -> Records:
    """Return the edges that rows of a base's part chose, FOUND (m,); the homes of their neighbours are not known."""
    graph = base.graph
    row = np.repeat(graph.row, np.diff(graph.indptr))[there.chosen]
    neighbour, distance = graph.indices[there.chosen], graph.distances[there.chosen]
    return packed(FOUND, row=row, home=np.full(len(row), -1), neighbour=neighbour, distance=distance)


def _there(ids: Int64Array, gone: Int64Array) -> Bools:
    found = ids >= 0
    if len(gone):
        found &= positions(gone, ids) < 0
    return np.asarray(found)


def _pairs_in(left: Int64Array, right: Int64Array, others: Int64Array, other_ends: Int64Array) -> Bools:
    """Return which of some pairs of rows are among other pairs, bool (n,)."""
    if len(left) == 0 or len(others) == 0:
        return np.zeros(len(left), dtype=bool)
    known = np.unique(np.concatenate([left, right, others, other_ends]))
    mine, theirs = (
        np.searchsorted(known, one) * len(known) + np.searchsorted(known, other)
        for one, other in ((left, right), (others, other_ends))
    )
    return np.asarray(np.isin(mine, theirs))
