import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtering.core.fixed_point import STEPS
from filtering.core.step_products import LANES, aligned, step_products


def products_of(left, right, shift):
    found = np.empty((len(left), len(right)), dtype=np.int32)
    step_products(aligned(left), aligned(right), shift, found)
    return found


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 70), st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_every_product_is_exact(rows, columns, width, shift, seed):
    random = np.random.default_rng(seed)
    left, right = (random.integers(-3_000, 3_000, (count, width)).astype(np.int16) for count in (rows, columns))
    expected = left.astype(np.int64) @ right.astype(np.int64).T >> shift
    assert np.array_equal(products_of(left, right, shift), expected)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_products_fit(sign):
    row = np.zeros((1, 32), dtype=np.int16)
    row[0, 3] = STEPS - 1
    assert products_of(row, sign * row, 0).tolist() == [[sign * (STEPS - 1) ** 2]]


def test_rows_are_padded_with_zeros():
    rows = np.ones((3, LANES + 1), dtype=np.int16)
    padded = aligned(rows)
    assert padded.shape == (3, 2 * LANES)
    assert padded.sum() == rows.sum()
    assert aligned(padded) is padded
    assert aligned(np.asfortranarray(padded)).flags.c_contiguous
