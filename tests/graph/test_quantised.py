import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from filtering.graph.quantised import STEPS, has_int8_products, quantised, rounding_bounds


def unit(seed, rows, width):
    vectors = np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def apart(rows):
    """Squared distances in squared steps, as products of bytes give them."""
    wide = rows.astype(np.int64)
    squares = (wide**2).sum(axis=1)
    return squares[:, None] + squares - 2 * wide @ wide.T


def true_apart(vectors):
    points = vectors.astype(np.float64)
    return ((points[:, None] - points) ** 2).sum(axis=2)


@pytest.mark.parametrize("width", [6, 64, 100, 512, 768])
def test_distances_survive_in_proportion(width):
    vectors = unit(width, 60, width)
    found, exact = apart(quantised(vectors).rows), true_apart(vectors)
    there = exact > 0
    ratio = found[there] / exact[there]
    assert np.abs(ratio / np.median(ratio) - 1).max() < 0.1


def test_one_large_coordinate_does_not_drown_the_others():
    vectors = unit(0, 200, 512)
    vectors[:, 3] *= 20
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    plain = np.rint(vectors * (STEPS / np.abs(vectors).max()))
    errors = []
    for rows in (quantised(vectors).rows, plain):
        found, exact = apart(rows), true_apart(vectors)
        ratio = found[exact > 0] / exact[exact > 0]
        errors.append((ratio / np.median(ratio)).std())
    assert errors[0] < errors[1] / 2


def test_rounding_stays_within_its_bounds():
    vectors = unit(1, 300, 512)
    coarse = quantised(vectors)
    found, exact = apart(coarse.rows), true_apart(vectors)
    scale = np.median(found[exact > 0] / exact[exact > 0])
    error = (found - scale * exact)[0, 1:] / 2
    # Normally distributed: the difference of two errors stays within one deviation in two of three cases.
    within = np.abs(error[1:] - error[:-1]) <= rounding_bounds(found[0, 1:-1], 512)
    assert 0.55 < within.mean() < 0.85


@examples(0.3)
@given(st.integers(0, 40), st.integers(1, 200), st.integers(0, 2**32 - 1))
def test_any_rows_fit_and_their_halves_are_their_own(rows, width, seed):
    vectors = unit(seed, rows, width)
    coarse = quantised(vectors)
    assert (coarse.rows.dtype, coarse.halves.dtype) == (np.int8, np.int32)
    assert coarse.rows.shape[0] == rows
    assert (coarse.rows.min(initial=0), coarse.rows.max(initial=0)) >= (-STEPS, -STEPS)
    assert np.array_equal(coarse.halves, (coarse.rows.astype(np.int64) ** 2).sum(axis=1) // 2)
    some = np.arange(rows)[::2]
    assert np.array_equal(coarse.take(some).rows, coarse.rows[some])


def test_a_row_is_rounded_by_itself():
    vectors = unit(2, 70, 96)
    whole, part = quantised(vectors).rows, quantised(vectors[40:]).rows
    assert np.array_equal(whole[40:], part)
    assert (quantised(np.zeros((3, 96), dtype=np.float32)).rows == 0).all()


def test_this_cpu_is_known():
    assert has_int8_products() in (False, True)
