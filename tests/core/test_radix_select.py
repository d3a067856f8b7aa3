import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from filtering.core.errors import InputError
from filtering.core.radix_select import (
    at_or_above,
    digit_counts,
    digit_ranges,
    find_digit,
    join_digits,
    order_keys,
    score_of,
    split_digits,
)

FLOATS = st.floats(width=32, allow_nan=False)
# Few values, so that many are equal, beside all of them: zeros of both signs, subnormals and infinities included.
SCORES = st.lists(st.sampled_from([-np.inf, -1.0, -1e-45, -0.0, 0.0, 1e-45, 0.25, 1.0, np.inf]) | FLOATS, max_size=40)


def found(parts, digits, rank):
    """The key at a rank of keys in several parts, by rounds of counting."""
    prefix = []
    for _ in range(digits):
        digit, rank = find_digit(sum(digit_counts(part, prefix) for part in parts), rank)
        prefix.append(digit)
    return tuple(prefix), rank


@examples(2)
@given(SCORES)
def test_keys_stand_in_the_order_of_the_scores(scores):
    values = np.array(scores, dtype=np.float32)
    keys = order_keys(values)
    assert keys.dtype == np.uint32
    assert np.array_equal(keys[:, None] < keys, values[:, None] < values)
    assert np.array_equal(keys[:, None] == keys, values[:, None] == values)
    assert [score_of(int(key)) for key in keys] == values.tolist()


def test_nan_is_refused():
    with pytest.raises(InputError, match="NaN has no rank"):
        order_keys(np.array([0.5, np.nan], dtype=np.float32))


def test_scores_of_any_layout_have_keys():
    wide = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert order_keys(wide[:, 1]).tolist() == sorted(order_keys(np.array([1, 5, 9], np.float32)).tolist())
    assert order_keys(np.zeros(0, np.float32)).shape == (0,)


@examples(2)
@given(SCORES.filter(len), st.data())
def test_a_score_is_found_at_its_rank_in_two_rounds(scores, data):
    rank, cut = data.draw(st.integers(0, len(scores) - 1)), data.draw(st.integers(0, len(scores)))
    values = np.array(scores, dtype=np.float32)
    keys = split_digits(order_keys(values), 2)
    digits, within = found([keys[:cut], keys[cut:]], 2, rank)
    expected = np.sort(values)[::-1][rank]
    assert score_of(join_digits(digits)) == expected
    assert within == rank - int((values > expected).sum())
    assert np.array_equal(at_or_above(keys, digits), values >= expected)


KEYS = st.lists(st.tuples(*[st.sampled_from([0, 1, 255, 256, 65535])] * 3), min_size=1, max_size=30)


@given(KEYS, st.data())
def test_keys_of_several_digits_are_found_as_sorting_finds_them(tuples, data):
    rank, keys = data.draw(st.integers(0, len(tuples) - 1)), np.array(tuples, dtype=np.uint16)
    digits, within = found([keys], 3, rank)
    assert digits == sorted(tuples, reverse=True)[rank]
    assert within == rank - sum(key > digits for key in tuples)
    assert at_or_above(keys, digits).tolist() == [key >= digits for key in tuples]


@given(st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), min_size=1, max_size=30), st.data())
def test_a_key_of_score_and_row_cuts_exactly(scores, data):
    """As selection uses it: among equal scores the first rows come first, and exactly as many stay as are asked for."""
    count = data.draw(st.integers(1, len(scores)))
    rows = np.array(data.draw(st.permutations([2**40 + row for row in range(len(scores))])), dtype=np.uint64)
    values = np.array(scores, dtype=np.float32)
    keys = np.concatenate([split_digits(order_keys(values), 2), split_digits(~rows, 4)], axis=1)
    bound, within = found([keys], 6, count - 1)
    assert within == 0
    best = np.lexsort((rows, -values))[:count]
    assert np.flatnonzero(at_or_above(keys, bound)).tolist() == sorted(best.tolist())


@pytest.mark.parametrize("rank", [-1, 3])
def test_a_rank_that_nothing_has_is_refused(rank):
    counts = digit_counts(np.array([[7], [7], [9]], dtype=np.uint16), [])
    assert [find_digit(counts, at) for at in range(3)] == [(9, 0), (7, 0), (7, 1)]
    with pytest.raises(IndexError, match="of 3 keys"):
        find_digit(counts, rank)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=20), st.integers(1, 4))
def test_digits_are_those_of_the_numbers(numbers, count):
    digits = split_digits(np.array(numbers, dtype=np.uint64), count)
    assert digits.shape == (len(numbers), count)
    assert digits.dtype == np.uint16
    assert [join_digits(row.tolist()) for row in digits] == [number % 2 ** (16 * count) for number in numbers]


@given(st.lists(st.integers(0, 2**16 - 1) | st.sampled_from([0, 7, 8]), max_size=40), st.integers(1, 9))
def test_ranges_of_digits_hold_about_as_many_keys_as_wanted(digits, rows):
    counts = digit_counts(np.array(digits, dtype=np.uint16).reshape(-1, 1), ())
    range_of, below = digit_ranges(counts, rows)
    assert (range_of.dtype, below.dtype) == (np.int32, np.int64)
    assert (np.diff(range_of) >= 0).all()
    assert sorted(set(range_of.tolist())) == list(range(len(below)))
    for number, start in enumerate(below.tolist()):
        inside = [digit for digit in digits if range_of[digit] == number]
        assert start == sum(digit < np.flatnonzero(range_of == number)[0] for digit in digits)
        # All but the keys of its last digit are fewer than wanted.
        assert not inside or len(inside) - inside.count(max(inside)) < rows
