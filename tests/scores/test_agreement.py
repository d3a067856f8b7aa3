import numpy as np
import pytest
from examples import examples
from hypothesis import assume, given
from hypothesis import strategies as st

from filtering.core.fixed_point import from_steps
from filtering.embedding.artifacts import unit_steps
from filtering.scores.agreement import SAME_CAPTION, neighbour_means

# Values are added up in steps of 2^-15, and means are kept in steps: half a step each.
PRECISION = 3.1e-5


def unit_rows(random, rows, dimension):
    vectors = random.normal(size=(rows, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def by_loops(vectors, own, neighbours, least_cosine):
    means = []
    for row, others in zip(own, neighbours, strict=True):
        left = [vectors[one] for one in others if float(vectors[row] @ vectors[one]) < least_cosine]
        means.append(np.mean(left, axis=0) if left else np.zeros(vectors.shape[1]))
    return means


def csr(neighbours):
    indptr = np.cumsum([0, *map(len, neighbours)])
    return indptr.astype(np.int64), np.array([one for others in neighbours for one in others], dtype=np.int64)


def means_of(vectors, own, neighbours, limit):
    means = neighbour_means(unit_steps(vectors), own, *csr(neighbours), limit)
    assert means.dtype == np.int16
    found = from_steps(means)
    assert found.dtype == np.float32
    return found


def test_steps_are_those_of_unit_vectors_of_any_length_and_dtype():
    vectors = np.array([[3, 4], [0, 0], [-1, 0], [1, 0]], dtype=np.float16)
    for found in (unit_steps(vectors), unit_steps(np.float32(1000) * vectors)):
        assert found.dtype == np.int16
        assert found.tolist() == [[19661, 26214], [0, 0], [-32768, 0], [32767, 0]]
    assert from_steps(found) == pytest.approx(np.array([[0.6, 0.8], [0, 0], [-1, 0], [1, 0]]), abs=PRECISION)


@examples(0.3)
@given(st.integers(1, 20), st.floats(0.01, 1.5), st.integers(0, 2**32 - 1))
def test_means_are_those_of_plain_loops(rows, limit, seed):
    random = np.random.default_rng(seed)
    vectors = unit_rows(random, rows, 5)
    own = random.permutation(rows)[: random.integers(1, rows + 1)]
    neighbours = [random.choice(rows, random.integers(0, rows + 1), replace=False).tolist() for _ in own]
    # A distance as near to the limit as values are rounded may be on either side.
    assume(np.abs(2 - 2 * vectors @ vectors.T - limit).min() > 1e-3)
    found = means_of(vectors, own, neighbours, limit)
    assert np.allclose(found, by_loops(vectors, own, neighbours, 1 - limit / 2), atol=PRECISION)


@examples(0.3)
@given(st.integers(2, 12), st.integers(0, 2**32 - 1))
def test_means_are_the_same_bits_in_any_order_of_the_neighbours(rows, seed):
    random = np.random.default_rng(seed)
    vectors = unit_rows(random, rows, 7)
    neighbours = list(range(1, rows))
    found = [means_of(vectors, np.array([0]), [order], 0.1) for order in (neighbours, neighbours[::-1])]
    assert (found[0] == found[1]).all()


def test_a_neighbour_with_the_same_caption_does_not_vouch_for_it():
    vectors = unit_rows(np.random.default_rng(0), 3, 6)
    again = np.vstack([vectors, vectors[:1]])
    means = means_of(again, np.array([0]), [[1, 3]], SAME_CAPTION)
    assert means[0] == pytest.approx(vectors[1], abs=PRECISION)
    assert not means_of(again, np.array([0]), [[3]], SAME_CAPTION).any()


def test_equal_vectors_are_left_out_at_a_limit_of_zero():
    same = np.repeat(unit_rows(np.random.default_rng(0), 1, 6), 3, axis=0)
    assert not means_of(same, np.array([0]), [[1, 2]], 0.0).any()
