"""Which rows of a pool differ from those of a base, and what of the base's part of a partition still holds.

A row's neighbours are its k nearest by distance and id. Rows that the base has not are new; a row whose neighbour is
gone has lost it. Both search among all rows of their concepts. Any other row keeps its neighbours unless a new row is
nearer.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from filtering.core.csr import Int64Array
from filtering.graph.joining import CHOSEN, BasePart
from filtering.graph.sharded import EDGE, FOUND, Float32Array, Neighbours, Nodes, chosen_neighbours, positions
from filtering.runtime.shuffle import Records, packed

# What a base knows of a row, by its global id: the squared distance of its k-th neighbour, infinite where it has fewer,
# and whether it has lost a neighbour.
KNOWN = np.dtype([("row", "<i8"), ("radius", "<f4"), ("lost", "?")])
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


def standing(base: BasePart, gone: Int64Array) -> Standing:
    """Return what of a base's part is there today; `gone`, int64 (g,), are rows that are gone though their shard is."""
    graph = base.graph
    rows, targets = _there(graph.row, gone), _there(graph.indices, gone)
    chosen, lost = np.empty(len(targets), dtype=bool), np.zeros(len(rows), dtype=bool)
    _mark_standing(graph.indptr, base.chosen, rows, targets, chosen, lost)
    return Standing(rows, targets, chosen, lost)


def radii(base: BasePart, there: Standing, k: int) -> Float32Array:
    """Return the squared distance of the k-th neighbour of each row, float32 (n,), infinite where it has fewer."""
    farthest = np.empty(len(there.rows), dtype=np.float32)
    _measure(base.graph.indptr, there.chosen, base.graph.distances, k, farthest)
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
    before = np.zeros(0, FOUND) if base is None or there is None else _choices_before(base, there, found)
    # What a row chose comes first, and is not taken again with a home: that tells new edges.
    choice = chosen_neighbours(nodes, np.concatenate([before, found]), k)
    at, column = np.nonzero(choice.homes >= 0)
    added = packed(EDGE, source=nodes.row[at], target=choice.ids[at, column], distance=choice.distances[at, column])
    left = before[_beyond(before, positions(nodes.row, before["row"]), choice)]
    dropped = packed(DROPPED, source=left["row"], target=left["neighbour"])
    return added, partition_of[choice.homes[at, column]], dropped


def _choices_before(base: BasePart, there: Standing, found: Records) -> Records:
    """Return what rows chose, FOUND (m,), that have found something or lost a neighbour; no neighbour has a home."""
    graph, stayed = base.graph, np.flatnonzero(there.rows)
    # Whoever has lost a neighbour and found none has fewer.
    asked, place = there.lost.copy(), positions(graph.row[stayed], found["row"])
    asked[stayed[place[place >= 0]]] = True
    degrees = np.diff(graph.indptr)
    edges = np.flatnonzero(there.chosen & np.repeat(asked, degrees))
    row = np.repeat(graph.row[asked], degrees[asked])[there.chosen[np.repeat(asked, degrees)]]
    neighbour, distance = graph.indices[edges], graph.distances[edges]
    return packed(FOUND, row=row, home=np.full(len(row), -1), neighbour=neighbour, distance=distance)


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


@njit(cache=True)  # type: ignore[untyped-decorator]
def _measure(indptr: Int64Array, chosen: Bools, distances: Float32Array, k: int, farthest: Float32Array) -> None:
    for row in range(len(farthest)):
        count, last = 0, np.float32(-1)
        for edge in range(indptr[row], indptr[row + 1]):
            if chosen[edge]:
                count += 1
                last = max(last, distances[edge])
        farthest[row] = last if count >= k else np.float32(np.inf)
