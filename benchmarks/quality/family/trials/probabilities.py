"""Trials of P(right): other features, neighbours and priors; nothing is trained on picks, the truth judges them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.lib.judgement import calibration_error
from benchmarks.lib.tables import Row
from benchmarks.quality.family.trials.arrays import Neighbours, PoolArrays
from filtering.core.csr import Int64Array, row_pointers
from filtering.core.fixed_point import STEPS
from filtering.core.uids import hashed
from filtering.embedding.artifacts import unit_rows, unit_steps
from filtering.scores.agreement import SAME_CAPTION, Int16Array, neighbour_means
from filtering.scores.centred import Float64Array
from filtering.scores.right import FLAT, Calibration, auc, calibrated, cross_fitted, trained
from filtering.scores.right_tasks import FOLDING, derangement, pair_features

QUANTILES = (0.02, 0.05, 0.1, 0.25, 0.75, 0.9)
# Where terms are flat, as quantiles of shuffled pairs: with 0, squares count everywhere but below all of them.
FLATS = (0.0, 0.1, 0.25, 0.75)
# The pairs that fit worst: so many of them, by the centred cosine.
WORST = 0.005
# The share of mismatched pairs in a concept is that of its pairs and of so many like the pool.
PRIOR_PAIRS = 20
# Things of which so few pairs are right are rare.
RARE = 2


@dataclass(frozen=True, slots=True)
class Judged:
    """What a trial says of n pairs; float64 arrays.

    `features` (n, f) are the product's and more; `held_out` has the log odds of observed and of shuffled pairs, (n,)
    each, by the other fold's classifier; `mismatched` is pi.
    """

    features: Float64Array
    held_out: tuple[Float64Array, Float64Array]
    calibration: Calibration
    logits: Float64Array
    probabilities: Float64Array
    mismatched: float


@cache
def default(pool: PoolArrays) -> Judged:
    """Return what the product says, but for rounding."""
    return _judged(pool, _mean_captions(pool))


def concept_priors(pool: PoolArrays) -> Judged:
    """Return P(right) with pi by concept of images (v) and captions (t) as its prior.

    1 - prior = (1 - pi_v) * (1 - pi_t) / (1 - pi)
    """
    found, others = default(pool), derangement(pool.uids)
    images, captions = pool.of_images.concept, pool.of_captions.concept
    pi_v, pi_t = _shares(found, images, images), _shares(found, captions, captions[others])
    pi, p = float(np.clip(found.mismatched, 1e-9, 1 - 1e-9)), found.probabilities
    prior = np.clip(1 - (1 - pi_v) * (1 - pi_t) / (1 - pi), 0, 1)
    moved, against = p * (1 - prior) / (1 - pi), (1 - p) * prior / pi
    p = moved / np.maximum(moved + against, 1e-12)
    return replace(found, probabilities=p, mismatched=float(prior.mean()))


def weighed_neighbours(pool: PoolArrays) -> Judged:
    """Return P(right) where like images count by 1 - exp(-d2 / median)."""
    near = pool.of_images
    return _judged(pool, _weighed_captions(pool, 1 - np.exp(-near.distances / (near.median or 1.0))))


def no_near_images(pool: PoolArrays) -> Judged:
    """Return P(right) where images at most the median of the edges apart are left out of T_i, too."""
    return _judged(pool, _weighed_captions(pool, pool.of_images.distances > pool.of_images.median))


def mean_edge(pool: PoolArrays) -> Judged:
    """Return P(right) with a feature more: log(mean d2 / median) of the neighbours in T_i, 0 where there is none."""
    near, others = pool.of_images, _other_captions(pool)
    edges = np.log(_means(near, near.distances[:, None], others)[:, 0] / (near.median or 1.0) + 1e-3)
    edges[np.bincount(near.sources, others, len(edges)) == 0] = 0
    return _judged(pool, _mean_captions(pool), of_images=[edges])


def caption_length(pool: PoolArrays) -> Judged:
    """Return P(right) with two features more: the words and the characters of the caption."""
    counts = [(len(caption.split()), len(caption)) for caption in pool.captions]
    return _judged(pool, _mean_captions(pool), of_captions=list(np.array(counts, dtype=np.float64).T))


def caption_density(pool: PoolArrays) -> Judged:
    """Return P(right) with a feature more: the logarithm of the mean d2 to the captions nearest to the caption."""
    near = pool.of_captions
    density = np.log(_means(near, near.distances[:, None], np.ones(len(near.sources)))[:, 0] + 1e-4)
    return _judged(pool, _mean_captions(pool), of_captions=[density])


def other_terms(pool: PoolArrays, flat: float) -> Judged:
    """Return P(right) whose squares and products count from another quantile of shuffled pairs up."""
    return _judged(pool, _mean_captions(pool), flat=flat)


def other_quantile(pool: PoolArrays, share: float) -> Judged:
    """Return P(right) with pi = (share of observed pairs with s below a quantile of shuffled ones) / quantile."""
    found = default(pool)
    observed, shuffled = found.held_out
    pi = min(1.0, float((observed < np.quantile(shuffled, share)).mean()) / share)
    p = replace(found.calibration, mismatched=pi).probabilities(found.logits)
    return replace(found, probabilities=p, mismatched=pi)


PROBABILITIES: dict[str, Callable[[PoolArrays], Judged]] = {
    "right": default,
    "right, concept priors": concept_priors,
    "right, weighed neighbours": weighed_neighbours,
    "right, no near images": no_near_images,
    "right, mean edge": mean_edge,
    "right, caption length": caption_length,
    "right, caption density": caption_density,
    **{f"right, flat below {100 * flat:g} %": partial(other_terms, flat=flat) for flat in FLATS},
    **{f"right, pi at {100 * share:g} %": partial(other_quantile, share=share) for share in QUANTILES},
}


def figures(pool: PoolArrays, found: Judged) -> Row:
    """Return how well a trial tells right pairs from wrong ones, and how true it is.

    `pi` is its share of mismatched pairs and `wrong` the true share of wrong ones; `p, rare` is the mean P(right) of
    right pairs of things that have one or two; `p, worst` is that of the pairs that fit worst, and `right, worst` the
    share of them that is right; `no T` is the share of pairs without T_i, and `AUC of T` that of the agreement with
    T_i.
    """
    p, right, agreement = found.probabilities, pool.right, found.features[:, 1]
    _, which, counts = np.unique(pool.thing[right], return_inverse=True, return_counts=True)
    rare, fit = counts[which] <= RARE, found.features[:, 0]
    worst = np.argsort(fit, kind="stable")[: max(round(WORST * len(fit)), 1)]
    return {
        "AUC": round(auc(p[right], p[~right]), 4),
        "ECE": round(calibration_error(p, right), 4),
        "pi": round(found.mismatched, 4),
        "wrong": round(float(1 - right.mean()), 4),
        "p, rare": round(float(p[right][rare].mean()), 3) if rare.any() else None,
        "p, worst": round(float(p[worst].mean()), 3),
        "right, worst": round(float(right[worst].mean()), 3),
        "no T": round(float((agreement == 0).mean()), 3),
        "AUC of T": round(auc(agreement[right], agreement[~right]), 4),
    }


def _judged(
    pool: PoolArrays,
    heard: Int16Array,
    of_images: Sequence[Float64Array] = (),
    of_captions: Sequence[Float64Array] = (),
    flat: float = FLAT,
) -> Judged:
    """Learn P(right) as the product does, from some T_i in steps and, beside its features, some of either side."""
    seen = _plain_means(pool.images, pool.of_captions, pool.of_images.median)
    sides = {"images": pool.images, "texts": pool.texts, "captions": heard, "pictures": seen}
    observed, shuffled = (
        np.column_stack([pair_features(sides, pool.means, order), *of_images, *(one[order] for one in of_captions)])
        for order in (np.arange(len(pool.uids)), derangement(pool.uids))
    )
    held_out = cross_fitted(observed, shuffled, hashed(pool.uids, FOLDING) % 2 == 0, flat)
    calibration, logits = calibrated(*held_out), trained(observed, shuffled, flat).logits(observed)
    p = calibration.probabilities(logits)
    return Judged(observed, held_out, calibration, logits, p, calibration.mismatched)


def _mean_captions(pool: PoolArrays) -> Int16Array:
    return _plain_means(pool.texts, pool.of_images, SAME_CAPTION)


def _plain_means(vectors: npt.NDArray[np.float16], near: Neighbours, limit: float) -> Int16Array:
    own = np.arange(len(vectors))
    return neighbour_means(unit_steps(vectors), own, row_pointers(near.sources, len(own)), near.targets, limit)


def _weighed_captions(pool: PoolArrays, weights: npt.NDArray[Any]) -> Int16Array:
    """Return T_i, in steps, where the neighbours with other captions count by their weights, (m,)."""
    near = pool.of_images
    means = _means(near, unit_rows(pool.texts)[near.targets], weights * _other_captions(pool))
    return np.asarray(np.rint(means * STEPS), dtype=np.int16)


def _other_captions(pool: PoolArrays) -> npt.NDArray[np.bool_]:
    """Return which neighbours of images have another caption, bool (m,)."""
    return pool.of_images.lengths(unit_rows(pool.texts)) > SAME_CAPTION


def _means(near: Neighbours, values: npt.NDArray[Any], weights: npt.NDArray[Any]) -> Float64Array:
    """Return each pair's mean of its neighbours' values, (m, d), by weight, (m,), float64 (n, d); 0 without weight."""
    sums, totals = np.zeros((len(near.concept), values.shape[1])), np.bincount(near.sources, weights, len(near.concept))
    np.add.at(sums, near.sources, values * weights[:, None])
    return sums / np.where(totals > 0, totals, 1)[:, None]


def _shares(found: Judged, of_observed: Int64Array, of_shuffled: Int64Array) -> Float64Array:
    """Return the share of mismatched pairs in each pair's concept, by those of observed and of shuffled pairs."""
    (observed, shuffled), shares = found.held_out, np.empty(len(of_observed))
    for concept in np.unique(of_observed):
        here = of_observed == concept
        below = (observed[here] < np.median(shuffled[of_shuffled == concept])).sum()
        shares[here] = (2 * below + PRIOR_PAIRS * found.mismatched) / (here.sum() + PRIOR_PAIRS)
    return np.minimum(shares, 1.0)
