"""Which samples show best what became of a concept, and which repeat each other: arrays in, places out."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filtering.core.csr import Int64Array, KnnGraph
from filtering.graph.components import Components
from filtering.graph.sharded import ShardGraph, positions

Float64Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Examples:
    """Some samples of one concept, places int64 in the concept.

    Attributes
    ----------
    kept : the first picks
    dropped : samples that were left out, highest score first
    hardest, easiest : samples of highest and of lowest score
    """

    kept: Int64Array
    dropped: Int64Array
    hardest: Int64Array
    easiest: Int64Array


def concept_examples(scores: Float64Array, ranks: Int64Array, eligible: Mask, most: int) -> Examples:
    """Choose examples among the n samples of a concept, at most `most` of each sort.

    Parameters
    ----------
    scores : float64 (n,)
        What they were judged by; NaN where an earlier step had left them out.
    ranks : int64 (n,)
        Their place among the picks, -1 where they are not kept.
    eligible : bool (n,)
        Those to prefer: their pictures can be shown.
    """
    everyone, kept = np.arange(len(scores)), ranks >= 0
    scored = everyone[np.isfinite(scores)]
    falling = -np.nan_to_num(scores, nan=-np.inf)
    return Examples(
        _first(everyone[kept], eligible, ranks, most),
        _first(everyone[~kept], eligible, falling, most),
        _first(scored, eligible, falling, most),
        _first(scored, eligible, -falling, most),
    )


def covering_neighbours(graph: KnnGraph, kept: Mask) -> tuple[Int64Array, Float64Array]:
    """Return the nearest kept neighbour of each node, int64 (n,), -1 where there is none, and the cosine to it.

    Parameters
    ----------
    graph : KnnGraph
        The edges inside a concept, squared Euclidean distances of unit vectors.
    kept : bool (n,)
        Which nodes are kept.
    """
    near, cosines = np.full(graph.nodes, -1, dtype=np.int64), np.full(graph.nodes, np.nan)
    sources = np.repeat(np.arange(graph.nodes), graph.degrees)
    there = kept[graph.indices]
    sources, targets, distances = sources[there], graph.indices[there], graph.distances[there]
    order = np.lexsort((targets, distances, sources))
    found, first = np.unique(sources[order], return_index=True)
    near[found] = targets[order][first]
    cosines[found] = cosine(distances[order][first])
    return near, cosines


def near_duplicates(part: ShardGraph, least: float) -> tuple[Mask, Int64Array]:
    """Return which rows of a partition have a near-duplicate, bool (n,), and the group that each row is in, int64 (n,).

    A row without near-duplicates is a group of its own; groups end at the partition's border.

    Parameters
    ----------
    part : ShardGraph
        The partition's part of the graph, n rows.
    least : float
        From which cosine on two rows count as near-duplicates.
    """
    rows = len(part.row)
    near = cosine(part.distances) >= least
    sources = np.repeat(np.arange(rows), np.diff(part.indptr))[near]
    targets = positions(part.row, part.indices[near])
    groups, inside = Components(rows), targets >= 0
    groups.join(sources[inside], targets[inside])
    return np.bincount(sources, minlength=rows) > 0, groups.roots()


def cosine(squared: npt.NDArray[np.float32]) -> Float64Array:
    """Return the cosine of unit vectors at some squared Euclidean distances, float64 (n,)."""
    return 1 - squared.astype(np.float64) / 2


def _first(places: Int64Array, eligible: Mask, key: npt.NDArray[np.generic], most: int) -> Int64Array:
    """Return the places of least key, eligible ones before all others."""
    return places[np.lexsort((places, key[places], ~eligible[places]))[:most]]
