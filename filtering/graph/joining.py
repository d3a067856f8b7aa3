"""A partition's part of the sharded graph: one symmetric CSR of all edges that touch its rows, and who chose each."""

import numpy as np
import numpy.typing as npt
from numba import njit

from filtering.core.csr import Int64Array, sorted_edges
from filtering.graph.sharded import Float32Array, Nodes, ShardGraph, positions
from filtering.runtime.shuffle import Records

# Who chose an edge of a row: the row, or its target.
CHOSEN, CHOSEN_BY = 1, 2


def joined_graph(nodes: Nodes, edges: Records) -> ShardGraph:
    """Return the symmetric graph of a partition from every edge that touches one of its rows."""
    return joined_part(nodes, edges)[0]


def joined_part(nodes: Nodes, edges: Records) -> tuple[ShardGraph, npt.NDArray[np.uint8]]:
    """Return the symmetric graph of a partition, and who chose each of its edges, uint8 (nnz,).

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


def chosen_distances(
    graph: ShardGraph, chosen: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64], k: int
) -> Float32Array:
    """Return the distances of what some rows (places) chose, float32 (n, k), ascending; infinite where it is less."""
    found = np.full((len(rows), k), np.inf, dtype=np.float32)
    for at, row in enumerate(rows.tolist()):
        edges = slice(int(graph.indptr[row]), int(graph.indptr[row + 1]))
        lengths = np.sort(graph.distances[edges][(chosen[edges] & CHOSEN) > 0])
        found[at, : len(lengths)] = lengths
    return found


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
