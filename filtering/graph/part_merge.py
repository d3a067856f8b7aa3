"""A base's part of a partition, renewed: its sorted edges are merged with the few that come and go.

Rows and neighbours that stay keep their order from run to run, so one pass over a part writes the next.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from filtering.core.csr import Int64Array, row_pointers
from filtering.graph.joining import CHOSEN, CHOSEN_BY, BasePart
from filtering.graph.renewal import Standing, places_before
from filtering.graph.sharded import Float32Array, Nodes, ShardGraph, positions
from filtering.runtime.shuffle import Records

Bools = npt.NDArray[np.bool_]
UInt8Array = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class RenewedPart:
    """A renewed part, as `joining.joined_part` returns it, and whether it is the base's."""

    graph: ShardGraph
    chosen: UInt8Array  # uint8 (nnz,)
    same: bool


def renewed_part(base: BasePart, there: Standing, nodes: Nodes, dropped: Records, added: Records) -> RenewedPart:
    """Return the part of the rows that a partition has today.

    Parameters
    ----------
    base : BasePart
        The base's part. Its rows that stay, and their neighbours that stay, are in the order of their ids today.
    there : Standing
        What of it is still there.
    nodes : Nodes
        The partition's rows today: those of the base that stay, and new ones.
    dropped : DROPPED (d,)
        Edges that their rows do not choose any more, of this partition and of all that it shares edges with.
    added : EDGE (a,)
        Edges that rows choose and did not, and that touch this partition.
    """
    before = places_before(base, there, nodes)
    changes = _changes(nodes, dropped, added)
    size = len(base.graph.indices) + len(changes.target)
    indptr = np.zeros(len(nodes.row) + 1, dtype=np.int64)
    indices, distances = np.empty(size, dtype=np.int64), np.empty(size, dtype=np.float32)
    chosen = np.empty(size, dtype=np.uint8)
    old = (base.graph.indptr, base.graph.indices, base.graph.distances, base.chosen, there.targets)
    more = (changes.starts, changes.target, changes.bit, changes.added, changes.distance)
    edges = _merge(before, *old, *more, indptr, indices, distances, chosen)
    same = bool(edges) and np.array_equal(base.graph.row, nodes.row)
    end = int(indptr[-1])
    graph = ShardGraph(nodes.row, nodes.uid, nodes.concept, indptr, indices[:end], distances[:end])
    return RenewedPart(graph, chosen[:end], same)


@dataclass(frozen=True, slots=True)
class _Changes:
    """Changes of edges, sorted by row and target, what is dropped before what is added.

    Those of row i are at [starts[i], starts[i + 1]).
    """

    starts: Int64Array  # int64 (n + 1,)
    target: Int64Array  # int64 (c,)
    bit: UInt8Array  # uint8 (c,), CHOSEN or CHOSEN_BY
    added: Bools  # bool (c,), else the edge loses the bit
    distance: Float32Array  # float32 (c,), of what is added


def _changes(nodes: Nodes, dropped: Records, added: Records) -> _Changes:
    left = [np.concatenate([edges[name] for edges in (dropped, added)]) for name in ("source", "target")]
    adds = np.arange(len(dropped) + len(added)) >= len(dropped)
    lengths = np.concatenate([np.zeros(len(dropped), dtype=np.float32), added["distance"]])
    found = [positions(nodes.row, ends) for ends in left]
    here = [np.flatnonzero(one >= 0) for one in found]
    row = np.concatenate([one[at] for one, at in zip(found, here, strict=True)])
    target = np.concatenate([left[1 - side][at] for side, at in enumerate(here)])
    bit = np.repeat(np.array([CHOSEN, CHOSEN_BY], dtype=np.uint8), [len(at) for at in here])
    of = np.concatenate(here)
    order = np.lexsort((adds[of], target, row))
    of = of[order]
    return _Changes(row_pointers(row, len(nodes.row)), target[order], bit[order], adds[of], lengths[of])


@njit(cache=True)  # type: ignore[untyped-decorator]
def _merge(
    before: Int64Array,
    old_indptr: Int64Array,
    old_indices: Int64Array,
    old_distances: Float32Array,
    old_chosen: UInt8Array,
    stays: Bools,
    starts: Int64Array,
    targets: Int64Array,
    bits: UInt8Array,
    added: Bools,
    lengths: Float32Array,
    indptr: Int64Array,
    indices: Int64Array,
    distances: Float32Array,
    chosen: UInt8Array,
) -> bool:
    """Write the edges of all rows, and return whether they are those of before; an edge is there while it has a bit."""
    to, same = 0, True
    for row in range(len(before)):
        old, end = 0, 0
        if before[row] >= 0:
            old, end = old_indptr[before[row]], old_indptr[before[row] + 1]
        change, last = starts[row], starts[row + 1]
        while old < end or change < last:
            if old < end and not stays[old]:
                same = False
                old += 1
                continue
            known = old < end and (change == last or old_indices[old] <= targets[change])
            target = old_indices[old] if known else targets[change]
            was = old_chosen[old] if known else np.uint8(0)
            apart, bit = old_distances[old] if known else np.float32(np.inf), was
            while change < last and targets[change] == target:
                if added[change]:
                    bit = np.uint8(bit | bits[change])
                    apart = min(apart, lengths[change])
                else:
                    bit = np.uint8(bit & ~bits[change])
                change += 1
            same = same and bit == was
            if bit:
                indices[to], distances[to], chosen[to] = target, apart, bit
                to += 1
            old += known
        indptr[row + 1] = to
    return same
