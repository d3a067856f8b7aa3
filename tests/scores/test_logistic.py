import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from filtering.scores.logistic import logistic_weights


def drawn(seed, rows, terms, apart):
    random = np.random.default_rng(seed)
    answers = random.random(rows) < 0.5
    answers[:2] = [True, False]
    return random.normal(size=(rows, terms)) + apart * answers[:, None] * random.normal(size=terms), answers


@examples(0.3)
@given(st.integers(0, 2**32 - 1), st.integers(4, 80), st.integers(1, 6), st.sampled_from([0.0, 0.5, 3.0, 30.0]))
def test_weights_are_those_of_scikit_learn(seed, rows, terms, apart):
    columns, answers = drawn(seed, rows, terms, apart)
    weights, constant = logistic_weights(columns, answers, 1.0)
    fitted = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-10, max_iter=500).fit(columns, answers)
    assert weights == pytest.approx(fitted.coef_[0], rel=1e-4, abs=1e-5)
    assert constant == pytest.approx(fitted.intercept_[0], rel=1e-4, abs=1e-4)


def test_strength_weighs_the_losses_against_the_penalty():
    columns, answers = drawn(0, 200, 3, 1.0)
    weak, strong = (np.abs(logistic_weights(columns, answers, strength)[0]).sum() for strength in (1e-3, 10.0))
    assert weak < strong / 5


def test_terms_that_repeat_share_the_weight():
    columns, answers = drawn(1, 300, 1, 1.0)
    (one, two), _ = logistic_weights(np.repeat(columns, 2, axis=1), answers, 1.0)
    assert one == pytest.approx(two)


def test_terms_without_spread_have_no_weight():
    answers = np.arange(10) < 5
    weights, constant = logistic_weights(np.zeros((10, 2)), answers, 1.0)
    assert weights.tolist() == [0, 0] and constant == pytest.approx(0)
