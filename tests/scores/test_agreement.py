import numpy as np
import pytest
from examples import examples
from hypothesis import assume, given
from hypothesis import strategies as st

from filtering.scores.agreement import SAME_CAPTION, neighbour_means

# Values are added up in steps of 2^-15.
PRECISION = 2e-5


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


@examples(0.3)
@given(st.integers(1, 20), st.floats(0.01, 1.5), st.integers(0, 2**32 - 1))
def test_means_are_those_of_plain_loops(rows, limit, seed):
    random = np.random.default_rng(seed)
    vectors = unit_rows(random, rows, 5)
    own = random.permutation(rows)[: random.integers(1, rows + 1)]
    neighbours = [random.choice(rows, random.integers(0, rows + 1), replace=False).tolist() for _ in own]
    # A distance as near to the limit as values are rounded may be on either side.
    assume(np.abs(2 - 2 * vectors @ vectors.T - limit).min() > 1e-3)
    found = neighbour_means(vectors, own, *csr(neighbours), limit)
    assert found.dtype == np.float32
    assert np.allclose(found, by_loops(vectors, own, neighbours, 1 - limit / 2), atol=PRECISION)


@examples(0.3)
@given(st.integers(2, 12), st.integers(0, 2**32 - 1))
def test_means_are_the_same_bits_in_any_order_of_the_neighbours(rows, seed):
    random = np.random.default_rng(seed)
    vectors = unit_rows(random, rows, 7)
    neighbours = list(range(1, rows))
    found = [neighbour_means(vectors, np.array([0]), *csr([order]), 0.1) for order in (neighbours, neighbours[::-1])]
    assert (found[0] == found[1]).all()


def test_a_neighbour_with_the_same_caption_does_not_vouch_for_it():
    vectors = unit_rows(np.random.default_rng(0), 3, 6)
    again = np.vstack([vectors, vectors[:1]])
    means = neighbour_means(again, np.array([0]), *csr([[1, 3]]), SAME_CAPTION)
    assert means[0] == pytest.approx(vectors[1], abs=PRECISION)
    assert not neighbour_means(again, np.array([0]), *csr([[3]]), SAME_CAPTION).any()


def test_equal_vectors_are_left_out_at_a_limit_of_zero():
    same = np.repeat(unit_rows(np.random.default_rng(0), 1, 6), 3, axis=0)
    assert not neighbour_means(same, np.array([0]), *csr([[1, 2]]), 0.0).any()
