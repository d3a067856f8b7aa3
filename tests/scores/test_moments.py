import numpy as np
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from filtering.scores.moments import LEAST_DEVIATION, mean_of, moments_of, step_sums


def unit_rows(random, rows, dimension):
    vectors = random.normal(size=(rows, dimension)) + random.normal(size=dimension)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@examples(0.3)
@given(st.integers(1, 60), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_the_mean_is_the_same_bits_whatever_the_parts_and_their_order(rows, dimension, seed):
    random = np.random.default_rng(seed)
    vectors = unit_rows(random, rows, dimension)
    whole = mean_of([step_sums(vectors)], rows, dimension)
    assert np.allclose(whole, vectors.astype(np.float64).mean(axis=0), atol=1e-8)
    parts = np.array_split(vectors[random.permutation(rows)], random.integers(1, 5))
    assert (mean_of(map(step_sums, parts), rows, dimension) == whole).all()


def test_no_rows_have_a_mean_of_zeros():
    assert mean_of([], 0, 3).tolist() == [0, 0, 0]
    assert moments_of(np.zeros((0, 3), np.float32)).covariance.tolist() == [[0] * 3] * 3


@examples(0.3)
@given(st.integers(2, 40), st.integers(1, 30), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_what_is_expected_is_what_the_products_with_all_rows_come_to(rows, others, dimension, seed):
    random = np.random.default_rng(seed)
    vectors, fixed = unit_rows(random, rows, dimension), unit_rows(random, others, dimension)
    found = moments_of(vectors).expected(fixed)
    products = fixed.astype(np.float64) @ vectors.astype(np.float64).T
    assert np.allclose(found.mean, products.mean(axis=1), atol=1e-6)
    assert np.allclose(found.deviation, np.maximum(products.std(axis=1), LEAST_DEVIATION), atol=1e-3)
    standing = found.standing(products[:, 0])
    assert np.allclose(standing, (products[:, 0] - found.mean) / found.deviation)


def test_vectors_that_are_all_alike_tell_nothing():
    one = unit_rows(np.random.default_rng(0), 1, 8)
    found = moments_of(np.repeat(one, 50, axis=0)).expected(one)
    assert found.deviation[0] < 1e-3
    assert abs(found.standing(np.array([1.0]))[0]) < 1
