"""The methods of 2023 to 2025 that the others are measured against: DUAL, TDDS, ZCore, InfoMax's objective and SES."""

import numpy as np

from benchmarks.quality.coreset.data import Int64Array
from benchmarks.quality.coreset.dynamics import beta_parameters, dual_scores, tdds_scores
from benchmarks.quality.coreset.entropy import blue_noise, structural_entropies, weights_of
from benchmarks.quality.coreset.infomax import most_information
from benchmarks.quality.coreset.knobs import Knobs
from benchmarks.quality.coreset.pool import Pool, Values
from filtering.config.methods import NoSettings
from filtering.scores.combination import minmax
from filtering.selection.selectors import top_scores

# DUAL's C, and the samples of the highest scores whose mean probability is mu_D.
BETA_TOTAL, ANCHORS = 15.0, 10


def dual(pool: Pool, budget: int, knobs: Knobs, seed: int) -> Int64Array:
    """Draw by DUAL score times the Beta density of the mean probability, which prefers the easy when few are kept.

    Lowest exponential clocks: the same as drawing one after the other without replacement.
    """
    own = pool.own_probabilities[: knobs.looks]
    scores, means = dual_scores(own, knobs.window), own.mean(axis=0)
    anchor = float(means[np.argsort(-scores, kind="stable")[:ANCHORS]].mean())
    alpha, beta = beta_parameters(1 - budget / len(pool), anchor, knobs.exponent, BETA_TOTAL)
    logs = _log(scores) + (alpha - 1) * _log(means) + (beta - 1) * _log(1 - means)
    clocks = np.log(np.random.default_rng(seed).exponential(size=len(pool))) - logs
    return np.argsort(clocks, kind="stable")[:budget]


def tdds(pool: Pool, budget: int, knobs: Knobs, seed: int) -> Int64Array:
    """Keep the highest TDDS scores."""
    scores = tdds_scores(pool.scores.probabilities[: knobs.looks], knobs.window)
    return top_scores(pool.samples(scores), budget, NoSettings())


def zcore(pool: Pool, budget: int, knobs: Knobs, seed: int) -> Int64Array:
    """Keep the highest ZCore scores."""
    return top_scores(pool.samples(pool.zcore), budget, NoSettings())


def infomax(pool: Pool, budget: int, knobs: Knobs, seed: int) -> Int64Array:
    """Maximise EL2N less the similarities among the kept, after the hardest have been dropped."""
    difficulty = pool.scores.el2n.astype(np.float64)
    information = np.full(len(pool), -np.inf)
    rows = pool.survivors(knobs.drop)
    information[rows] = minmax(difficulty, float(difficulty.min()), float(difficulty.max()))[rows]
    return most_information(information, pool.joined(pool.hardness, knobs.k).graph, knobs.alpha, budget)


def ses(pool: Pool, budget: int, knobs: Knobs, seed: int) -> Int64Array:
    """Space samples out on the graph of all, by structural entropy times AUM hardness; the hardest are dropped."""
    graph = pool.joined(pool.hardness, knobs.k).graph
    weights = weights_of(graph)
    entropies = structural_entropies(graph, weights, pool.communities(knobs.k))
    return blue_noise(graph, weights, entropies * pool.hardness, pool.survivors(knobs.drop), budget)


def _log(values: Values) -> Values:
    """Return logarithms, float64, of 0 the least."""
    logs: Values = np.log(np.maximum(values, np.finfo(np.float64).tiny))
    return logs
