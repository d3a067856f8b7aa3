import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtering.scores.combination import mid_ranks, minmax, over_mean, zscores

SCORES = np.array([0.5, -1.0, 2.0, 0.5], dtype=np.float32)


def test_minmax():
    assert minmax(SCORES, -1.0, 2.0).tolist() == [0.5, 0, 1, 0.5]
    assert minmax(SCORES, 3.0, 3.0).tolist() == [0, 0, 0, 0]


def test_zscores():
    assert zscores(SCORES, 0.5, 0.5).tolist() == [0, -3, 3, 0]
    assert zscores(SCORES, 0.5, 0.0).tolist() == [0, 0, 0, 0]


def test_over_mean():
    assert over_mean(SCORES, 0.5).tolist() == [1, -2, 4, 1]
    assert over_mean(SCORES, 0.0).tolist() == [0, 0, 0, 0]


@given(st.lists(st.integers(-5, 5), max_size=30))
def test_mid_ranks_are_those_of_plain_loops(values):
    expected = [(sum(o < v for o in values) + 0.5 * sum(o == v for o in values)) / len(values) for v in values]
    found = mid_ranks(np.array(values, dtype=np.float32))
    assert found.dtype == np.float64
    assert np.allclose(found, expected)
    if values:
        assert found.mean() == pytest.approx(0.5)


def gates_by_descent(alignments, diversities, ratio, steps=4_000, rate=2.0, penalty=4.0):
    """CLIP-powered selection as its paper has it: gradient descent on a gate a sample, all equal at the start.

    The loss is minus the gated means of both scores, over their plain means, plus the distance of the kept share from
    the wanted one; a gate keeps where its sigmoid is above 1/2, and the gradient passes straight through this step.
    """
    count = len(alignments)
    gates = np.zeros(count)
    for _ in range(steps):
        opened = 1 / (1 + np.exp(-gates))
        gradient = -alignments / alignments.mean() / count - 0.1 * diversities / diversities.mean() / count
        gradient += penalty * np.sign((gates > 0).mean() - ratio) / count
        gates -= rate * gradient * opened * (1 - opened)
    return gates


@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.5, 0.9])
def test_the_closed_form_is_what_the_descent_of_the_paper_finds(ratio):
    random = np.random.default_rng(7)
    alignments, diversities = random.normal(0.25, 0.05, 120), random.gamma(2.0, size=120)
    alignments, diversities = (minmax(raw, raw.min(), raw.max()) for raw in (alignments, diversities))
    closed = over_mean(alignments, alignments.mean()) + 0.1 * over_mean(diversities, diversities.mean())
    budget = round(ratio * len(closed))
    gates = gates_by_descent(alignments, diversities, ratio)
    assert set(np.argsort(-gates)[:budget]) == set(np.argsort(-closed)[:budget])
    assert abs((gates > 0).sum() - budget) <= 2
