import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtering.core.errors import InputError
from filtering.graph.knn import knn_graph, nearest_neighbours


def brute_force(points, k):
    """Edges {(i, j): squared distance}, symmetric by union, ties to the lowest index, in float64."""
    points = points.astype(np.float64)
    edges = {}
    for i in range(len(points)):
        distances = ((points - points[i]) ** 2).sum(axis=1)
        others = sorted((distances[j], j) for j in range(len(points)) if j != i)
        for distance, j in others[:k]:
            edges[i, j] = edges[j, i] = distance
    return edges


def edges_of(graph):
    rows = np.repeat(np.arange(graph.nodes), graph.degrees)
    return dict(zip(zip(rows.tolist(), graph.indices.tolist(), strict=True), graph.distances.tolist(), strict=True))


def assert_exact(points, k):
    graph = knn_graph(points, k)
    found, expected = edges_of(graph), brute_force(points, k)
    assert graph.nodes == len(points)
    assert graph.distances.dtype == np.float32
    assert found.keys() == expected.keys()
    for edge, distance in expected.items():
        assert found[edge] == pytest.approx(distance, rel=1e-4, abs=1e-6)
        assert found[edge] == found[edge[::-1]]


def unit(random, rows, width):
    points = random.normal(size=(rows, width)).astype(np.float32)
    return points / np.linalg.norm(points, axis=1, keepdims=True)


@pytest.mark.parametrize("rows", [0, 1, 2])
@pytest.mark.parametrize("k", [1, 2, 10])
def test_tiny_sets(rows, k):
    assert_exact(unit(np.random.default_rng(0), rows, 3), k)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("rows", "k"), [(12, 11), (12, 12), (12, 50), (60, 3), (300, 10), (500, 1)])
def test_random_points_match_brute_force(seed, rows, k):
    assert_exact(unit(np.random.default_rng(seed), rows, 8 + seed), k)


@pytest.mark.parametrize("copies", [2, 3, 8])
def test_duplicates_match_brute_force(copies):
    points = unit(np.random.default_rng(1), 40, 6)
    assert_exact(np.concatenate([points] * copies), 5)


@pytest.mark.parametrize("copies", [30, 200])
def test_more_duplicates_than_neighbours_go_to_the_lowest_index(copies):
    points = np.concatenate([np.repeat(unit(np.random.default_rng(2), 3, 16), copies, axis=0)])
    assert_exact(points, 4)


def test_equal_distances_go_to_the_lowest_index():
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=np.float32)
    for k in range(1, 8):
        assert_exact(corners, k)


def test_an_even_grid_goes_to_the_lowest_index():
    grid = np.stack(np.meshgrid(np.arange(7), np.arange(7)), -1).reshape(-1, 2).astype(np.float32)
    for k in (1, 3, 6):
        assert_exact(grid, k)


def test_points_far_from_the_origin_match_brute_force():
    random = np.random.default_rng(3)
    points = (1000 + random.integers(0, 1000, (200, 4)) / 64).astype(np.float32)
    assert_exact(points, 5)


@given(st.integers(0, 30), st.integers(1, 4), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_small_whole_numbers_match_brute_force(rows, width, k, seed):
    assert_exact(np.random.default_rng(seed).integers(-3, 4, (rows, width)).astype(np.float32), k)


@pytest.mark.parametrize(
    ("embeddings", "k", "named"),
    [
        (np.ones((3, 2)), 0, "k must be"),
        (np.ones((3, 2)), -1, "k must be"),
        (np.ones(3), 1, "shape"),
        (np.ones((3, 2, 2)), 1, "shape"),
        (np.array([[1.0, np.nan]]), 1, "finite"),
        (np.array([[1.0, np.inf]]), 1, "finite"),
    ],
)
def test_bad_embeddings_are_refused(embeddings, k, named):
    with pytest.raises(InputError, match=named):
        knn_graph(embeddings, k)


def test_queries_that_are_no_candidates_find_all():
    random = np.random.default_rng(4)
    queries, candidates = unit(random, 7, 5), unit(random, 50, 5)
    own = np.full(7, -1)
    own[3] = 12
    candidates[12] = queries[3]
    found, distances = nearest_neighbours(queries, candidates, own, 4)
    for row in range(7):
        apart = ((candidates.astype(np.float64) - queries[row]) ** 2).sum(axis=1)
        apart[own[row] if own[row] >= 0 else []] = np.inf
        assert found[row].tolist() == np.argsort(apart, kind="stable")[:4].tolist()
        assert np.allclose(distances[row], np.sort(apart)[:4], atol=1e-6)


def test_too_few_candidates_leave_places_empty():
    points = np.eye(3, dtype=np.float32)
    found, distances = nearest_neighbours(points, points, np.arange(3), 5)
    assert found.tolist() == [[1, 2, -1, -1, -1], [0, 2, -1, -1, -1], [0, 1, -1, -1, -1]]
    assert np.isinf(distances[:, 2:]).all()
    assert (distances[:, :2] == 2).all()


def nearest_of_all(points, k):
    exact = np.empty((len(points), len(points)))
    for row, point in enumerate(points.astype(np.float64)):
        exact[row] = ((points - point) ** 2).sum(axis=1)
    np.fill_diagonal(exact, np.inf)
    order = np.argsort(exact, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(exact, order, 1)


def test_many_random_points_match_brute_force():
    points = unit(np.random.default_rng(6), 1100, 128)
    found, distances = nearest_neighbours(points, points, np.arange(1100), 10)
    expected, exact = nearest_of_all(points, 10)
    assert np.array_equal(found, expected)
    assert np.allclose(distances, exact, rtol=1e-5)


@pytest.mark.parametrize("copies", [5, 30])
def test_many_duplicates_go_to_the_lowest_index(copies):
    points = np.tile(unit(np.random.default_rng(7), 1200 // copies, 128), (copies, 1))
    found, distances = nearest_neighbours(points, points, np.arange(1200), 4)
    expected, exact = nearest_of_all(points, 4)
    assert np.array_equal(found, expected)
    assert np.allclose(distances, exact)


@pytest.mark.parametrize("spread", [1e-2, 1e-3, 1e-4])
def test_many_near_duplicates_have_their_nearest_neighbours(spread):
    random = np.random.default_rng(5)
    points = unit(random, 1, 128) + random.normal(scale=spread / 128**0.5, size=(1100, 128))
    points = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
    _, distances = nearest_neighbours(points, points, np.arange(1100), 5)
    assert np.allclose(distances, nearest_of_all(points, 5)[1], rtol=1e-3, atol=0)
