import numpy as np
import pytest

from benchmarks.lib.kmeans import train_centroids
from filtering.concepts.kmeans import (
    FLAT_CLUSTERS,
    OVERSIZED,
    automatic_clusters,
    coarse_groups,
    inter_distances,
    member_sums,
    moved_centroids,
    spherical_kmeans,
)
from filtering.concepts.nearest import CentroidIndex, Centroids, nearest_centroids
from filtering.core.fixed_point import from_steps, in_steps


def unit(random, rows, width):
    points = random.normal(size=(rows, width)).astype(np.float32)
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def is_unit(rows):
    return np.allclose(np.linalg.norm(rows, axis=1), 1, atol=5e-5)


def blobs(random, centres, rows, spread):
    """Rows around each centre, one blob after the other."""
    points = np.repeat(centres, rows, axis=0) + spread * unit(random, len(centres) * rows, centres.shape[1])
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


def homes(sample, centroids):
    return nearest_centroids(sample, centroids, 1)[0][:, 0]


@pytest.mark.parametrize("clusters", [12, 90])
def test_equal_input_gives_equal_centroids(clusters):
    sample = unit(np.random.default_rng(0), 1_500, 8)
    first, again = train_centroids(sample, clusters, 3), train_centroids(sample, clusters, 3)
    assert np.array_equal(first.vectors, again.vectors)
    assert np.array_equal(first.groups, again.groups)
    assert not np.array_equal(first.vectors, train_centroids(sample, clusters, 4).vectors)


@pytest.mark.parametrize("clusters", [1, 12, FLAT_CLUSTERS, FLAT_CLUSTERS + 1, 200])
def test_about_as_many_centroids_as_asked(clusters):
    sample = unit(np.random.default_rng(1), 4_000, 16)
    centroids = train_centroids(sample, clusters, 0)
    assert 0.9 * clusters <= len(centroids.vectors) <= 1.2 * clusters
    assert len(centroids.groups) == len(centroids.vectors)
    assert centroids.vectors.dtype == np.float32
    assert centroids.groups.dtype == np.int32
    assert is_unit(centroids.vectors)
    assert (np.diff(centroids.groups) >= 0).all()
    assert set(centroids.groups.tolist()) <= set(range(coarse_groups(clusters)))


@pytest.mark.parametrize("clusters", [65, 200])
def test_near_centroids_stand_together(clusters):
    centroids = train_centroids(unit(np.random.default_rng(2), 4_000, 4), clusters, 0)
    assert len(set(centroids.groups.tolist())) > 1
    cosines = centroids.vectors @ centroids.vectors.T
    together = centroids.groups[:, None] == centroids.groups
    np.fill_diagonal(together, False)
    assert cosines[together].mean() > 0.5 > cosines[~together].mean()


def test_separate_groups_are_told_apart():
    sample = blobs(np.random.default_rng(3), np.eye(4, 8, dtype=np.float32), 50, 0.05)
    concepts = homes(sample, train_centroids(sample, 4, 0).vectors)
    assert len({tuple(set(group.tolist())) for group in np.split(concepts, 4)}) == 4


def test_separate_groups_are_told_apart_over_two_levels():
    random = np.random.default_rng(4)
    sample = blobs(random, unit(random, 100, 64), 30, 0.2)
    concepts = homes(sample, train_centroids(sample, 150, 0).vectors)
    # A concept may be a part of a group; hardly any holds rows of two.
    mixed = [len(set((np.flatnonzero(concepts == concept) // 30).tolist())) > 1 for concept in set(concepts.tolist())]
    assert np.mean(mixed) < 0.05


@pytest.mark.parametrize("rows", [1, 2, 5, 80])
def test_fewer_rows_than_clusters_give_a_centroid_each(rows):
    sample = unit(np.random.default_rng(5), rows, 6)
    assert spherical_kmeans(in_steps(sample), 100, 0).shape == (rows, 6)
    centroids = train_centroids(sample, 100, 0)
    assert is_unit(centroids.vectors)
    assert len(centroids.vectors) <= rows
    if rows <= FLAT_CLUSTERS:
        assert np.allclose(nearest_centroids(sample, centroids.vectors, 1)[1], 0, atol=1e-6)


@pytest.mark.parametrize("width", [6, 512])
@pytest.mark.parametrize("clusters", [1, 2, 5, 64, 100])
def test_equal_rows_have_one_centroid(width, clusters):
    sample = np.repeat(unit(np.random.default_rng(6), 1, width), 300, axis=0)
    centroids = train_centroids(sample, clusters, 0)
    assert is_unit(centroids.vectors)
    assert np.allclose(centroids.vectors[0], sample[0], atol=1e-3)
    assert len(centroids.vectors) == len(centroids.groups) == 1


def test_no_more_centroids_than_different_rows():
    sample = np.repeat(unit(np.random.default_rng(7), 7, 16), 100, axis=0)
    assert len(train_centroids(sample, 40, 0).vectors) <= 7


def test_equal_rows_give_unit_centroids():
    sample = np.repeat(unit(np.random.default_rng(8), 1, 6), 50, axis=0)
    centroids = spherical_kmeans(in_steps(sample), 4, 0)
    assert centroids.shape == (4, 6)
    assert centroids.dtype == np.int16
    assert is_unit(from_steps(centroids))


def test_an_oversized_cluster_is_split():
    # In many dimensions the mean of loose rows is near to all of them: its cluster grows at the cost of the others.
    random = np.random.default_rng(9)
    middle = unit(random, 1, 256)
    loose = blobs(random, middle, 900, 0.5)
    sample = np.concatenate([loose, blobs(random, middle + 0.5 * unit(random, 40, 256), 52, 0.3)])
    largest = OVERSIZED * len(sample) / 50
    assert np.bincount(homes(sample, from_steps(spherical_kmeans(in_steps(sample), 50, 0)))).max() > 1.5 * largest
    centroids = train_centroids(sample, 50, 0)
    assert np.bincount(homes(sample, centroids.vectors)).max() <= largest
    assert 50 < len(centroids.vectors) < 100


@pytest.mark.parametrize("clusters", [4, 150])
def test_spreads_are_the_mean_distances_of_members(clusters):
    random = np.random.default_rng(11)
    sample = np.concatenate([blobs(random, unit(random, 2, 64), 800, spread) for spread in (0.1, 0.8)])
    centroids = train_centroids(sample, clusters, 0)
    home, distances = (found[:, 0] for found in nearest_centroids(sample, centroids.vectors, 1))
    exact = np.bincount(home, weights=distances) / np.bincount(home)
    assert centroids.spreads.dtype == np.float32
    # They are those of the members that moved the centroids last.
    assert np.corrcoef(centroids.spreads, exact)[0, 1] > 0.95
    assert np.abs(np.log(centroids.spreads / exact)).mean() < 0.2


def test_centroids_without_members_stay_where_they_are():
    centroids = Centroids.unmoved(np.eye(3, dtype=np.float32), np.zeros(3, dtype=np.int32))
    rows = unit(np.random.default_rng(12), 20, 3) * np.array([1, 1, 0], dtype=np.float32)
    rows = np.abs(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    members, counts, sums = member_sums(in_steps(rows), CentroidIndex(centroids))
    halves = np.concatenate([members, members]), np.concatenate([counts, 0 * counts]), np.concatenate([sums, 0 * sums])
    moved = moved_centroids(centroids, *halves)
    assert counts.sum() == 20
    assert np.array_equal(moved.steps[2], centroids.steps[2])
    assert moved.spreads[2] == 1
    assert (moved.spreads[:2] < 0.5).all()
    assert is_unit(moved.vectors)


@pytest.mark.parametrize("count", [2, 3, 20, 21, 22, 60])
@pytest.mark.parametrize("groups", [1, 5, 24])
@pytest.mark.parametrize("twins", [False, True])
def test_inter_distances_equal_a_loop(count, groups, twins):
    vectors = unit(np.random.default_rng(count), count, 5)
    if twins:
        vectors[: (count + 1) // 2] = vectors[0]
    expected = []
    for one in range(count):
        others = sorted(1 - float(vectors[one] @ vectors[two]) for two in range(count) if two != one)
        expected.append(np.mean(others[:20]))
    found = inter_distances(Centroids.unmoved(vectors, np.sort(np.arange(count) % groups).astype(np.int32)))
    assert found.dtype == np.float64
    # Centroids are in steps of 2^-15.
    assert np.allclose(found, expected, atol=5e-5)


def test_inter_distances_through_many_groups_are_hardly_larger():
    centroids = train_centroids(unit(np.random.default_rng(10), 6_000, 16), 800, 0)
    assert len(set(centroids.groups.tolist())) > 24
    exact = inter_distances(Centroids.unmoved(centroids.vectors, np.zeros_like(centroids.groups)))
    found = inter_distances(centroids)
    assert (found >= exact - 1e-6).all()
    assert (found <= 1.2 * exact).mean() > 0.95


@pytest.mark.parametrize("count", [0, 1])
def test_a_lone_centroid_has_no_distance(count):
    centroids = Centroids.unmoved(np.ones((count, 3), dtype=np.float32), np.zeros(count, dtype=np.int32))
    assert inter_distances(centroids).tolist() == [0.0] * count


def test_automatic_clusters():
    assert automatic_clusters(12_800_000) == 4267
    assert automatic_clusters(4000) == 22
    assert automatic_clusters(1) == automatic_clusters(0) == 1


def test_coarse_groups():
    assert [coarse_groups(clusters) for clusters in (1, 64, 65, 100, 101, 4_267)] == [1, 1, 9, 10, 11, 66]
