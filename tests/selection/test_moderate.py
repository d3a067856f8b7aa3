import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtering.config.methods import NoSettings
from filtering.core.csr import KnnGraph
from filtering.core.errors import InputError
from filtering.selection.concept import ConceptSamples
from filtering.selection.moderate import distances_to_median, middle, moderate_coreset


def plain_distances(vectors):
    medians = []
    for column in vectors.T.tolist():
        ordered, half = sorted(column), len(column) // 2
        medians.append(ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2)
    return [math.sqrt(sum((a - b) ** 2 for a, b in zip(row, medians, strict=True))) for row in vectors.tolist()]


def plain_middle(distances, budget):
    order = sorted(range(len(distances)), key=lambda at: (distances[at], at))
    first = (len(order) - budget) // 2
    return order[first : first + budget]


def concept_with(vectors, count):
    nothing = np.zeros(0)
    uids = np.array([f"{at:032x}" for at in range(count)], dtype="S32")
    graph = KnnGraph([0] * (count + 1), [], [])
    borders = nothing.astype(np.int64), nothing.astype(np.float32), nothing
    return ConceptSamples(uids, np.ones(count), graph, *borders, vectors)


@pytest.mark.parametrize(("count", "width"), [(1, 3), (2, 1), (7, 40), (60, 16), (2_500, 5)])
def test_distances_are_those_of_a_plain_loop(count, width):
    vectors = np.random.default_rng(count).normal(size=(count, width)).astype(np.float32)
    vectors[count // 2 :] = vectors[: count - count // 2]
    found = distances_to_median(vectors)
    assert found.dtype == np.float64
    assert np.allclose(found, plain_distances(vectors), rtol=1e-12)


@given(st.lists(st.integers(0, 9), max_size=24))
def test_the_middle_is_that_of_a_plain_loop_and_grows_outwards(distances):
    whole = middle(distances, len(distances))
    assert whole.dtype == np.int64
    for budget in range(len(distances) + 1):
        picks = middle(distances, budget)
        assert sorted(picks.tolist()) == sorted(plain_middle(distances, budget))
        assert np.array_equal(picks, whole[:budget])
    assert np.array_equal(middle(distances, len(distances) + 3), whole)


def test_the_middle_leaves_out_both_ends():
    assert middle([5.0, 1.0, 3.0, 2.0, 4.0], 3).tolist() == [2, 3, 4]
    assert middle([0.0, 0.0, 0.0, 0.0], 2).tolist() == [1, 2]
    assert middle([1.0, 2.0], 1).tolist() == [0]


def test_the_adaptor_picks_by_distance_to_the_median():
    vectors = np.random.default_rng(1).normal(size=(31, 6)).astype(np.float32)
    distances = plain_distances(vectors)
    for budget in (0, 1, 10, 31):
        picks = moderate_coreset(concept_with(vectors, 31), budget, NoSettings())
        assert sorted(picks.tolist()) == sorted(plain_middle(distances, budget))


def test_nothing_gives_nothing():
    assert moderate_coreset(concept_with(np.zeros((0, 4), dtype=np.float32), 0), 0, NoSettings()).shape == (0,)


def test_bad_arguments_are_refused():
    with pytest.raises(InputError, match="vectors"):
        moderate_coreset(concept_with(None, 3), 1, NoSettings())
    with pytest.raises(InputError, match="finite"):
        middle([1.0, math.nan], 1)
    with pytest.raises(InputError, match="finite"):
        moderate_coreset(concept_with(np.full((3, 2), np.inf, dtype=np.float32), 3), 1, NoSettings())
    with pytest.raises(InputError, match="budget"):
        middle([1.0], -1)
