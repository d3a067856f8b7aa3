import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from filtering.core.fixed_point import STEPS, as_distance, from_steps, in_steps, product, squared_lengths, squared_steps


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def steps_of(seed, rows, dimension):
    return in_steps(unit(np.random.default_rng(seed).standard_normal((rows, dimension))))


@given(st.integers(0, 2**32 - 1), st.integers(1, 700))
def test_products_and_distances_are_those_of_whole_numbers(seed, dimension):
    left, right = steps_of(seed, 2, dimension)
    wide = left.astype(object), right.astype(object)
    assert product(left, right) == sum(a * b for a, b in zip(*wide, strict=True))
    both = squared_lengths(np.stack([left, right])).sum()
    assert squared_steps(left, right, both) == sum((a - b) ** 2 for a, b in zip(*wide, strict=True))


@given(st.integers(0, 2**32 - 1), st.integers(2, 700))
def test_a_product_does_not_depend_on_the_order_of_the_coordinates(seed, dimension):
    left, right = steps_of(seed, 2, dimension)
    order = np.random.default_rng(seed).permutation(dimension)
    assert product(left, right) == product(left[order], right[order])


def test_the_longest_rows_fit_in_int32():
    for dimension in (1, 2, 768, 4096):
        row = in_steps(np.full((1, dimension), dimension**-0.5, dtype=np.float32))[0]
        assert product(row, row) == (row.astype(np.int64) ** 2).sum()
        assert product(row, -row) == -(row.astype(np.int64) ** 2).sum()


def test_steps_are_the_vectors_to_half_a_step():
    vectors = unit(np.random.default_rng(0).standard_normal((20, 64)))
    assert np.abs(from_steps(in_steps(vectors)) - vectors).max() <= 0.5 / STEPS


def test_a_distance_is_that_of_the_unit_vectors():
    vectors = unit(np.random.default_rng(0).standard_normal((2, 512)))
    steps = in_steps(vectors)
    expected = ((vectors[0].astype(np.float64) - vectors[1]) ** 2).sum()
    assert abs(as_distance(squared_steps(*steps, squared_lengths(steps).sum())) - expected) < 1e-4
    assert as_distance(squared_steps(steps[0], steps[0], 2 * squared_lengths(steps)[0])) == 0
