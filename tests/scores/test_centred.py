import numpy as np
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from filtering.scores.centred import centred_cosines, centred_scores, mean_of, step_sums


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


@examples(0.3)
@given(st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_the_score_is_the_cosine_less_its_mean_over_all_pairs_of_its_parts(rows, seed):
    random = np.random.default_rng(seed)
    images, texts = unit_rows(random, rows, 6), unit_rows(random, rows, 6)
    cosines = images.astype(np.float64) @ texts.astype(np.float64).T
    plain = [cosines[i, i] - (cosines[i].mean() + cosines[:, i].mean()) / 2 for i in range(rows)]
    found = centred_scores(images, texts, images.mean(axis=0, dtype=np.float64), texts.mean(axis=0, dtype=np.float64))
    assert np.allclose(found, plain, atol=1e-6)


@examples(0.3)
@given(st.integers(2, 20), st.integers(0, 2**32 - 1))
def test_centred_cosines_are_those_of_vectors_less_their_means(rows, seed):
    random = np.random.default_rng(seed)
    first, second = unit_rows(random, rows, 6), unit_rows(random, rows, 6)
    means = first.mean(axis=0, dtype=np.float64), second.mean(axis=0, dtype=np.float64)
    for a, b, found in zip(first, second, centred_cosines(first, second, *means), strict=True):
        one, other = a - means[0], b - means[1]
        assert abs(found - one @ other / (np.linalg.norm(one) * np.linalg.norm(other))) < 1e-9
        assert -1 - 1e-9 <= found <= 1 + 1e-9


def test_vectors_of_nothing_fit_nothing():
    one = unit_rows(np.random.default_rng(0), 2, 4)
    nothing, mean = np.zeros_like(one), np.full(4, 0.1)
    assert centred_cosines(nothing, one, mean, mean).tolist() == [0, 0]
    assert centred_cosines(one, one, one[0].astype(np.float64), mean)[0] == 0


def test_vectors_that_are_their_mean_but_for_rounding_fit_nothing():
    random = np.random.default_rng(0)
    images, same = unit_rows(random, 50, 64), np.repeat(unit_rows(random, 1, 64), 50, axis=0)
    means = (mean_of([step_sums(side)], *side.shape) for side in (images, same))
    assert not centred_cosines(images, same, *means).any()
    rounded = (same + random.normal(scale=2.0**-15, size=same.shape)).astype(np.float16).astype(np.float32)
    assert not centred_cosines(images, rounded, images.mean(axis=0), rounded.mean(axis=0)).any()
