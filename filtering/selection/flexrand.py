"""FlexRand (arXiv 2402.05356, with learning complexity): random draws from an easy and a hard group."""

import math

import numpy as np

from filtering.config.methods import FlexRandSettings
from filtering.core.csr import Int64Array
from filtering.core.errors import InputError
from filtering.core.uids import random_order
from filtering.selection.concept import ConceptSamples


def flexible_random(concept: ConceptSamples, budget: int, settings: FlexRandSettings) -> Int64Array:
    """Return FlexRand's draw, int64 (budget,), in the order in which uids and seed draw.

    The `settings.split` share of samples with the lowest scores (ties: the first in the pool) is the easy group, scores
    being losses: higher is harder. `flexrand_counts` says how many samples each group gives.
    """
    size = len(concept.uids)
    easy, hard = flexrand_counts(size, budget, settings.split)
    by_loss = np.argsort(concept.scores, kind="stable")
    is_easy = np.zeros(size, dtype=bool)
    is_easy[by_loss[: _nearest(size * settings.split)]] = True
    drawn = random_order(concept.uids, settings.seed)
    from_easy = is_easy[drawn]
    place = np.where(from_easy, np.cumsum(from_easy), np.cumsum(~from_easy))
    return drawn[place <= np.where(from_easy, easy, hard)]


def flexrand_split(ratio: float, split: float) -> tuple[float, float]:
    """Return which shares of all samples to draw from the easy group and from the hard one.

    For the share r = `ratio` to keep and the share gamma = `split` that counts as easy: up to gamma = 1/2,
    easy = min(gamma, r / 2) and hard = r - easy; beyond, hard = min(1 - gamma, r / 2) and easy = r - hard. InputError
    if either is not in [0, 1].
    """
    for name, value in (("ratio", ratio), ("split", split)):
        if not 0 <= value <= 1:
            raise InputError(f"{name} must lie between 0 and 1, got {value}")
    if split <= 0.5:
        easy = min(split, ratio / 2)
        return easy, ratio - easy
    hard = min(1 - split, ratio / 2)
    return ratio - hard, hard


def flexrand_counts(size: int, budget: int, split: float) -> tuple[int, int]:
    """Return how many of `size` samples to draw from the easy group and from the hard one, in sum the budget exactly.

    `flexrand_split` of budget / size, rounded to the nearest whole numbers (halves to the easy group, which holds
    the nearest number to size * split); the other group gives the samples that a group lacks. InputError if the budget
    is not in [0, size].
    """
    if not 0 <= budget <= size:
        raise InputError(f"budget must lie between 0 and the {size} samples there are, got {budget}")
    share, _ = flexrand_split(budget / max(size, 1), split)
    group = _nearest(size * split)
    easy = min(max(_nearest(share * size), budget - (size - group)), group, budget)
    return easy, budget - easy


def _nearest(value: float) -> int:
    # Halves go up, also those that a division left a digit short.
    return math.floor(value * (1 + 1e-12) + 0.5)
