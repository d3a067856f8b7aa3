"""The sharded graph: directed search inside each concept, edges exchanged, one symmetric CSR a partition."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from filtering.concepts.partition import Partition, runs
from filtering.embedding.objects import unit_rows
from filtering.graph.csr import Int64Array, sorted_edges
from filtering.graph.knn import nearest_neighbours

Float32Array = npt.NDArray[np.float32]
# What re-ranking and precise search hold at once (see knn.py).
SEARCH_BYTES = 200 << 20


@dataclass(frozen=True, slots=True)
class DirectedEdges:
    """The k nearest neighbours of a partition's own rows, found among them and their concepts' guests.

    Attributes
    ----------
    row : int64 (n,), global ids of the partition's own rows, sorted by concept and uid.
    uid : bytes S32 (n,).
    concept : int32 (n,).
    neighbours : int64 (n, k), global ids, nearest first, -1 where there is none.
    homes : int32 (n, k), the neighbours' own concepts.
    distances : float32 (n, k), squared Euclidean, infinite where there is no neighbour.
    """

    row: Int64Array
    uid: npt.NDArray[np.bytes_]
    concept: npt.NDArray[np.int32]
    neighbours: Int64Array
    homes: npt.NDArray[np.int32]
    distances: Float32Array


@dataclass(frozen=True, slots=True)
class ShardGraph:
    """One partition's part of the graph: CSR whose neighbours are global row ids.

    Attributes
    ----------
    row : int64 (n,), uid : bytes S32 (n,), concept : int32 (n,)
        The partition's own rows, sorted by concept and uid.
    indptr : int64 (n + 1,)
    indices : int64 (nnz,), global ids, ascending within a row; some lie in other partitions.
    distances : float32 (nnz,), squared Euclidean.
    """

    row: Int64Array
    uid: npt.NDArray[np.bytes_]
    concept: npt.NDArray[np.int32]
    indptr: Int64Array
    indices: Int64Array
    distances: Float32Array


def search_memory_bytes(rows: int, own: int, dimension: int, k: int) -> int:
    """Return the peak of searching and merging a partition, in bytes.

    Parameters
    ----------
    rows, own : int
        Rows with guests, and without.
    dimension, k : int

    Notes
    -----
    float16 vectors twice (read, then sorted), float32 unit vectors and the index's copy of one concept; about 200
    bytes a row for ids and uids; 80 bytes an edge while both directions are sorted; blocks of a fixed size.
    """
    return rows * (12 * dimension + 200) + own * k * 2 * 80 + SEARCH_BYTES


def directed_edges(partition: Partition, k: int) -> DirectedEdges:
    """Return the k nearest neighbours of every own row, exact among its concept's rows and guests.

    A row that is guest in several concepts of the partition is a candidate in each; only own rows search.
    """
    vectors = unit_rows(partition.vectors)
    own = np.flatnonzero(partition.concept == partition.home)
    neighbours = np.full((len(own), k), -1, dtype=np.int64)
    distances = np.full((len(own), k), np.inf, dtype=np.float32)
    homes = np.full((len(own), k), -1, dtype=np.int32)
    at = 0
    for members in runs(partition.concept):
        searching = np.flatnonzero(partition.home[members] == partition.concept[members])
        candidates = vectors[members]
        found, apart = nearest_neighbours(candidates[searching], candidates, searching, k)
        rows = slice(at, at + len(searching))
        at += len(searching)
        here = found >= 0
        neighbours[rows][here] = partition.row[members][found[here]]
        homes[rows][here] = partition.home[members][found[here]]
        distances[rows] = apart
    return DirectedEdges(partition.row[own], partition.uid[own], partition.concept[own], neighbours, homes, distances)


def merged_graph(edges: DirectedEdges, sources: Int64Array, targets: Int64Array, distances: Float32Array) -> ShardGraph:
    """Return the symmetric graph of a partition: its own edges, their reverse, and the edges that come in.

    Parameters
    ----------
    edges : DirectedEdges
        What the partition found itself.
    sources, targets : int64 (m,)
        Global ids of edges found elsewhere whose target is one of the partition's rows.
    distances : float32 (m,)
    """
    found = edges.neighbours.ravel() >= 0
    own_sources = np.repeat(edges.row, edges.neighbours.shape[1])[found]
    own_targets, own_distances = edges.neighbours.ravel()[found], edges.distances.ravel()[found]
    inside = np.isin(own_targets, edges.row)
    rows = np.concatenate([own_sources, own_targets[inside], targets])
    columns = np.concatenate([own_targets, own_sources[inside], sources])
    lengths = np.concatenate([own_distances, own_distances[inside], distances])
    csr = sorted_edges(positions(edges.row, rows), columns, lengths, len(edges.row))
    return ShardGraph(edges.row, edges.uid, edges.concept, *csr)


def positions(known: Int64Array, ids: Int64Array) -> Int64Array:
    """Return where each id stands in `known` (unique, any order); every id must be there."""
    order = np.argsort(known)
    return np.asarray(order[np.searchsorted(known, ids, sorter=order)], dtype=np.int64)


def statistics(graph: ShardGraph) -> dict[str, Any]:
    """Return counts of a partition's graph: nodes, edges (both directions), largest degree, crossing edges."""
    degrees = np.diff(graph.indptr)
    crossing = int((~np.isin(graph.indices, graph.row)).sum())
    return {
        "nodes": len(graph.row),
        "edges": len(graph.indices),
        "largest_degree": int(degrees.max(initial=0)),
        "isolated": int((degrees == 0).sum()),
        "crossing": crossing,
    }
