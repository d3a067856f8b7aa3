import math

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from filtering.scores.right import calibrated, cross_fitted, term_names, terms_of, trained


def test_three_features_have_twelve_terms():
    features = np.arange(6.0).reshape(2, 3)
    terms = terms_of(features, np.array([1.0, 4.5, 2.0]))
    assert terms.shape == (2, 12)
    above = [2.0, 0.0, 3.0]
    assert terms[1].tolist() == [
        *features[1],
        *above,
        *(above[one] * above[other] for one in range(3) for other in range(one, 3)),
    ]
    assert len(term_names(3)) == 12


def labelled(random, count, wrong):
    """Features of observed pairs, a share of which is wrong, and of shuffled ones."""
    right = random.random(count) >= wrong
    observed = random.normal(size=(count, 2)) + np.where(right, 3.0, 0.0)[:, None]
    return observed, random.normal(size=(count, 2)), right


@pytest.mark.parametrize("wrong", [0.0, 0.1, 0.4, 0.7])
def test_the_share_of_mismatched_pairs_and_their_probabilities_are_found_without_labels(wrong):
    random = np.random.default_rng(1)
    observed, shuffled, right = labelled(random, 8_000, wrong)
    logits = cross_fitted(observed, shuffled, random.random(8_000) < 0.5)
    calibration = calibrated(*logits)
    assert calibration.mismatched == pytest.approx(wrong, abs=0.05)
    found = calibration.probabilities(logits[0])
    assert ((found >= 0) & (found <= 1)).all()
    for low, high in ((0, 0.2), (0.2, 0.8), (0.8, 1.01)):
        here = (found >= low) & (found < high)
        if here.sum() > 200:
            assert found[here].mean() == pytest.approx(right[here].mean(), abs=0.08)


@examples(0.2)
@given(st.lists(st.floats(-5, 5), min_size=2, max_size=30), st.lists(st.floats(-5, 5), min_size=2, max_size=30))
def test_probabilities_rise_with_the_log_odds_and_stay_in_their_range(observed, shuffled):
    calibration = calibrated(np.array(observed), np.array(shuffled))
    below = np.mean(np.array(observed) < np.median(shuffled))
    assert calibration.mismatched == min(1.0, 2 * below)
    found = calibration.probabilities(np.linspace(-6, 6, 50))
    assert ((found >= 0) & (found <= 1)).all()
    assert (np.diff(found) >= -1e-12).all()


def test_pairs_that_fit_worse_than_shuffled_ones_are_not_right():
    random = np.random.default_rng(5)
    # Right pairs vary more than shuffled ones, so that the odds of normal distributions rise on either side.
    right = random.random(6_000) >= 0.1
    observed = random.normal(size=(6_000, 2)) * np.where(right, 2.0, 1.0)[:, None] + np.where(right, 5.0, 0.0)[:, None]
    shuffled = random.normal(size=(6_000, 2))
    classifier = trained(observed, shuffled)
    calibration = calibrated(*cross_fitted(observed, shuffled, random.random(6_000) < 0.5))
    worse = np.repeat(np.linspace(0.0, -3.0, 7), 2).reshape(-1, 2)
    assert calibration.probabilities(classifier.logits(worse)).max() < 0.2


def test_held_out_pairs_are_judged_by_the_classifier_of_the_other_fold():
    random = np.random.default_rng(0)
    observed, shuffled, _ = labelled(random, 400, 0.2)
    folds = np.arange(400) % 2 == 0
    logits = cross_fitted(observed, shuffled, folds)
    other = trained(observed[~folds], shuffled[~folds])
    assert logits[0][folds] == pytest.approx(other.logits(observed[folds]))


def test_log_odds_are_those_of_the_formula():
    random = np.random.default_rng(0)
    classifier = trained(*labelled(random, 300, 0.3)[:2])
    features = random.normal(size=(4, 2))
    for row, found in zip(features, classifier.logits(features), strict=True):
        z = [
            (value - centre) / scale
            for value, centre, scale in zip(row, classifier.centres, classifier.scales, strict=True)
        ]
        h = [max(value - middle, 0.0) for value, middle in zip(z, classifier.middles, strict=True)]
        terms = [*z, *h, h[0] * h[0], h[0] * h[1], h[1] * h[1]]
        scaled = [(t - c) / s for t, c, s in zip(terms, classifier.term_centres, classifier.term_scales, strict=True)]
        assert found == pytest.approx(
            sum(map(math.prod, zip(scaled, classifier.weights, strict=True))) + classifier.constant
        )
