"""Trials of picks and budgets: which pairs of a pool to keep."""

from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np

from benchmarks.quality.family.trials import probabilities
from benchmarks.quality.family.trials.arrays import PoolArrays
from benchmarks.quality.family.trials.codes import sparse_codes
from benchmarks.quality.family.trials.facility import covering
from filtering.core.clip_score import clip_scores
from filtering.core.csr import Int64Array, KnnGraph
from filtering.embedding.artifacts import unit_rows
from filtering.graph.knn import knn_graph
from filtering.scores.centred import Float32Array, Float64Array
from filtering.scores.combination import mid_ranks
from filtering.selection import novelty
from filtering.selection.budgets import distinct_budgets, proportional_budgets, uniform_budgets

NEIGHBOURS, LONGER = 10, 4
Values = Callable[[PoolArrays], Float64Array]
Graphs = Callable[[PoolArrays], Sequence[KnnGraph]]
# The picks of one concept, by its graph, p, what novelty counts (q), and its budget.
Order = Callable[[KnnGraph, Float64Array, Float64Array, int], Int64Array]
# Each concept's budget, by its distinct right pairs D, its right pairs P, its pairs N, and the pairs to keep.
Budgets = Callable[[Float64Array, Float64Array, Int64Array, int], Int64Array]


def run_probabilities(pool: PoolArrays) -> Float64Array:
    return pool.probabilities


def run_weights(pool: PoolArrays) -> Float64Array:
    return novelty.weights_of(pool.fit)


def run_graphs(pool: PoolArrays) -> list[KnnGraph]:
    return [concept.graph for concept in pool.concepts]


def weighed_picks(graph: KnnGraph, p: Float64Array, q: Float64Array, budget: int) -> Int64Array:
    return novelty.select(graph, p, budget, weights=q)


def kept(
    pool: PoolArrays,
    total: int,
    *,
    right: Values = run_probabilities,
    weights: Values = run_weights,
    weighed_budgets: bool = False,
    budgets: Budgets = distinct_budgets,
    graphs: Graphs = run_graphs,
    order: Order = weighed_picks,
) -> Int64Array:
    """Return the places of the pairs to keep, int64 (total,); as the product does, but for what a trial changes."""
    p, members = right(pool), [concept.members for concept in pool.concepts]
    q, unit = weights(pool), pool.of_images.median or None
    inside = [(p * q if weighed_budgets else p)[places] for places in members]
    distinct = [novelty.distinct_right(*one, unit=unit) for one in zip(run_graphs(pool), inside, strict=True)]
    sums, sizes = np.array([part.sum() for part in inside]), np.array([len(part) for part in inside])
    shares = budgets(np.array(distinct), sums, sizes, total).tolist()
    parts = zip(members, graphs(pool), shares, strict=True)
    return np.concatenate([places[order(graph, p[places], q[places], share)] for places, graph, share in parts])


def no_weights(pool: PoolArrays) -> Float64Array:
    return np.ones(len(pool.uids))


def clip_weights(pool: PoolArrays) -> Float64Array:
    return novelty.weights_of(mid_ranks(clip_scores(unit_rows(pool.images), unit_rows(pool.texts))))


def weighed_throughout(graph: KnnGraph, p: Float64Array, q: Float64Array, budget: int) -> Int64Array:
    return novelty.select(graph, p * q, budget)


def long_unit(graph: KnnGraph, p: Float64Array, q: Float64Array, budget: int) -> Int64Array:
    return novelty.select(graph, p, budget, weights=q, unit=LONGER * novelty.unit_of(graph.distances))


def joint_graphs(pool: PoolArrays) -> list[KnnGraph]:
    """Return each concept's graph by d2 of images + d2 of captions, each over its median between like images."""
    images, texts = unit_rows(pool.images), unit_rows(pool.texts)
    units = [novelty.unit_of(lengths) for lengths in (pool.of_images.distances, pool.of_images.lengths(texts))]
    both = [side / np.float32(unit**0.5) for side, unit in zip((images, texts), units, strict=True)]
    return _graphs(pool, np.concatenate(both, axis=1))


@cache
def code_graphs(pool: PoolArrays) -> list[KnnGraph]:
    """Return each concept's graph by the distances between sparse codes of the images."""
    return _graphs(pool, sparse_codes(unit_rows(pool.images)))


def _graphs(pool: PoolArrays, vectors: Float32Array) -> list[KnnGraph]:
    return [knn_graph(vectors[concept.members], NEIGHBOURS) for concept in pool.concepts]


def within_distinct(
    rule: Callable[[Int64Array, int], Int64Array],
    distinct: Float64Array,
    right: Float64Array,
    sizes: Int64Array,
    total: int,
) -> Int64Array:
    """Return budgets by a rule of at most D, rounded; where D does not reach the total, the product's."""
    most = np.rint(distinct).astype(np.int64)
    return rule(most, total) if total <= most.sum() else distinct_budgets(distinct, right, sizes, total)


PICKS: dict[str, Callable[[PoolArrays, int], Int64Array]] = {
    "default": kept,
    "no fit": partial(kept, weights=no_weights),
    "fit by CLIP score": partial(kept, weights=clip_weights),
    "harm and cover by fit, too": partial(kept, order=weighed_throughout),
    "budgets by weighed p": partial(kept, weighed_budgets=True),
    "facility location": partial(kept, order=covering),
    "images and captions": partial(kept, graphs=joint_graphs),
    "sparse codes": partial(kept, graphs=code_graphs),
    "unit four times as long": partial(kept, order=long_unit),
    "equal budgets": partial(kept, budgets=partial(within_distinct, uniform_budgets)),
    "proportional budgets": partial(kept, budgets=partial(within_distinct, proportional_budgets)),
    "p known": partial(kept, right=lambda pool: pool.right.astype(np.float64)),
    "p by concept priors": partial(kept, right=lambda pool: probabilities.concept_priors(pool).probabilities),
    "p by weighed neighbours": partial(kept, right=lambda pool: probabilities.weighed_neighbours(pool).probabilities),
}
