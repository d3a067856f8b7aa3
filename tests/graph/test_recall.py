import numpy as np
import pytest

from filtering.graph.recall import merged_nearest, recall_at_k

INF = np.inf


def table(*rows):
    return np.array(rows, dtype=np.float32)


@pytest.mark.parametrize("seed", range(4))
def test_merging_parts_equals_sorting_all(seed):
    random = np.random.default_rng(seed)
    whole = random.random((9, 30)).astype(np.float32)
    parts = np.split(whole, [4, 4, 17], axis=1)
    assert np.array_equal(merged_nearest(parts, 6), np.sort(whole, axis=1)[:, :6])


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
