"""Examples of a concept, the kept neighbours that cover dropped samples, and near-duplicates: arrays in, arrays out."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filtering.core.csr import Int64Array, KnnGraph, cosines
from filtering.graph.components import Components
from filtering.graph.sharded import ShardGraph, positions

Float64Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Examples:
    """Some samples of one concept, int64 positions in the concept."""

    kept: Int64Array  # the first picks
    dropped: Int64Array  # dropped samples, highest score first
    hardest: Int64Array  # hardest, easiest: samples with the highest and with the lowest scores
    easiest: Int64Array


def concept_examples(scores: Float64Array, ranks: Int64Array, eligible: Mask, most: int) -> Examples:
    """Choose examples among the n samples of a concept, at most `most` of each kind, `eligible` ones before all others.

    Scores are float64 (n,), NaN where an earlier step had dropped the sample; ranks among the picks int64 (n,), -1
    where the sample is dropped.
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
    """Return the nearest kept neighbour of each node of a concept, int64 (n,), -1 for none, and the cosine to it."""
    near, alike = np.full(graph.nodes, -1, dtype=np.int64), np.full(graph.nodes, np.nan)
    sources = np.repeat(np.arange(graph.nodes), graph.degrees)
    there = kept[graph.indices]
    sources, targets, distances = sources[there], graph.indices[there], graph.distances[there]
    order = np.lexsort((targets, distances, sources))
    found, first = np.unique(sources[order], return_index=True)
    near[found] = targets[order][first]
    alike[found] = cosines(distances[order][first])
    return near, alike


def near_duplicates(part: ShardGraph, least: float) -> tuple[Mask, Int64Array]:
    """Return which rows of a partition have a near-duplicate, bool (n,), and the group of each row, int64 (n,).

    A row without a neighbour of at least the cosine `least` is its own group; groups end at the partition's border.
    """
    rows = len(part.row)
    near = cosines(part.distances) >= least
    sources = np.repeat(np.arange(rows), np.diff(part.indptr))[near]
    targets = positions(part.row, part.indices[near])
    groups, inside = Components(rows), targets >= 0
    groups.join(sources[inside], targets[inside])
    return np.bincount(sources, minlength=rows) > 0, groups.roots()


def _first(samples: Int64Array, eligible: Mask, key: npt.NDArray[np.generic], most: int) -> Int64Array:
    """Return the samples with the lowest keys, eligible ones before all others."""
    return samples[np.lexsort((samples, key[samples], ~eligible[samples]))[:most]]
