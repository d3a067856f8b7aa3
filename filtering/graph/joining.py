"""A partition's part of the sharded graph, joined from edges, with who chose each edge.

A part is one symmetric CSR of all edges that touch the partition's rows.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from filtering.core.csr import Int64Array, sorted_edges
from filtering.graph.sharded import Float32Array, Nodes, ShardGraph, positions
from filtering.graph.spares import Spares
from filtering.runtime.shuffle import Records

# Who chose an edge of a row: the row, or its target.
CHOSEN, CHOSEN_BY = 1, 2


def joined_part(nodes: Nodes, edges: Records) -> tuple[ShardGraph, npt.NDArray[np.uint8]]:
    """Return the symmetric graph of a partition from every edge that touches it, and who chose each, uint8 (nnz,).

    CHOSEN where the row chose the target, CHOSEN_BY where the target chose the row, or both.
    """
    source, target = (positions(nodes.row, edges[name]) for name in ("source", "target"))
    from_here, to_here = source >= 0, target >= 0
    rows = np.concatenate([source[from_here], target[to_here]])
    columns = np.concatenate([edges["target"][from_here], edges["source"][to_here]])
    lengths = np.concatenate([edges["distance"][from_here], edges["distance"][to_here]])
    indptr, indices, distances = sorted_edges(rows, columns, lengths, len(nodes.row))
    chosen = np.zeros(len(indices), dtype=np.uint8)
    outwards = int(from_here.sum())
    _mark(indptr, indices, rows[:outwards], columns[:outwards], CHOSEN, chosen)
    _mark(indptr, indices, rows[outwards:], columns[outwards:], CHOSEN_BY, chosen)
    return ShardGraph(nodes.row, nodes.uid, nodes.concept, indptr, indices, distances), chosen


def chosen_distances(graph: ShardGraph, chosen: npt.NDArray[np.uint8], rows: Int64Array, k: int) -> Float32Array:
    """Return the distances of what some rows (places) chose, float32 (n, k), ascending; infinite where it is less."""
    found = np.full((len(rows), k), np.inf, dtype=np.float32)
    for at, row in enumerate(rows.tolist()):
        edges = slice(int(graph.indptr[row]), int(graph.indptr[row + 1]))
        lengths = np.sort(graph.distances[edges][(chosen[edges] & CHOSEN) > 0])
        found[at, : len(lengths)] = lengths
    return found


@dataclass(frozen=True, slots=True)
class BasePart:
    """A base's part of a partition: in today's row ids, -1 for rows that are gone, and as `joined_part` returns it."""

    graph: ShardGraph
    chosen: npt.NDArray[np.uint8]
    spares: Spares  # in the order of the graph's rows


def radii(indptr: Int64Array, chosen: npt.NDArray[np.uint8], distances: Float32Array, k: int) -> Float32Array:
    """Return the squared distance of the k-th neighbour that each row chose, float32 (n,), infinite if it has fewer."""
    farthest = np.empty(len(indptr) - 1, dtype=np.float32)
    _measure(indptr, chosen, distances, k, farthest)
    return farthest


def joined_nodes(remaining: Nodes, sent: Nodes) -> Nodes:
    """Return rows of different concepts together, sorted by concept and id."""
    row, uid, concept = (
        np.concatenate([getattr(remaining, name), getattr(sent, name)]) for name in ("row", "uid", "concept")
    )
    order = np.lexsort((row, concept))
    return Nodes(row[order], uid[order], concept[order])


@njit(cache=True)  # type: ignore[untyped-decorator]
def _mark(
    indptr: Int64Array,
    indices: Int64Array,
    rows: Int64Array,
    columns: Int64Array,
    bit: int,
    chosen: npt.NDArray[np.uint8],
) -> None:
    """Set a bit of the edges (row, column), which are there; columns ascend within a row."""
    for edge in range(len(rows)):
        low, high = indptr[rows[edge]], indptr[rows[edge] + 1]
        while low < high:
            middle = (low + high) // 2
            if indices[middle] < columns[edge]:
                low = middle + 1
            else:
                high = middle
        chosen[low] |= bit


@njit(cache=True)  # type: ignore[untyped-decorator]
def _measure(
    indptr: Int64Array, chosen: npt.NDArray[np.uint8], distances: Float32Array, k: int, farthest: Float32Array
) -> None:
    for row in range(len(farthest)):
        count, last = 0, np.float32(-1)
        for edge in range(indptr[row], indptr[row + 1]):
            if chosen[edge] & CHOSEN:
                count += 1
                last = max(last, distances[edge])
        farthest[row] = last if count >= k else np.float32(np.inf)
