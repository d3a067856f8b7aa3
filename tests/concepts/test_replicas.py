import math
from dataclasses import replace

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from filtering.concepts.nearest import Centroids, nearest_centroids
from filtering.concepts.replicas import (
    MARGIN_BINS,
    NO_CONCEPT,
    NearestConcepts,
    border_margins,
    margin_counts,
    margin_for,
    margin_within,
    needed_margins,
)
from filtering.core.fixed_point import from_steps, in_steps


def unit(random, rows, width):
    points = random.normal(size=(rows, width)).astype(np.float32)
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def margins_of(concepts, distances, vectors):
    """The margins where no spread is known: plain distances."""
    return border_margins(concepts, distances, Centroids.unmoved(vectors, np.zeros(len(vectors), dtype=np.int32)))


def with_spreads(points, spreads):
    return replace(Centroids.unmoved(points, np.zeros(len(points), dtype=np.int32)), spreads=spreads)


@pytest.mark.parametrize("width", [2, 3, 32])
def test_margins_are_distances_to_the_bisecting_hyperplane(width):
    random = np.random.default_rng(width)
    vectors, centroids = (from_steps(in_steps(unit(random, rows, width))) for rows in (100, 9))
    concepts, distances = nearest_centroids(vectors, centroids, 4)
    margins = margins_of(concepts, distances, centroids)
    assert margins.shape == concepts.shape
    assert margins.dtype == np.float32
    for row, point in enumerate(vectors.astype(np.float64)):
        home = centroids[concepts[row, 0]].astype(np.float64)
        for concept, margin in zip(concepts[row, 1:], margins[row, 1:], strict=True):
            other = centroids[concept].astype(np.float64)
            normal = (home - other) / np.linalg.norm(home - other)
            # Mirrored in the hyperplane, the row lies twice its margin away, as far from one centroid as it was from
            # the other.
            mirrored = point - 2 * margin * normal
            assert np.linalg.norm(mirrored - home) == pytest.approx(np.linalg.norm(point - other), abs=1e-5)
            assert np.linalg.norm(mirrored - other) == pytest.approx(np.linalg.norm(point - home), abs=1e-5)
            assert margin == pytest.approx((point - (home + other) / 2) @ normal, abs=1e-5)
    assert (margins[:, 0] == 0).all()
    assert (margins >= 0).all()


def test_a_row_between_two_concepts_has_no_margin():
    centroids = np.eye(2, dtype=np.float32)
    middle = np.full((1, 2), math.sqrt(0.5), dtype=np.float32)
    concepts, distances = nearest_centroids(middle, centroids, 2)
    assert margins_of(concepts, distances, centroids) == pytest.approx(0, abs=1e-6)
    concepts, distances = nearest_centroids(centroids[:1], centroids, 2)
    assert margins_of(concepts, distances, centroids).ravel() == pytest.approx([0, math.sqrt(0.5)], rel=1e-4)


def test_where_there_is_no_concept_the_margin_is_infinite():
    concepts = np.array([[1, 0, NO_CONCEPT], [2, NO_CONCEPT, NO_CONCEPT]], dtype=np.int32)
    distances = np.array([[0.1, 0.5, np.inf], [0.2, np.inf, np.inf]], dtype=np.float32)
    margins = margins_of(concepts, distances, np.eye(3, dtype=np.float32))
    assert np.isinf(margins).tolist() == [[False, False, True], [False, True, True]]
    assert margins[0, 1] == pytest.approx(0.4 / math.sqrt(2), rel=1e-4)


def test_rows_have_replicas_in_loose_concepts_first():
    random = np.random.default_rng(3)
    vectors, points = unit(random, 50, 8), unit(random, 6, 8)
    concepts, distances = nearest_centroids(vectors, points, 4)
    spreads = np.array([0.0, 0.01, 0.1, 0.3, 0.6, 1.0], dtype=np.float32)
    plain = margins_of(concepts, distances, points)
    found = border_margins(concepts, distances, with_spreads(points, spreads))
    widths = np.cbrt(np.maximum(spreads, 1e-3))[concepts]
    assert np.allclose(found, plain / widths, rtol=1e-5)
    assert np.isfinite(found).all()


def test_equal_centroids_have_finite_margins():
    concepts, distances = np.array([[0, 1]], dtype=np.int32), np.full((1, 2), 0.25, dtype=np.float32)
    assert margins_of(concepts, distances, np.ones((2, 1), dtype=np.float32)).tolist() == [[0, 0]]


def test_no_rows_have_no_margins():
    none = np.zeros((0, 3))
    assert margins_of(none.astype(np.int32), none.astype(np.float32), np.eye(3, dtype=np.float32)).shape == (0, 3)


@st.composite
def nearest_concepts(draw, rows):
    """Rows with up to four different concepts each, margins ascending from 0."""
    concepts = np.full((rows, 4), NO_CONCEPT, dtype=np.int32)
    margins = np.full((rows, 4), np.inf, dtype=np.float32)
    for row in range(rows):
        own = draw(st.lists(st.integers(0, 6), min_size=1, max_size=4, unique=True))
        concepts[row, : len(own)] = own
        margins[row, : len(own)] = [0, *sorted(draw(st.integers(0, 20)) / 8 for _ in own[1:])]
    return NearestConcepts(concepts, margins)


@given(st.data(), st.integers(0, 6))
def test_needed_margins_equal_a_loop(data, rows):
    left, right = data.draw(nearest_concepts(rows)), data.draw(nearest_concepts(rows))
    expected = []
    for row in range(rows):
        meetings = [
            float(replicated.margins[row, at])
            for replicated, other in ((left, right), (right, left))
            for at in range(4)
            if replicated.concepts[row, at] == other.concepts[row, 0]
        ]
        expected.append(min(meetings, default=math.inf))
    found = needed_margins(left, right)
    assert found.tolist() == expected
    assert found.dtype == np.float32
    assert needed_margins(right, left).tolist() == expected


def test_rows_of_one_concept_need_no_margin():
    own = NearestConcepts(np.array([[3]], dtype=np.int32), np.zeros((1, 1), dtype=np.float32))
    other = NearestConcepts(np.array([[5]], dtype=np.int32), np.zeros((1, 1), dtype=np.float32))
    assert needed_margins(own, own).tolist() == [0]
    assert needed_margins(own, other).tolist() == [math.inf]


NEEDED = st.lists(st.one_of(st.integers(0, 12).map(lambda n: n / 8), st.just(math.inf)), min_size=1, max_size=60)


@examples(2)
@given(NEEDED, st.floats(0.01, 1))
def test_the_margin_is_the_least_that_reaches_the_recall(needed, recall):
    needed = np.array(needed, dtype=np.float32)
    margin, reached = margin_for(needed, recall)
    if np.isfinite(needed).mean() < recall - 1e-9:
        assert margin == math.inf
        assert reached == np.isfinite(needed).mean()
        return
    assert margin in needed
    assert reached == (needed[np.isfinite(needed)] <= margin).sum() / len(needed)
    assert reached >= recall - 1e-9
    assert (needed < margin).mean() < recall + 1e-9


@pytest.mark.parametrize(
    ("needed", "recall", "expected"),
    [
        ([0, 0, 0, 0], 1.0, (0, 1)),
        ([0, 0.5, 0.25, 0.75], 0.5, (0.25, 0.5)),
        ([0, 0.5, 0.25, 0.75], 0.51, (0.5, 0.75)),
        ([0, 0.5, 0.25, 0.75], 1.0, (0.75, 1)),
        ([0, 0.5, 0.5, 0.5], 0.5, (0.5, 1)),
        ([0, math.inf], 0.5, (0, 0.5)),
        ([0, math.inf], 0.9, (math.inf, 0.5)),
        ([math.inf], 0.5, (math.inf, 0)),
        ([], 0.9, (0, 1)),
    ],
)
def test_margins_of_a_few_pairs(needed, recall, expected):
    assert margin_for(np.array(needed, dtype=np.float32), recall) == expected


@pytest.mark.parametrize(("pairs", "recall"), [(100, 0.55), (100, 0.95), (1_000, 0.95), (100, 0.07), (100, 0.29)])
def test_no_pair_more_than_the_recall_asks_for(pairs, recall):
    needed = np.random.default_rng(0).permutation(pairs).astype(np.float32)
    assert margin_for(needed, recall) == (round(pairs * recall) - 1, recall)


@pytest.mark.parametrize("most", [0, 3, 40, 150, 400])
def test_the_margin_makes_no_more_replicas_than_are_allowed(most):
    margins = np.random.default_rng(3).random((100, 5)).astype(np.float32)
    margins[:, 0], margins[:7, 3] = 0, np.inf
    margin = margin_within(margin_counts(margins), most)
    replicas = margins[:, 1:]
    # A margin of one bin more would make too many.
    assert (replicas < margin).sum() <= most < (replicas < margin + 2 / MARGIN_BINS).sum() or np.isinf(margin)
    assert np.isinf(margin) == (np.isfinite(replicas).sum() <= most)
