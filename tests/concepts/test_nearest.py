import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtering.concepts.nearest import (
    FEW_GROUPS,
    CentroidIndex,
    Centroids,
    nearest_centroids,
    offer,
)
from filtering.core.fixed_point import SQUARED_STEPS, in_steps

# Vectors are rounded to steps of 2^-15 before they are compared.
ROUNDED = 5e-5


def unit(random, rows, width):
    points = random.normal(size=(rows, width)).astype(np.float32)
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def brute_force(vectors, centroids, count):
    """The nearest by whole numbers, and half their squared distances."""
    rows, targets = in_steps(vectors).astype(np.int64), in_steps(centroids).astype(np.int64)
    squared = (rows**2).sum(axis=1)[:, None] + (targets**2).sum(axis=1) - 2 * rows @ targets.T
    order = np.argsort(squared, axis=1, kind="stable")[:, :count]
    return order, np.take_along_axis(squared, order, 1) / (2 * SQUARED_STEPS)


def clustered(random, groups, members, width, spread=0.5):
    """Groups of centroids, each around a direction of its own."""
    centres = np.repeat(unit(random, groups, width), members, axis=0)
    points = centres + spread * unit(random, groups * members, width)
    points = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
    return Centroids.unmoved(points, np.repeat(np.arange(groups, dtype=np.int32), members))


def rows_near(random, centroids, rows, spread=0.5):
    points = centroids.vectors[random.integers(0, len(centroids.vectors), rows)]
    points = points + spread * unit(random, rows, points.shape[1])
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("centroids", "count"), [(30, 1), (30, 3), (30, 29), (30, 30), (5, 9), (1, 1)])
def test_a_flat_scan_matches_brute_force(seed, centroids, count):
    random = np.random.default_rng(seed)
    vectors, centres = unit(random, 200, 7), unit(random, centroids, 7)
    concepts, distances = nearest_centroids(vectors, centres, count)
    expected, apart = brute_force(vectors, centres, count)
    assert concepts.dtype == np.int32
    assert distances.dtype == np.float32
    assert concepts.shape == (200, min(count, centroids))
    assert np.array_equal(concepts, expected)
    assert np.allclose(distances, apart, atol=1e-7)


@pytest.mark.parametrize("groups", [1, 2, FEW_GROUPS])
def test_few_groups_are_all_compared(groups):
    random = np.random.default_rng(groups)
    centroids = clustered(random, groups, 5, 8)
    vectors = unit(random, 300, 8)
    concepts, distances = CentroidIndex(centroids).nearest(vectors, 4)
    expected, apart = brute_force(vectors, centroids.vectors, 4)
    assert np.array_equal(concepts, expected)
    assert np.allclose(distances, apart, atol=1e-7)


@given(
    rows=st.lists(st.integers(0, 5), min_size=1, max_size=12),
    targets=st.lists(st.integers(0, 5), min_size=1, max_size=40),
    count=st.integers(1, 6),
    groups=st.integers(1, 40),
)
def test_ties_and_duplicates_match_brute_force(rows, targets, count, groups):
    # Some of the directions differ by one step, and some lie opposite.
    axes = np.eye(6, dtype=np.float32) + np.float32(2**-15) * np.eye(6, k=1, dtype=np.float32)
    axes[4:] = -axes[:2]
    numbers = np.sort(np.arange(len(targets)) % groups).astype(np.int32)
    index = CentroidIndex(Centroids.unmoved(axes[targets], numbers))
    concepts, distances = index.nearest(axes[rows], count)
    expected, apart = brute_force(axes[rows], axes[targets], count)
    if groups <= FEW_GROUPS:
        assert np.array_equal(concepts, expected)
        assert np.array_equal(distances, apart.astype(np.float32))
    else:
        assert (distances >= apart.astype(np.float32)).all()


@pytest.mark.parametrize("seed", range(2))
def test_levels_of_groups_find_the_nearest_of_nearly_all_rows(seed):
    random = np.random.default_rng(seed)
    tops = clustered(random, 30, 30, 32)
    points = tops.vectors.repeat(12, axis=0) + 0.3 * unit(random, 30 * 30 * 12, 32)
    points = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
    groups, middle = np.arange(30 * 30, dtype=np.int32).repeat(12), tops.groups.repeat(12)
    branches = np.stack([middle // 6, middle], axis=1)
    centroids = Centroids.in_groups(in_steps(points), groups, branches)
    vectors = rows_near(random, centroids, 1_500, spread=0.3)
    concepts, distances = CentroidIndex(centroids).nearest(vectors, 3)
    expected, apart = brute_force(vectors, centroids.vectors, 3)
    assert (concepts[:, 0] == expected[:, 0]).mean() >= 0.97
    assert (np.diff(distances, axis=1) >= 0).all()
    assert (distances >= apart - 1e-7).all()
    assert (np.diff(np.sort(concepts, axis=1), axis=1) > 0).all()


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_equally_near_centroids_go_to_the_lowest_index(count):
    vectors = np.eye(3, dtype=np.float32)
    centres = np.tile(np.eye(3, dtype=np.float32)[[2, 1, 0]], (20, 1))
    concepts, _ = nearest_centroids(vectors, centres, count)
    assert np.array_equal(concepts, brute_force(vectors, centres, count)[0])


@pytest.mark.parametrize("rows", [4_095, 4_096, 4_097, 8_200])
def test_blocks_of_rows_are_put_together(rows):
    random = np.random.default_rng(rows)
    vectors, centres = unit(random, rows, 3), unit(random, 9, 3)
    assert np.array_equal(nearest_centroids(vectors, centres, 2)[0], brute_force(vectors, centres, 2)[0])


@pytest.mark.parametrize(("groups", "members"), [(25, 10), (60, 60)])
@pytest.mark.parametrize("seed", range(3))
def test_many_groups_find_the_nearest_of_nearly_all_rows(groups, members, seed):
    random = np.random.default_rng(seed)
    centroids = clustered(random, groups, members, 32)
    vectors = rows_near(random, centroids, 2_000)
    concepts, distances = CentroidIndex(centroids).nearest(vectors, 3)
    expected, apart = brute_force(vectors, centroids.vectors, 3)
    assert (concepts[:, 0] == expected[:, 0]).mean() >= 0.95
    # What is found is told as it is, nearest first, each once, whether or not it is the nearest.
    told = 1 - np.einsum("nd,nkd->nk", vectors.astype(np.float64), centroids.vectors[concepts].astype(np.float64))
    assert np.allclose(distances, told, atol=ROUNDED)
    assert (np.diff(distances, axis=1) >= 0).all()
    assert (distances >= apart - 1e-7).all()
    assert (np.diff(np.sort(concepts, axis=1), axis=1) > 0).all()


def test_groups_of_unequal_size_are_told_apart():
    random = np.random.default_rng(5)
    sizes = random.integers(1, 30, 40)
    whole = clustered(random, 40, 30, 32, spread=0.3)
    kept = np.concatenate([np.arange(size) + 30 * group for group, size in enumerate(sizes)])
    # Groups need not be numbered without gaps: one of them may have lost all its centroids.
    centroids = Centroids.unmoved(whole.vectors[kept], 3 * whole.groups[kept])
    vectors = rows_near(random, centroids, 1_000, spread=0.2)
    concepts, _ = CentroidIndex(centroids).nearest(vectors, 1)
    assert (concepts == brute_force(vectors, centroids.vectors, 1)[0]).mean() >= 0.95


def test_places_stay_empty_where_the_groups_compared_have_fewer_centroids():
    centroids = Centroids.unmoved(np.eye(40, dtype=np.float32), np.arange(40, dtype=np.int32))
    concepts, distances = CentroidIndex(centroids).nearest(np.eye(40, dtype=np.float32), 12)
    assert concepts.shape == distances.shape == (40, 12)
    assert concepts[:, 0].tolist() == list(range(40))
    assert ((concepts < 0) == np.isinf(distances)).all()
    assert (concepts[:, :8] >= 0).all()
    assert (concepts[:, 8:] == -1).all()


@pytest.mark.parametrize("groups", [1, 30])
def test_more_than_there_are_gives_all_there_are(groups):
    random = np.random.default_rng(6)
    centroids = Centroids.unmoved(unit(random, 30, 8), np.sort(np.arange(30) % groups).astype(np.int32))
    concepts, distances = CentroidIndex(centroids).nearest(unit(random, 4, 8), 50)
    assert concepts.shape == distances.shape == (4, 30)


@pytest.mark.parametrize("groups", [1, 40])
def test_no_vectors_have_no_concepts(groups):
    centroids = Centroids.unmoved(np.eye(40, dtype=np.float32), np.sort(np.arange(40) % groups).astype(np.int32))
    concepts, distances = CentroidIndex(centroids).nearest(np.zeros((0, 40), np.float32), 2)
    assert concepts.shape == distances.shape == (0, 2)


@pytest.mark.parametrize("rows", [0, 3])
def test_without_centroids_there_are_no_concepts(rows):
    concepts, distances = nearest_centroids(np.ones((rows, 4), np.float32), np.zeros((0, 4), np.float32), 2)
    assert concepts.shape == distances.shape == (rows, 0)


def test_offers_in_parts_give_the_list_of_all():
    random = np.random.default_rng(7)
    cosines = random.integers(-4, 5, (6, 20)).astype(np.float32) / 4
    concepts, distances = np.full((6, 5), -1, dtype=np.int32), np.full((6, 5), np.inf, dtype=np.float32)
    for start, end in ((0, 1), (1, 12), (12, 20)):
        offer(1 - cosines[:, start:end], np.arange(6), start, concepts, distances)
    order = np.argsort(1 - cosines, axis=1, kind="stable")[:, :5]
    assert np.array_equal(concepts, order)
    assert np.array_equal(distances, np.take_along_axis(1 - cosines, order, 1))
