import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filtering.concepts.kmeans import (
    automatic_clusters,
    inter_distances,
    nearest_centroids,
    packed_partitions,
    spherical_kmeans,
)


def unit(random, rows, width):
    points = random.normal(size=(rows, width)).astype(np.float32)
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def is_unit(rows):
    return np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


def test_equal_input_gives_equal_centroids():
    points = unit(np.random.default_rng(0), 500, 8)
    first, again = spherical_kmeans(points, 12, 3), spherical_kmeans(points, 12, 3)
    assert np.array_equal(first, again)
    assert first.shape == (12, 8)
    assert first.dtype == np.float32
    assert is_unit(first)


def test_separate_groups_are_told_apart():
    random = np.random.default_rng(1)
    centres = np.eye(4, 8, dtype=np.float32)
    points = np.repeat(centres, 50, axis=0) + random.normal(scale=0.02, size=(200, 8)).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    concepts, _ = nearest_centroids(points, spherical_kmeans(points, 4, 0), 1)
    assert len({tuple(set(group.ravel().tolist())) for group in np.split(concepts, 4)}) == 4


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_fewer_rows_than_clusters_give_a_centroid_each(rows):
    centroids = spherical_kmeans(unit(np.random.default_rng(2), rows, 6), 9, 0)
    assert centroids.shape == (rows, 6)
    assert is_unit(centroids)


def test_equal_rows_give_unit_centroids():
    points = np.repeat(unit(np.random.default_rng(3), 1, 6), 50, axis=0)
    centroids = spherical_kmeans(points, 4, 0)
    assert centroids.shape == (4, 6)
    assert np.isfinite(centroids).all()
    assert is_unit(centroids)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("centroids", "count"), [(30, 1), (30, 3), (30, 29), (30, 30), (5, 9), (1, 1)])
def test_nearest_centroids_match_brute_force(seed, centroids, count):
    random = np.random.default_rng(seed)
    vectors, centres = unit(random, 200, 7), unit(random, centroids, 7)
    concepts, distances = nearest_centroids(vectors, centres, count)
    apart = 1 - vectors.astype(np.float64) @ centres.astype(np.float64).T
    expected = np.argsort(apart, axis=1, kind="stable")[:, :count]
    assert concepts.dtype == np.int32
    assert np.array_equal(concepts, expected)
    assert np.allclose(distances, np.take_along_axis(apart, expected, 1), atol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_equally_near_centroids_go_to_the_lowest_index(count):
    vectors = np.eye(3, dtype=np.float32)
    centres = np.tile(np.eye(3, dtype=np.float32)[[2, 1, 0]], (20, 1))
    concepts, _ = nearest_centroids(vectors, centres, count)
    apart = 1 - vectors @ centres.T
    assert np.array_equal(concepts, np.argsort(apart, axis=1, kind="stable")[:, :count])


def test_no_vectors_have_no_concepts():
    concepts, distances = nearest_centroids(np.zeros((0, 4), np.float32), np.eye(4, dtype=np.float32), 2)
    assert concepts.shape == distances.shape == (0, 2)


@pytest.mark.parametrize("count", [2, 3, 20, 21, 22, 60])
@pytest.mark.parametrize("twins", [False, True])
def test_inter_distances_equal_a_loop(count, twins):
    centroids = unit(np.random.default_rng(count), count, 5)
    if twins:
        centroids[: (count + 1) // 2] = centroids[0]
    expected = []
    for one in range(count):
        others = sorted(1 - float(centroids[one] @ centroids[two]) for two in range(count) if two != one)
        expected.append(np.mean(others[:20]))
    assert np.allclose(inter_distances(centroids), expected, atol=1e-6)


@pytest.mark.parametrize("count", [0, 1])
def test_a_lone_centroid_has_no_distance(count):
    assert inter_distances(np.ones((count, 3), dtype=np.float32)).tolist() == [0.0] * count


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, 30), max_size=25), st.integers(1, 40))
def test_partitions_hold_neighbours_and_stay_within_the_limit(rows, limit):
    partitions = packed_partitions(np.array(rows, dtype=np.int64), limit)
    assert partitions.dtype == np.int32
    assert len(partitions) == len(rows)
    if rows:
        assert partitions[0] == 0
        assert set(np.diff(partitions).tolist()) <= {0, 1}
    for partition in set(partitions.tolist()):
        held = [count for count, at in zip(rows, partitions, strict=True) if at == partition and count]
        assert sum(held) <= limit or len(held) == 1


def test_automatic_clusters():
    assert automatic_clusters(12_800_000) == 1280
    assert automatic_clusters(4000) == 22
    assert automatic_clusters(1) == automatic_clusters(0) == 1
