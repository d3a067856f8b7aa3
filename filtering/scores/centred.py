"""How well image and caption fit, apart from how well either fits the pool as a whole.

CLIP's vectors of images, and those of captions, lie around a mean of their own that tells nothing about a single pair.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from numba import njit

from filtering.core import fixed_point
from filtering.core.clip_score import clip_scores
from filtering.core.portable_math import row_products

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
Rows = npt.NDArray[np.float32] | npt.NDArray[np.int16]

# Sums are whole numbers of steps of 2^-28, so that they are the same in any order: exact for up to 2^35 unit vectors.
STEPS = float(1 << 28)
# A unit vector in half precision is off by up to 2^-11: of one that is no farther from its mean than two such errors,
# the direction from there is rounding.
NEAREST = 2.0**-10


def step_sums(vectors: Float32Array) -> Int64Array:
    """Return the sum of unit rows, float32 (n, d), in steps of 2^-28, int64 (d,): equal for any order of the rows."""
    sums = np.zeros(vectors.shape[1], dtype=np.int64)
    _add_steps(vectors, sums)
    return sums


@njit(cache=True)  # type: ignore[untyped-decorator]
def _add_steps(vectors: Float32Array, sums: Int64Array) -> None:
    for row in range(vectors.shape[0]):
        for column in range(vectors.shape[1]):
            sums[column] += np.int64(vectors[row, column] * STEPS)


def mean_of(sums: Iterable[Int64Array], rows: int, dimension: int) -> Float64Array:
    """Return the mean of `rows` rows, float64 (d,), from the `step_sums` of parts of them; zeros without rows."""
    total = np.zeros(dimension, dtype=np.int64)
    for part in sums:
        total += part
    mean: Float64Array = total / (max(rows, 1) * STEPS)
    return mean


def centred_scores(
    images: Float32Array, texts: Float32Array, image_mean: Float64Array, text_mean: Float64Array
) -> Float64Array:
    """Return cos - (v.m_t + t.m_v) / 2 of each pair, float64 (n,).

    The cosine of image v and caption t, less the mean of what v reaches with a random caption and t with a random image
    of the pool; unit rows, float32 (n, d), and the means of the pool's images and captions, float64 (d,). The closed
    form of what negCLIPLoss (arXiv 2405.19547) samples in batches.
    """
    expected = row_products(images, text_mean) + row_products(texts, image_mean)
    return clip_scores(images, texts).astype(np.float64) - expected / 2


def centred_cosines(first: Rows, second: Rows, first_mean: Float64Array, second_mean: Float64Array) -> Float64Array:
    """Return the cosines of (a - m_a) and (b - m_b), float64 (n,), of rows (n, d), and means, float64 (d,).

    Rows are float32, or int16 in steps of 2^-15. 0 where a or b is all zeros, or within `NEAREST` of its mean.
    """
    cosines = np.zeros(len(first))
    _centred_cosines(first, second, first_mean, second_mean, _step(first), _step(second), cosines)
    return cosines


def _step(rows: Rows) -> float:
    return 1.0 / fixed_point.STEPS if rows.dtype == np.int16 else 1.0


@njit(cache=True)  # type: ignore[untyped-decorator]
def _centred_cosines(
    first: Rows,
    second: Rows,
    first_mean: Float64Array,
    second_mean: Float64Array,
    first_step: float,
    second_step: float,
    cosines: Float64Array,
) -> None:
    """Write the cosines to `cosines`, zeros at first; added up column by column, on every machine alike.

    A sum waits for each of its additions: those of two rows take turns.
    """
    terms, sums = np.zeros((2, 3, first.shape[1])), np.zeros((2, 3))
    for start in range(0, len(first), 2):
        rows = range(start, min(start + 2, len(first)))
        for row in rows:
            _terms(first[row], second[row], first_mean, second_mean, first_step, second_step, terms[row - start])
        _add_up(terms[0], terms[1], sums)
        for row in rows:
            product, one_length, other_length = sums[row - start]
            if np.any(first[row]) and np.any(second[row]) and min(one_length, other_length) > NEAREST**2:
                cosines[row] = product / np.sqrt(one_length * other_length)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _terms(
    first: Rows,
    second: Rows,
    first_mean: Float64Array,
    second_mean: Float64Array,
    first_step: float,
    second_step: float,
    terms: Float64Array,
) -> None:
    """Write what a row adds to its product and to both squared lengths, float64 (3, d)."""
    for column in range(len(first)):
        one = first[column] * first_step - first_mean[column]
        other = second[column] * second_step - second_mean[column]
        terms[0, column], terms[1, column], terms[2, column] = one * other, one * one, other * other


@njit(cache=True)  # type: ignore[untyped-decorator]
def _add_up(one: Float64Array, other: Float64Array, sums: Float64Array) -> None:
    a, b, c, d, e, f = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for column in range(one.shape[1]):
        a += one[0, column]
        b += one[1, column]
        c += one[2, column]
        d += other[0, column]
        e += other[1, column]
        f += other[2, column]
    sums[0, 0], sums[0, 1], sums[0, 2] = a, b, c
    sums[1, 0], sums[1, 1], sums[1, 2] = d, e, f
