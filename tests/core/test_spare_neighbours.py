import numpy as np
import pytest

from filtering.core.spare_neighbours import share_of_losers, spare_count


@pytest.mark.parametrize(("k", "spare"), [(1, 2), (10, 2), (15, 3), (20, 4), (50, 10)])
def test_a_row_keeps_a_fifth_of_its_neighbours_and_at_least_two(k, spare):
    assert spare_count(k) == spare


@pytest.mark.parametrize(("k", "gone"), [(10, 0.02), (10, 0.1), (20, 0.05), (3, 0.3)])
def test_the_share_of_losers_is_that_of_rows_that_go_at_random(k, gone):
    random = np.random.default_rng(0)
    lost = (random.random((200_000, k + spare_count(k))) < gone).sum(axis=1)
    assert share_of_losers(k, gone) == pytest.approx((lost > spare_count(k)).mean(), abs=2e-3)


def test_nobody_loses_where_none_go_and_all_where_all_go():
    assert share_of_losers(10, 0.0) == 0
    assert share_of_losers(10, 1.0) == 1
