"""Which rows of a pool differ from those of a base, and what of the base's part of a partition still holds.

A row's neighbours are its k nearest by distance and id. Rows that the base has not are new; a row whose neighbour is
gone has lost it. New rows search among all rows of their concepts, and so do those that have lost a neighbour and have
no spare one left (`filtering.graph.spares`). Any other row keeps its neighbours unless a new row is nearer.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from filtering.core.csr import Int64Array, distinct
from filtering.core.spare_neighbours import listed_count
from filtering.graph.joining import CHOSEN, BasePart
from filtering.graph.sharded import EDGE, FOUND, Int32Array, Neighbours, Nodes, chosen_neighbours, positions
from filtering.graph.spares import Spares
from filtering.runtime.shuffle import Records, packed

# What a base knows of a row, by its global id: how far its list of neighbours reaches, squared, and whether it has to
# search.
KNOWN = np.dtype([("row", "<i8"), ("radius", "<f4"), ("searches", "?")])
# An edge of the base that its row, the source, does not choose any more.
DROPPED = np.dtype([("source", "<i8"), ("target", "<i8")])

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Standing:
    """What of a base's part is still there."""

    rows: Bools  # bool (n,), rows that are not gone
    targets: Bools  # bool (nnz,), edges whose target is not gone
    chosen: Bools  # bool (nnz,), edges that the row chose, between rows that are not gone
    lost: Bools  # bool (n,), rows that are not gone and chose one that is
    spares: Bools  # bool (n, s), spare neighbours that are not gone, of rows that are not


def standing(base: BasePart, gone: Int64Array) -> Standing:
    """Return what of a base's part is there today; `gone`, int64 (g,), are rows that are gone though their shard is."""
    graph = base.graph
    rows, targets = _there(graph.row, gone), _there(graph.indices, gone)
    chosen, lost = np.empty(len(targets), dtype=bool), np.zeros(len(rows), dtype=bool)
    _mark_standing(graph.indptr, base.chosen, rows, targets, chosen, lost)
    spares = _there(base.spares.ids.ravel(), gone).reshape(base.spares.ids.shape) & rows[:, None]
    return Standing(rows, targets, chosen, lost, spares)


def searching(base: BasePart, there: Standing, k: int) -> Bools:
    """Return which rows, bool (n,), have to search: they have lost a neighbour, and too few spare ones are left.

    A row with a complete list has nothing to find but new rows.
    """
    degrees = np.diff(base.graph.indptr)
    left = np.bincount(np.repeat(np.arange(len(degrees)), degrees)[there.chosen], minlength=len(degrees))
    left += there.spares.sum(axis=1)
    return np.asarray(there.lost & (left < k) & np.isfinite(base.spares.reach))


@dataclass(frozen=True, slots=True)
class Choice:
    """How the rows of a partition choose otherwise than in the base."""

    added: Records  # EDGE (a,), to neighbours that were found
    partitions: Int32Array  # int32 (a,), of their targets
    promoted: Records  # EDGE (p,), to neighbours that were spare ones
    dropped: Records  # DROPPED (d,)
    spares: Spares  # of all rows
    beside: Int32Array  # int32 (b,), the partitions of spare neighbours that were found


def renewed_choice(
    nodes: Nodes, base: BasePart | None, there: Standing | None, found: Records, partition_of: Int32Array, k: int
) -> Choice:
    """Return how rows choose now.

    `nodes` are the partition's rows, `found` is what was found for them, FOUND (f,): all neighbours of rows that
    searched, new rows within the reach of their lists for others.
    """
    known = None if base is None or there is None else _Known(base, there, places_before(base, there, nodes), k)
    asked = np.zeros(0, dtype=bool) if known is None else known.asked(found)
    before, chose = (np.zeros(0, FOUND), np.zeros(0, dtype=bool)) if known is None else known.lists(asked)
    # What a row had comes first, and is not taken again with a home: that tells what is new.
    listed = chosen_neighbours(nodes, np.concatenate([before, found]), listed_count(k))
    if known is not None:
        known.cut(listed)
    choice, spare = listed.divided(k)
    at, column = np.nonzero(choice.homes >= 0)
    added = packed(EDGE, source=nodes.row[at], target=choice.ids[at, column], distance=choice.distances[at, column])
    beyond = _beyond(before, positions(nodes.row, before["row"]), choice)
    up, down = before[~chose & ~beyond], before[chose & beyond]
    spares = Spares(spare.ids, spare.distances)
    return Choice(
        added,
        partition_of[choice.homes[at, column]],
        packed(EDGE, source=up["row"], target=up["neighbour"], distance=up["distance"]),
        packed(DROPPED, source=down["row"], target=down["neighbour"]),
        spares if known is None else known.kept(spares, asked),
        distinct(partition_of[spare.homes[spare.homes >= 0]]),
    )


def places_before(base: BasePart, there: Standing, nodes: Nodes) -> Int64Array:
    """Return where each row stood in a base's part, int64 (n,), -1 where it was not there."""
    stayed = np.flatnonzero(there.rows)
    before = positions(base.graph.row[stayed], nodes.row)
    before[before >= 0] = stayed[before[before >= 0]]
    return before


@dataclass(frozen=True, slots=True)
class _Known:
    """What a base knows of the neighbours of a partition's rows."""

    base: BasePart
    there: Standing
    before: Int64Array  # int64 (n,), where each of today's rows stood
    k: int

    def asked(self, found: Records) -> Bools:
        """Return which rows of the base, bool (b,), choose again: they have found something, or lost a neighbour."""
        asked, stayed = self.there.lost.copy(), np.flatnonzero(self.there.rows)
        place = positions(self.base.graph.row[stayed], found["row"])
        asked[stayed[place[place >= 0]]] = True
        return asked

    def lists(self, asked: Bools) -> tuple[Records, Bools]:
        """Return what is left of the lists of rows that choose again, FOUND (m,) without homes, and what they chose."""
        graph, spares = self.base.graph, self.base.spares
        edges = np.flatnonzero(self.there.chosen & np.repeat(asked, np.diff(graph.indptr)))
        at, column = np.nonzero(self.there.spares & asked[:, None])
        row = np.concatenate([np.searchsorted(graph.indptr, edges, side="right") - 1, at])
        neighbour, distance = (
            np.concatenate([here[edges], far[at, column]])
            for here, far in ((graph.indices, spares.ids), (graph.distances, spares.distances))
        )
        records = packed(FOUND, row=graph.row[row], home=np.full(len(row), -1), neighbour=neighbour, distance=distance)
        return records, np.arange(len(row)) < len(edges)

    def cut(self, listed: Neighbours) -> None:
        """Cut the lists of rows that did not search off where they reach: rows beyond may be farther than others."""
        reach, last = np.full(len(self.before), np.inf, np.float32), np.full(len(self.before), -1)
        limited = self.before >= 0
        limited[limited] = ~searching(self.base, self.there, self.k)[self.before[limited]]
        limits = _last_known(self.base, self.there)
        for limit, of in ((reach, self.base.spares.reach), (last, limits)):
            limit[limited] = of[self.before[limited]]
        reach, last = reach[:, None], last[:, None]
        beyond = (listed.distances > reach) | ((listed.distances == reach) & np.isfinite(reach) & (listed.ids > last))
        listed.ids[beyond], listed.homes[beyond] = -1, -1
        np.copyto(listed.distances, reach, where=beyond)

    def kept(self, chosen: Spares, asked: Bools) -> Spares:
        """Return the spare neighbours of all rows: of those that chose again what they chose, else what is left."""
        same = self.before >= 0
        same[same] = ~asked[self.before[same]]
        old, now = self.base.spares, self.before[same]
        ids, distances = chosen.ids.copy(), chosen.distances.copy()
        ids[same] = np.where(self.there.spares, old.ids, -1)[now]
        distances[same] = old.distances[now]
        return Spares(ids, distances)


def _last_known(base: BasePart, there: Standing) -> Int64Array:
    """Return the largest id of a neighbour that is left as far away as a row's list reaches, int64 (n,), -1 if none."""
    graph, spares, last = base.graph, base.spares, np.full(len(there.rows), -1)
    at = np.repeat(np.arange(len(last)), np.diff(graph.indptr))
    edges = there.chosen & (graph.distances == spares.reach[at])
    np.maximum.at(last, at[edges], graph.indices[edges])
    beside = np.where(there.spares & (spares.distances == spares.reach[:, None]), spares.ids, -1)
    return np.asarray(np.maximum(last, beside.max(axis=1)))


def _beyond(before: Records, row: Int64Array, choice: Neighbours) -> Bools:
    """Return which edges, FOUND (m,), come after the last that their rows, int64 (m,), choose now, bool (m,)."""
    distance, ids = choice.distances[row, -1], choice.ids[row, -1]
    further = (before["distance"] == distance) & (before["neighbour"] > ids)
    return np.asarray((before["distance"] > distance) | further)


def _there(ids: Int64Array, gone: Int64Array) -> Bools:
    found = ids >= 0
    if len(gone):
        found &= positions(gone, ids) < 0
    return np.asarray(found)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _mark_standing(
    indptr: Int64Array,
    chosen_before: npt.NDArray[np.uint8],
    rows: Bools,
    targets: Bools,
    chosen: Bools,
    lost: Bools,
) -> None:
    for row in range(len(rows)):
        for edge in range(indptr[row], indptr[row + 1]):
            chose = rows[row] and (chosen_before[edge] & CHOSEN) > 0
            chosen[edge] = chose and targets[edge]
            lost[row] |= chose and not targets[edge]
