"""The methods by name. A method takes the pool, how many to keep, its knobs and a seed, and returns rows.

All picking is the package's. Inside classes, with budgets in proportion (the papers' class mode): moderate, DLC with
FlexRand, and D2 as published, supervised. Inside k-means concepts, which need no classes: density-based pruning and D2
self-supervised. Over everything at once: the others. Those of anchors.py have their own picking.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from benchmarks.quality.coreset import anchors
from benchmarks.quality.coreset.data import CLASSES, Int64Array
from benchmarks.quality.coreset.dynamics import dual_scores
from benchmarks.quality.coreset.knobs import Knobs
from benchmarks.quality.coreset.pool import Pool, Values, by_group, rejoined
from filtering.config.methods import D2Settings, FlexRandSettings, NoSettings, RandomSettings, StrataBudget
from filtering.scores.combination import minmax, over_mean
from filtering.scores.distances import same_class_distances
from filtering.selection.budgets import complexity_budgets
from filtering.selection.concept import ConceptSamples
from filtering.selection.flexrand import flexible_random
from filtering.selection.moderate import moderate_coreset
from filtering.selection.selectors import d2_coreset, messages_of, random_choice, top_scores
from filtering.selection.strata import inside_strata

Method = Callable[[Pool, int, Knobs, int], Int64Array]
ScoresOf = Callable[[Pool], Values]
SDS_WEIGHT = 0.1
PAPER: dict[str, Any] = {}
SELF_SCALED: dict[str, Any] = {"scale": "median"}
NORMALISED: dict[str, Any] = {"scale": "median", "messages": "mean"}


def random(pool: Pool, budget: int, knobs: Knobs, seed: int) -> Int64Array:
    """Draw among all."""
    return random_choice(pool.samples(np.zeros(len(pool))), budget, RandomSettings(seed=seed))


def hardest(scores_of: ScoresOf) -> Method:
    """Return the method that keeps the highest scores of all."""
    return lambda pool, budget, knobs, seed: top_scores(pool.samples(scores_of(pool)), budget, NoSettings())


def ccs(pool: Pool, budget: int, knobs: Knobs, seed: int) -> Int64Array:
    """Draw inside strata of AUM hardness."""
    strata, settings = StrataBudget(strata=knobs.strata, drop_hardest=knobs.drop), RandomSettings(seed=seed)
    draw = partial(random_choice, settings=settings)
    return inside_strata(pool.samples(pool.hardness), pool.hardness, budget, strata, draw)


def moderate(pool: Pool, budget: int, knobs: Knobs, seed: int) -> Int64Array:
    """Keep the middle of each class, by the distance of unit-norm features to their median."""
    zeros = np.zeros(len(pool))

    def pick(rows: Int64Array, share: int) -> Int64Array:
        return moderate_coreset(pool.samples(zeros, rows), share, NoSettings())

    return by_group(pool.labels, np.arange(len(pool)), budget, pick)


def dlc_flexrand(pool: Pool, budget: int, knobs: Knobs, seed: int) -> Int64Array:
    """Draw from the easy and the hard of each class, by learning complexity."""
    settings = FlexRandSettings(split=knobs.split, seed=seed)

    def pick(rows: Int64Array, share: int) -> Int64Array:
        return flexible_random(pool.samples(pool.complexity, rows), share, settings)

    return by_group(pool.labels, np.arange(len(pool)), budget, pick)


def clip_powered(pool: Pool, budget: int, knobs: Knobs, seed: int) -> Int64Array:
    """Keep the best sums of alignment and diversity; the class's mean feature stands for CLIP's text of the class."""
    alignment, diversity = np.zeros(len(pool)), np.zeros(len(pool))
    for label in range(CLASSES):
        rows = np.flatnonzero(pool.labels == label)
        centre = pool.vectors[rows].mean(axis=0)
        alignment[rows] = pool.vectors[rows] @ (centre / np.linalg.norm(centre))
        diversity[rows] = same_class_distances(pool.samples(diversity, rows, knobs.k).graph, knobs.k)
    together = _over_mean(alignment) + SDS_WEIGHT * _over_mean(diversity)
    return top_scores(pool.samples(together), budget, NoSettings())


def density(pool: Pool, budget: int, knobs: Knobs, seed: int) -> Int64Array:
    """Keep the farthest from the centroid in each concept; complexity decides how many."""
    sizes = np.bincount(pool.concepts, minlength=len(pool.centroids.vectors))
    budgets = complexity_budgets(sizes, *pool.concept_distances(), budget)
    farthest_first = np.argsort(-pool.prototypicality, kind="stable")
    homes = pool.concepts[farthest_first]
    picks = [farthest_first[homes == concept][:share] for concept, share in enumerate(budgets)]
    return np.concatenate(picks)


def d2(scores_of: ScoresOf, options: Mapping[str, Any] = PAPER, supervised: bool = True) -> Method:
    """Return D2 on these scores, inside classes or concepts, after the hardest have been dropped."""

    def method(pool: Pool, budget: int, knobs: Knobs, seed: int) -> Int64Array:
        settings, scores = D2Settings(gamma_reverse=knobs.gamma, **options), scores_of(pool)

        def pick(rows: Int64Array, share: int) -> Int64Array:
            return d2_coreset(pool.samples(scores, rows, knobs.k), share, settings)

        return by_group(pool.labels if supervised else pool.concepts, pool.survivors(knobs.drop), budget, pick)

    return method


def d2_in_strata(scores_of: ScoresOf) -> Method:
    """Return D2 on these scores inside strata of difficulty, with a self-scaled kernel and mean messages."""

    def method(pool: Pool, budget: int, knobs: Knobs, seed: int) -> Int64Array:
        strata = StrataBudget(strata=knobs.strata, drop_hardest=knobs.drop)
        settings = D2Settings(gamma_reverse=knobs.gamma, **NORMALISED)
        own, scores = knobs.graph == "stratum", scores_of(pool)

        def pick(stratum: ConceptSamples, share: int) -> Int64Array:
            return d2_coreset(rejoined(stratum, knobs.k) if own else stratum, share, settings)

        everything = pool.samples(scores) if own else pool.joined(scores, knobs.k)
        return inside_strata(everything, _difficulties(pool, knobs), budget, strata, pick)

    return method


def _difficulties(pool: Pool, knobs: Knobs) -> Values:
    """Return what strata are of, float64 (n,); see `Knobs.difficulty`."""
    if knobs.difficulty == "score":
        return pool.hardness
    own = pool.own_probabilities[: knobs.looks]
    message = D2Settings(scale="median", messages="mean")
    found: dict[str, Callable[[], Values]] = {
        "message": lambda: messages_of(pool.joined(pool.hardness, knobs.k), message),
        "dual": lambda: dual_scores(own, knobs.window),
        "mean": lambda: 1 - own.mean(axis=0),
    }
    return found[knobs.difficulty]()


def _over_mean(values: Values) -> Values:
    scaled = minmax(values, float(values.min()), float(values.max()))
    return over_mean(scaled, float(scaled.mean()))


METHODS: dict[str, Method] = {
    "random": random,
    "ccs": ccs,
    "d2 in strata": d2_in_strata(lambda pool: np.ones(len(pool))),
    "d2 in strata, hardness": d2_in_strata(lambda pool: pool.hardness),
    "d2": d2(lambda pool: pool.scores.forgetting),
    "d2, self-scaled": d2(lambda pool: pool.hardness, SELF_SCALED),
    "d2, normalised": d2(lambda pool: pool.hardness, NORMALISED),
    "d2, uniform": d2(lambda pool: np.ones(len(pool)), supervised=False),
    "d2, prototypicality": d2(lambda pool: pool.prototypicality, supervised=False),
    "moderate": moderate,
    "dlc + flexrand": dlc_flexrand,
    "clip-powered": clip_powered,
    "density": density,
    "dual": anchors.dual,
    "tdds": anchors.tdds,
    "zcore": anchors.zcore,
    "infomax": anchors.infomax,
    "ses": anchors.ses,
    "el2n": hardest(lambda pool: pool.scores.el2n),
    "forgetting": hardest(lambda pool: pool.scores.forgetting),
    "aum": hardest(lambda pool: pool.hardness),
}
