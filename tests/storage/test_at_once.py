"""Small objects read at once, in order."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtering.storage.at_once import WAITED_SECONDS, each_at_once, each_from_disk


@pytest.mark.parametrize("each", [each_at_once, each_from_disk])
@given(items=st.lists(st.integers(), max_size=20), at_once=st.integers(0, 5))
def test_results_come_in_order(each, items, at_once):
    assert list(each(lambda item: item + 1, items, at_once)) == [item + 1 for item in items]


def test_no_more_are_held_than_twice_those_at_once():
    begun = []
    results = each_at_once(lambda item: begun.append(item) or item, range(100), 3)
    assert next(results) == 0
    time.sleep(0.05)
    assert len(begun) <= 7
    assert list(results) == list(range(1, 100))


def test_some_wait_together():
    together = threading.Barrier(4, timeout=30)
    assert list(each_at_once(lambda item: together.wait() >= 0, range(4), 4)) == [True] * 4


def test_an_error_comes_in_the_place_of_its_result():
    results = each_at_once(lambda item: 1 // item, [1, 0, 1], 2)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_a_disk_is_first_read_without_threads():
    assert next(each_from_disk(lambda item: threading.current_thread(), range(5))) is threading.current_thread()


def test_threads_begin_once_a_disk_is_waited_for():
    together = threading.Barrier(3, timeout=30)

    def read(item):
        return time.sleep(2 * WAITED_SECONDS) if item == 0 else together.wait() >= 0

    assert list(each_from_disk(read, range(4))) == [None, True, True, True]
