import uuid

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from plain_stage import PlainStage

from filtering.core.radix_select import at_or_above
from filtering.runtime.rank_counts import COUNTS_SUFFIX, count_keys, key_at_rank
from filtering.runtime.task_spec import task
from filtering.storage.store import Store

DIGITS = 3
KEYS = st.lists(st.tuples(*[st.sampled_from([0, 1, 255, 256, 65535])] * DIGITS), max_size=12)
POOL = st.lists(KEYS, min_size=1, max_size=3)


@pytest.fixture
def stage():
    return new_stage()


def new_stage():
    return PlainStage(Store(f"memory://{uuid.uuid4().hex}"))


def found(stage, pool, rank, **options):
    """The digits of the key at a rank of a pool of several parts, and how many rows the rank was chosen from."""
    parts, counted = [np.array(keys, dtype=np.uint16).reshape(-1, DIGITS) for keys in pool], []

    def tasks_of(name, prefix):
        named = [(f"{name}-{at}", part) for at, part in enumerate(parts)]
        return [task(name, count_keys, stage.store, name, part, prefix) for name, part in named]

    def rank_of(rows):
        counted.append(rows)
        return rank

    return key_at_rank(stage, "cut", tasks_of, rank_of, **({"digits": DIGITS} | options), unit="parts"), counted


@examples(0.5)
@given(POOL.filter(any), st.data())
def test_rows_at_or_above_the_key_are_those_up_to_the_rank(pool, data):
    every = sorted((key for keys in pool for key in keys), reverse=True)
    rank = data.draw(st.integers(0, len(every) - 1))
    digits, counted = found(new_stage(), pool, rank)
    assert counted == [len(every)]
    keys = np.array(every, dtype=np.uint16)
    assert at_or_above(keys, digits).tolist() == [key >= every[rank] for key in every]
    whole, _ = found(new_stage(), pool, rank, whole=True)
    assert whole == every[rank]
    assert whole[: len(digits)] == digits


@examples(0.5)
@given(POOL.filter(any), st.data())
def test_fewer_digits_put_rows_that_share_them_on_the_same_side(pool, data):
    every = sorted((key for keys in pool for key in keys), reverse=True)
    rank = data.draw(st.integers(0, len(every) - 1))
    digits, _ = found(new_stage(), pool, rank, digits=2)
    above = at_or_above(np.array(every, dtype=np.uint16), digits)
    assert above.tolist() == [key[:2] >= every[rank][:2] for key in every]


def test_no_further_digit_is_counted_than_separates_the_row(stage):
    pool = [[(9, 1, 1), (7, 5, 5)], [(7, 4, 4), (3, 0, 0)]]
    assert found(stage, pool, 2) == ((7,), [4])
    assert len(stage.store.names(COUNTS_SUFFIX)) == 2
    assert found(stage, pool, 1) == ((7, 5), [4])
    assert found(stage, pool, 1, whole=True) == ((7, 5, 5), [4])


def test_no_rows_have_no_key(stage):
    assert found(stage, [[], []], 0) == ((), [])
