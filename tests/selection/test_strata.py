import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtering.config.methods import D2Settings, NoSettings, RandomSettings, StrataBudget
from filtering.core.csr import KnnGraph
from filtering.core.errors import InputError
from filtering.graph.knn import knn_graph
from filtering.selection.concept import ConceptSamples, induced
from filtering.selection.selectors import d2_coreset, random_choice, top_scores
from filtering.selection.strata import (
    hardest_share,
    inside_strata,
    picks_by_stratum,
    strata_budgets,
    strata_of,
    stratum_numbers,
)


def plain_strata(scores, count, drop_hardest):
    hardest = sorted(range(len(scores)), key=lambda at: (-scores[at], -at))[: int(len(scores) * drop_hardest)]
    rest = [scores[at] for at in range(len(scores)) if at not in hardest]
    strata = []
    for at, score in enumerate(scores):
        if at in hardest:
            strata.append(-1)
        elif min(rest) == max(rest):
            strata.append(0)
        else:
            strata.append(min(math.floor((score - min(rest)) * count / (max(rest) - min(rest))), count - 1))
    return strata


def plain_budgets(sizes, total):
    budgets = [0] * len(sizes)
    waiting = sorted((size, stratum) for stratum, size in enumerate(sizes) if size)
    left = min(total, sum(sizes))
    while waiting:
        size, stratum = waiting[0]
        budgets[stratum] = min(size, left // len(waiting))
        left -= budgets[stratum]
        waiting = waiting[1:]
    return budgets


def concept_of(scores, points=None):
    count = len(scores)
    graph = KnnGraph([0] * (count + 1), [], []) if points is None else knn_graph(points, 3)
    nothing = np.zeros(0)
    uids = np.array([f"{at:032x}" for at in range(count)], dtype="S32")
    scores = np.asarray(scores, dtype=np.float64)
    return ConceptSamples(uids, scores, graph, nothing.astype(np.int64), nothing.astype(np.float32), nothing)


# Sixteenths, so that the loop and the vectors round alike.
sixteenths = st.integers(-64, 64).map(lambda number: number / 16)


@given(st.lists(sixteenths, max_size=30), st.integers(1, 12), st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]))
def test_strata_are_those_of_a_plain_loop(scores, count, drop_hardest):
    strata = strata_of(scores, count, drop_hardest)
    assert strata.dtype == np.int64
    assert strata.tolist() == plain_strata(scores, count, drop_hardest)


def test_edges_belong_to_the_bin_above_and_the_last_bin_is_closed():
    assert strata_of(np.arange(101), 100, 0.0).tolist() == [*range(100), 99]
    assert strata_of([0.0, 1.0, 2.0, 3.0, 4.0], 2, 0.0).tolist() == [0, 0, 1, 1, 1]


def test_the_range_may_be_given():
    assert stratum_numbers([-7.0, 0.0, 4.9, 5.0, 10.0, 99.0], 0.0, 10.0, 4).tolist() == [0, 0, 1, 2, 3, 3]
    assert stratum_numbers(np.array([1, 2], dtype=np.float32), 3.0, 3.0, 4).tolist() == [0, 0]
    assert stratum_numbers([], 0.0, 1.0, 4).shape == (0,)


def test_of_equally_hard_samples_the_highest_positions_are_dropped():
    assert strata_of([5.0, 5.0, 5.0, 1.0], 2, 0.5).tolist() == [1, -1, -1, 0]
    assert strata_of([2.0, 2.0, 2.0], 50, 0.0).tolist() == [0, 0, 0]
    assert strata_of([2.0, 1.0], 50, 1.0).tolist() == [-1, -1]


@pytest.mark.parametrize("factor", [2.0**-1070, 2.0**-600, 2.0**1000, 2.0**1023])
def test_strata_survive_scores_of_any_size(factor):
    scores = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    assert strata_of(scores * factor, 4, 0.0).tolist() == [0, 1, 2, 3, 3]


@given(st.lists(st.integers(0, 20), max_size=12), st.integers(0, 260))
def test_budgets_are_those_of_a_plain_loop_and_sum_exactly(sizes, total):
    budgets = strata_budgets(sizes, total)
    assert budgets.dtype == np.int64
    assert budgets.tolist() == plain_budgets(sizes, total)
    assert budgets.sum() == min(total, sum(sizes))
    assert (budgets <= np.array(sizes, dtype=np.int64)).all()


def test_small_strata_come_first():
    assert strata_budgets([10, 0, 2, 4], 9).tolist() == [4, 0, 2, 3]
    assert strata_budgets([3, 3, 3], 4).tolist() == [1, 1, 2]


TOP, DRAW, D2 = (
    partial(pick, settings=settings)
    for pick, settings in ((top_scores, NoSettings()), (random_choice, RandomSettings()), (d2_coreset, D2Settings()))
)


@pytest.mark.parametrize("pick", [TOP, DRAW, D2])
@pytest.mark.parametrize("drop_hardest", [0.0, 0.3, 1.0])
def test_sizes_are_exact_and_every_pick_is_another_sample(pick, drop_hardest):
    random = np.random.default_rng(0)
    concept = concept_of(random.random(40), random.normal(size=(40, 3)).astype(np.float32))
    for budget in range(41):
        picks = inside_strata(concept, concept.scores, budget, StrataBudget(strata=5, drop_hardest=drop_hardest), pick)
        assert picks.dtype == np.int64
        assert len(picks) == len(set(picks.tolist())) == budget


def test_picks_are_those_of_each_stratum_in_turn():
    random = np.random.default_rng(1)
    concept = concept_of(random.random(60), random.normal(size=(60, 3)).astype(np.float32))
    settings = StrataBudget(strata=6, drop_hardest=0.1)
    pick = partial(d2_coreset, settings=D2Settings(gamma_forward=0.4, gamma_reverse=0.2))
    strata = strata_of(concept.scores, 6, 0.1)
    budgets = strata_budgets(np.bincount(strata[strata >= 0]), 30)
    ranked = []
    for stratum, budget in enumerate(budgets):
        members = np.flatnonzero(strata == stratum)
        for rank, at in enumerate(pick(induced(concept, members), int(budget))):
            ranked.append((rank / budget, stratum, int(members[at])))
    assert inside_strata(concept, concept.scores, 30, settings, pick).tolist() == [at for _, _, at in sorted(ranked)]


def test_dropped_samples_fill_up_the_least_hard_first():
    concept = concept_of([0.0, 9.0, 8.0, 1.0, 8.0])
    picks = inside_strata(concept, concept.scores, 4, StrataBudget(strata=1, drop_hardest=0.6), TOP)
    assert picks.tolist() == [3, 0, 2, 4]


def test_one_stratum_is_the_selector_itself():
    random = np.random.default_rng(2)
    concept = concept_of(random.random(30), random.normal(size=(30, 3)).astype(np.float32))
    assert np.array_equal(inside_strata(concept, concept.scores, 12, StrataBudget(strata=1), D2), D2(concept, 12))


def test_strata_may_be_given():
    concept = concept_of([1.0, 2.0, 3.0, 4.0, 5.0])
    picks = picks_by_stratum(concept, np.array([0, 2, 0, -1, 2]), np.array([2, 0, 1]), TOP)
    assert picks.tolist() == [2, 4, 0]


def test_nothing_gives_nothing():
    assert strata_of([], 50, 0.5).shape == (0,)
    assert strata_budgets([], 0).shape == (0,)
    assert inside_strata(concept_of([]), [], 0, StrataBudget(), TOP).shape == (0,)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (([1.0, math.nan], 5, 0.0), "finite"),
        (([[1.0]], 5, 0.0), "list"),
        (([1.0], 0, 0.0), "strata"),
        (([1.0], 5, -0.1), "drop_hardest"),
        (([1.0], 5, math.nan), "drop_hardest"),
    ],
)
def test_bad_arguments_are_refused(arguments, named):
    with pytest.raises(InputError, match=named):
        strata_of(*arguments)


def test_negative_totals_are_refused():
    with pytest.raises(InputError, match="negative"):
        strata_budgets([1, 2], -1)


def test_the_hardest_share_of_auto_is_linear_in_the_kept_share():
    assert [hardest_share("auto", total, 1000) for total in (0, 50, 100, 200, 250, 300)] == [
        0.1,
        0.1,
        0.1,
        0.05,
        0.05,
        0.05,
    ]
    assert hardest_share("auto", 150, 1000) == pytest.approx(0.075)
    assert hardest_share("auto", 400, 1000) == pytest.approx(0.025)
    assert [hardest_share("auto", total, 1000) for total in (500, 700, 1000)] == [0.0, 0.0, 0.0]
    assert hardest_share("auto", 0, 0) == 0.1
    assert hardest_share(0.3, 500, 1000) == 0.3


def test_inside_a_concept_the_kept_share_is_the_concepts():
    concept, hardness = concept_of(np.arange(40.0)), np.arange(40.0)
    settings = StrataBudget(strata=1, scope="concept", drop_hardest="auto")
    # A tenth is kept, so that the hardest tenth is dropped.
    assert inside_strata(concept, hardness, 4, settings, TOP).tolist() == [35, 34, 33, 32]
    assert inside_strata(concept, hardness, 20, settings, TOP)[0] == 39
