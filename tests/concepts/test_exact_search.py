import numpy as np
import pytest
from plain_neighbours import snapped, unit

from filtering.concepts.exact_search import ExactSearch, recall_at_k

INF = np.inf


def table(*rows):
    return np.array(rows, dtype=np.float32)


def searched(queries, rows, vectors, ids, blocks, k):
    """Search the blocks of a shard and rank what was found, as a worker does."""
    search = ExactSearch(queries, rows, k)
    for start, end in zip([0, *blocks], [*blocks, len(vectors)], strict=True):
        search.add(vectors[start:end], ids[start:end], start)
    return search.found[:, :k], search.distances[:, :k]


def brute_force(queries, rows, vectors, ids, k):
    apart = ((snapped(queries)[:, None] - snapped(vectors)) ** 2).sum(axis=2)
    apart[rows[:, None] == ids] = INF
    order = np.argsort(apart, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(apart, order, 1)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("blocks", [[], [100], [1, 2, 60, 60, 199]])
def test_a_search_over_blocks_equals_brute_force(seed, blocks):
    random = np.random.default_rng(seed)
    vectors, ids = unit(random, 200, 12), np.sort(random.choice(10**12, 200, replace=False))
    chosen = np.sort(random.choice(200, 30, replace=False))
    places, distances = searched(vectors[chosen], ids[chosen], vectors, ids, blocks, 7)
    expected, apart = brute_force(vectors[chosen], ids[chosen], vectors, ids, 7)
    assert (places.dtype, distances.dtype) == (np.int32, np.float32)
    assert np.array_equal(places, expected)
    assert np.array_equal(distances, apart.astype(np.float32))


@pytest.mark.parametrize("outside", [0, 10**15])
def test_queries_of_other_shards_find_all(outside):
    random = np.random.default_rng(5)
    vectors, queries = unit(random, 60, 8), unit(random, 9, 8)
    ids, rows = np.arange(100, 160), np.arange(outside, outside + 9)
    places, distances = searched(queries, rows, vectors, ids, [17], 5)
    expected, apart = brute_force(queries, rows, vectors, ids, 5)
    assert np.array_equal(places, expected)
    assert np.array_equal(distances, apart.astype(np.float32))


def test_no_row_is_its_own_neighbour_but_its_duplicates_are():
    vectors = np.repeat(unit(np.random.default_rng(6), 2, 8), 3, axis=0)
    ids = np.array([5, 9, 20, 21, 40, 41])
    places, distances = searched(vectors, ids, vectors, ids, [2], 3)
    assert [sorted(row) for row in places[:, :2].tolist()] == [[1, 2], [0, 2], [0, 1], [4, 5], [3, 5], [3, 4]]
    assert (distances[:, :2] == 0).all()
    assert (distances[:, 2] > 0.1).all()


def test_fewer_rows_than_neighbours_leave_places_empty():
    vectors = np.eye(3, dtype=np.float32)
    places, distances = searched(vectors[:2], np.array([0, 1]), vectors, np.arange(3), [], 4)
    assert [sorted(row) for row in places.tolist()] == [[-1, -1, 1, 2], [-1, -1, 0, 2]]
    assert np.allclose(distances[:, :2], 2, atol=2e-4)
    assert np.isinf(distances[:, 2:]).all()


def test_without_blocks_nothing_is_found():
    search = ExactSearch(np.eye(2, dtype=np.float32), np.array([3, 7]), 2)
    assert (search.found == -1).all()
    assert np.isinf(search.distances).all()


def test_without_queries_there_is_nothing_to_search():
    search = ExactSearch(np.zeros((0, 3), dtype=np.float32), np.zeros(0, dtype=np.int64), 2)
    search.add(np.eye(3, dtype=np.float32), np.arange(3), 0)
    assert search.found.shape == search.distances.shape == (0, 8)


def test_all_found_is_one():
    exact = table([0.1, 0.2], [0.3, 0.4])
    assert recall_at_k(exact, exact) == 1.0
    assert recall_at_k(exact[:, ::-1], exact) == 1.0


def test_the_share_found():
    exact = table([0.1, 0.2], [0.3, 0.4])
    assert recall_at_k(table([0.1, 0.5], [0.6, 0.7]), exact) == 0.25
    assert recall_at_k(table([INF, INF], [INF, INF]), exact) == 0.0


def test_equally_far_neighbours_count_alike():
    assert recall_at_k(table([0.2, 0.2]), table([0.1, 0.2])) == 1.0


def test_missing_true_neighbours_are_not_asked_for():
    exact = table([0.1, INF], [INF, INF])
    assert recall_at_k(table([0.1, INF], [INF, INF]), exact) == 1.0
    assert recall_at_k(table([INF, INF], [INF, INF]), exact) == 0.0


def test_nothing_to_find_is_one():
    assert recall_at_k(table([INF, INF]), table([INF, INF])) == 1.0
    assert recall_at_k(np.zeros((0, 3), dtype=np.float32), np.zeros((0, 3), dtype=np.float32)) == 1.0
