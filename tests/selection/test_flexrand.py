import math
from fractions import Fraction

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from filtering.config.methods import FlexRandSettings
from filtering.core.csr import KnnGraph
from filtering.core.errors import InputError
from filtering.core.uids import random_order
from filtering.selection.concept import ConceptSamples
from filtering.selection.flexrand import flexible_random, flexrand_counts, flexrand_split


def plain_split(ratio, split):
    if split <= Fraction(1, 2):
        easy = min(split, ratio / 2)
        hard = ratio - easy
    else:
        hard = min(1 - split, ratio / 2)
        easy = ratio - hard
    return easy, hard


def nearest(value):
    return math.floor(value + Fraction(1, 2))


def concept_of(scores):
    count, nothing = len(scores), np.zeros(0)
    uids = np.array([f"{at:032x}" for at in range(count)], dtype="S32")
    graph = KnnGraph([0] * (count + 1), [], [])
    borders = nothing.astype(np.int64), nothing.astype(np.float32), nothing
    return ConceptSamples(uids, np.asarray(scores, dtype=np.float64), graph, *borders)


@given(st.integers(0, 100), st.integers(0, 100))
def test_shares_are_those_of_the_paper(ratio, split):
    easy, hard = flexrand_split(ratio / 100, split / 100)
    expected = plain_split(Fraction(ratio, 100), Fraction(split, 100))
    assert easy == pytest.approx(float(expected[0]), abs=1e-12)
    assert hard == pytest.approx(float(expected[1]), abs=1e-12)
    assert easy >= 0
    assert hard >= 0


@examples(2)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 20))
def test_counts_are_exact_and_as_near_as_groups_allow(size, budget, twentieths):
    budget, split = min(budget, size), Fraction(twentieths, 20)
    easy, hard = flexrand_counts(size, budget, float(split))
    group = nearest(split * size)
    wanted = nearest(plain_split(Fraction(budget, max(size, 1)), split)[0] * size)
    # By trial: of all counts the groups can give, the nearest to the wanted one.
    possible = [count for count in range(budget + 1) if count <= group and budget - count <= size - group]
    assert easy + hard == budget
    assert easy == min(possible, key=lambda count: abs(count - wanted))


def test_halves_are_drawn_up_to_the_smaller_group():
    assert flexrand_split(0.4, 0.5) == (0.2, 0.2)
    assert flexrand_split(0.4, 0.1) == (0.1, pytest.approx(0.3))
    assert flexrand_split(0.4, 0.9) == (pytest.approx(0.3), pytest.approx(0.1))
    assert flexrand_counts(100, 40, 0.5) == (20, 20)
    assert flexrand_counts(100, 40, 0.1) == (10, 30)
    assert flexrand_counts(100, 40, 0.9) == (30, 10)
    assert flexrand_counts(100, 7, 0.5) == (4, 3)
    assert flexrand_counts(10_000_001, 3, 0.5) == (2, 1)


@pytest.mark.parametrize("split", [0.0, 0.2, 0.5, 0.8, 1.0])
def test_draws_are_the_first_of_each_group_in_the_order_of_uids_and_seed(split):
    scores = np.random.default_rng(0).integers(0, 6, 41)
    concept = concept_of(scores)
    by_loss = sorted(range(41), key=lambda at: (scores[at], at))
    easy_group = by_loss[: nearest(Fraction(split).limit_denominator(10) * 41)]
    for budget in (0, 1, 10, 30, 41):
        for seed in (0, 7):
            left = dict(zip((True, False), flexrand_counts(41, budget, split), strict=True))
            expected = []
            for at in random_order(concept.uids, seed).tolist():
                if left[at in easy_group]:
                    left[at in easy_group] -= 1
                    expected.append(at)
            picks = flexible_random(concept, budget, FlexRandSettings(split=split, seed=seed))
            assert picks.dtype == np.int64
            assert len(expected) == budget
            assert picks.tolist() == expected


def test_an_empty_concept_gives_no_picks():
    assert flexible_random(concept_of([]), 0, FlexRandSettings()).shape == (0,)


def test_bad_arguments_are_refused():
    for ratio, split, named in ((1.1, 0.5, "ratio"), (math.nan, 0.5, "ratio"), (0.5, -0.1, "split")):
        with pytest.raises(InputError, match=named):
            flexrand_split(ratio, split)
    for size, budget in ((3, 4), (3, -1)):
        with pytest.raises(InputError, match="budget"):
            flexrand_counts(size, budget, 0.5)
