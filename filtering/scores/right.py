"""P(right): how probable it is that an image and its caption belong together, learned without labels.

A logistic regression tells observed pairs from pairs that were shuffled over the whole pool; how many of the observed
pairs look like shuffled ones turns its log odds into a probability.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from filtering.scores.centred import Float64Array
from filtering.scores.logistic import logistic_weights

# L2: the weight of the sum of all losses against half the squared weights.
STRENGTH = 1.0
# Squares and products of features count from this quantile of shuffled pairs up.
FLAT = 0.5
# Fewer pairs teach nothing: all of them count as right.
FEWEST_PAIRS = 64


def terms_of(features: Float64Array, middles: Float64Array) -> Float64Array:
    """Return the terms of features z, float64 (n, f), float64 (n, 2 f + f (f + 1) / 2).

    They are z, h = max(z - middles, 0) and the products of h by twos, squares among them. `middles`, float64 (f,), are
    a quantile of the features of shuffled pairs, `FLAT`. Squares of z itself would rise again far below it, so that the
    worst pairs of all passed for right.
    """
    above = np.maximum(features - middles, 0)
    first, second = np.triu_indices(features.shape[1])
    return np.concatenate([features, above, above[:, first] * above[:, second]], axis=1)


@dataclass(frozen=True, slots=True)
class Classifier:
    """A logistic regression on the terms of standardised features, which are standardised again.

    Of f features and t terms float64 arrays: `centres`, `scales` and, of standardised features, `middles` (f,),
    `term_centres`, `term_scales` and `weights` (t,); `constant` is the intercept.
    """

    centres: Float64Array
    scales: Float64Array
    middles: Float64Array
    term_centres: Float64Array
    term_scales: Float64Array
    weights: Float64Array
    constant: float

    def logits(self, features: Float64Array) -> Float64Array:
        """Return the log odds, float64 (n,), of being observed, not shuffled, of features, float64 (n, f)."""
        terms = terms_of((features - self.centres) / self.scales, self.middles)
        # Term by term: a matrix product may round otherwise on other machines.
        return np.asarray(((terms - self.term_centres) / self.term_scales * self.weights).sum(axis=1) + self.constant)


def trained(observed: Float64Array, shuffled: Float64Array, flat: float = FLAT) -> Classifier:
    """Return the classifier of observed against shuffled pairs, by their features, float64 (n, f) and (m, f).

    Features that are all alike tell nothing: log odds of 0.
    """
    features = np.concatenate([observed, shuffled])
    centres, scales = _standard(features)
    middles = np.quantile((shuffled - centres) / scales, flat, axis=0)
    terms = terms_of((features - centres) / scales, middles)
    term_centres, term_scales = _standard(terms)
    scaled, answers = (terms - term_centres) / term_scales, np.repeat([True, False], [len(observed), len(shuffled)])
    weights, constant = np.zeros(scaled.shape[1]), 0.0
    if scaled.any():
        weights, constant = logistic_weights(scaled, answers, STRENGTH)
    return Classifier(centres, scales, middles, term_centres, term_scales, weights, constant)


def _standard(columns: Float64Array) -> tuple[Float64Array, Float64Array]:
    deviations = columns.std(axis=0)
    return columns.mean(axis=0), np.where(deviations > 0, deviations, 1.0)


def cross_fitted(
    observed: Float64Array, shuffled: Float64Array, folds: npt.NDArray[np.bool_], flat: float = FLAT
) -> tuple[Float64Array, Float64Array]:
    """Return the log odds of observed and of shuffled pairs, float64 (n,) each, by the classifier of the other fold.

    Row i of both, features, float64 (n, f), is in the first or the second fold, bool (n,).
    """
    logits = np.zeros(len(observed)), np.zeros(len(shuffled))
    for fold in (folds, ~folds):
        classifier = trained(observed[~fold], shuffled[~fold], flat)
        for found, features in zip(logits, (observed, shuffled), strict=True):
            found[fold] = classifier.logits(features[fold])
    return logits


@dataclass(frozen=True, slots=True)
class Calibration:
    """The probability that a pair is right, by its log odds.

    `mismatched` is the estimated share of mismatched pairs in the pool. `logits`, float64 (b,), ascend; `shuffled`,
    float64 (b,), is the share of shuffled pairs among as many shuffled as observed ones there, and does not ascend;
    between two of them it is interpolated.
    """

    mismatched: float
    logits: Float64Array
    shuffled: Float64Array

    def probabilities(self, logits: Float64Array) -> Float64Array:
        """Return P(right) = 1 - mismatched * g / (1 - g) in [0, 1], float64 (n,), of log odds, float64 (n,)."""
        if not self.mismatched:
            return np.ones(len(logits))
        share = np.interp(logits, self.logits, self.shuffled)
        with np.errstate(divide="ignore"):
            odds = share / (1 - share)
        return np.clip(1 - self.mismatched * odds, 0, 1)


def calibrated(observed: Float64Array, shuffled: Float64Array) -> Calibration:
    """Return the calibration by the log odds of observed and of shuffled pairs, float64 (n,) each.

    Mismatched pairs are like shuffled ones, of which half are below their median: twice the share of observed pairs
    below it is the share of mismatched ones. g is the antitonic regression of "shuffled" on the log odds.
    """
    # It takes a second to load.
    from sklearn.isotonic import IsotonicRegression

    mismatched = min(1.0, 2 * float((observed < np.median(shuffled)).mean()))
    logits, counts = np.concatenate([observed, shuffled]), [len(observed), len(shuffled)]
    weights = np.repeat([1 / max(count, 1) for count in counts], counts)
    fitted = IsotonicRegression(increasing=False).fit(logits, np.repeat([0.0, 1.0], counts), sample_weight=weights)
    return Calibration(mismatched, fitted.X_thresholds_, fitted.y_thresholds_)


def auc(right: npt.NDArray[Any], wrong: npt.NDArray[Any]) -> float:
    """Return the chance that a right one's score exceeds a wrong one's, ties counted as half; (n,) and (m,)."""
    ordered = np.sort(wrong)
    below = np.searchsorted(ordered, right, "left") + np.searchsorted(ordered, right, "right")
    return float(below.mean()) / 2 / len(wrong)


def term_names(features: int) -> list[str]:
    """Return the names of the terms that `terms_of` makes of features."""
    names, above = ([f"{letter}{at}" for at in range(1, features + 1)] for letter in "zh")
    pairs = zip(*np.triu_indices(features), strict=True)
    return [*names, *above, *(f"{above[one]} * {above[other]}" for one, other in pairs)]
