"""SES (structural-entropy-based sample selection, arXiv 2410.02268): importance on a kNN graph, and blue noise.

The encoding tree has two levels under the root, communities and samples; the paper's may have more.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from benchmarks.quality.coreset.data import Int64Array
from filtering.core.csr import KnnGraph, cosines

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Edges:
    """Weighted edges between numbered communities, int64 (m,) rows and columns, in both directions; loops: inside."""

    rows: Int64Array
    columns: Int64Array
    weights: Float64Array


def weights_of(graph: KnnGraph) -> Float64Array:
    """Return edge weights, float64 (nnz,): cosines brought to 0..1."""
    return (1 + cosines(graph.distances)) / 2


def structural_entropies(graph: KnnGraph, weights: Float64Array, communities: Int64Array) -> Float64Array:
    """Return each node's share of the graph's structural entropy, float64 (n,), by the Shapley value.

    S_e(u) of arXiv 2410.02268: 1 / vol(V) * the sum over the edges (u, v) of w_uv * log2 vol(the lowest common ancestor
    of u and v), here the community of both, or the root.

    Parameters
    ----------
    graph, weights : the graph, and its edges' weights, float64 (nnz,).
    communities : int64 (n,), the encoding tree's nodes between the root and the samples.
    """
    rows = np.repeat(np.arange(graph.nodes), graph.degrees)
    volumes = np.bincount(communities[rows], weights, communities.max() + 1)
    inside = communities[rows] == communities[graph.indices]
    ancestors = np.where(inside, volumes[communities[rows]], volumes.sum())
    entropies: Float64Array = np.bincount(rows, weights * np.log2(ancestors), graph.nodes) / volumes.sum()
    return entropies


def communities_of(graph: KnnGraph, weights: Float64Array) -> Int64Array:
    """Return communities, int64 (n,), numbered from 0, that make the structural entropy small.

    From single nodes on: communities that are one another's best partner, the one with which merging lowers the
    two-dimensional structural entropy (Li and Pan 2016) the most, are merged, while any merging lowers it.
    """
    edges = Edges(np.repeat(np.arange(graph.nodes), graph.degrees), graph.indices, weights)
    communities, everything = np.arange(graph.nodes), float(weights.sum())
    while True:
        count = int(communities.max()) + 1
        partners = _partners(edges, count, everything)
        mutual = partners[partners] == np.arange(count)
        joined = np.where(mutual, np.minimum(partners, np.arange(count)), np.arange(count))
        if np.array_equal(joined, np.arange(count)):
            return communities
        numbers = np.unique(joined, return_inverse=True)[1]
        communities, edges = numbers[communities], _merged(edges, numbers)


def blue_noise(
    graph: KnnGraph, weights: Float64Array, importance: Float64Array, kept: Int64Array, budget: int
) -> Int64Array:
    """Return rows, int64 (budget,), by importance-biased blue-noise sampling (arXiv 2410.02268).

    The most important first; a pick rejects the neighbours that are more similar than a threshold: the smallest of the
    edges' weights, by bisection, at which the budget is filled.

    Parameters
    ----------
    importance : float64 (n,); equal ones: the lowest row first.
    kept : int64 (m,), the rows that may be picked, at least the budget.
    """
    order = kept[np.argsort(-importance[kept], kind="stable")]
    thresholds, low = np.unique(weights), 0
    high = len(thresholds) - 1
    while low < high:
        middle = (low + high) // 2
        enough = len(_spaced(graph, weights, order, thresholds[middle], budget)) == budget
        low, high = (low, middle) if enough else (middle + 1, high)
    return _spaced(graph, weights, order, thresholds[high], budget)


def _spaced(graph: KnnGraph, weights: Float64Array, order: Int64Array, threshold: float, budget: int) -> Int64Array:
    rejected, picks = np.zeros(graph.nodes, dtype=bool), np.zeros(budget, dtype=np.int64)
    count = _fill(graph.indptr, graph.indices, weights, order, threshold, rejected, picks)
    return picks[:count]


@njit(cache=True)  # type: ignore[untyped-decorator]
def _fill(
    indptr: Int64Array,
    indices: Int64Array,
    weights: Float64Array,
    order: Int64Array,
    threshold: float,
    rejected: npt.NDArray[np.bool_],
    picks: Int64Array,
) -> int:
    count = 0
    for row in order:
        if rejected[row] or count == len(picks):
            continue
        picks[count] = row
        count += 1
        for edge in range(indptr[row], indptr[row + 1]):
            if weights[edge] > threshold:
                rejected[indices[edge]] = True
    return count


def _partners(edges: Edges, count: int, everything: float) -> Int64Array:
    """Return the community that each of them is best merged with, int64 (count,), and its own number if none is."""
    gains = merging_gains(edges, count, everything)
    best = np.lexsort((edges.columns, -gains, edges.rows))
    firsts = best[np.flatnonzero(np.diff(edges.rows[best], prepend=-1))]
    firsts = firsts[gains[firsts] > 0]
    partners = np.arange(count)
    partners[edges.rows[firsts]] = edges.columns[firsts]
    return partners


def merging_gains(edges: Edges, count: int, everything: float) -> Float64Array:
    """Return what merging the ends of each edge takes from the structural entropy times the volume of everything.

    The entropy is the sum over communities A of in_A log2 vol_A, and over cut edges, in both directions, of w log2
    vol(V), up to what no community changes; in_A is the weight inside, in both directions.
    """
    one, other = edges.rows, edges.columns
    apart = one != other
    volumes = np.bincount(one, edges.weights, count)
    inside = np.bincount(one[~apart], edges.weights[~apart], count)
    logs, both = np.log2(volumes), np.log2(volumes[one] + volumes[other])
    gains: Float64Array = inside[one] * (logs[one] - both) + inside[other] * (logs[other] - both)
    gains += 2 * edges.weights * (np.log2(everything) - both)
    return np.where(apart, gains, -np.inf)


def _merged(edges: Edges, numbers: Int64Array) -> Edges:
    """Return the edges between the communities that the ends have become, those inside included."""
    count = int(numbers.max()) + 1
    keys, places = np.unique(numbers[edges.rows] * count + numbers[edges.columns], return_inverse=True)
    return Edges(keys // count, keys % count, np.bincount(places, edges.weights).astype(np.float64))
