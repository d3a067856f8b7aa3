"""Mean and covariance of vectors, and what their products with other vectors come to by chance.

Over mismatched pairs the product a.b of a fixed vector a and a random vector b has the mean a.m and the variance a'Ca,
m and C being the mean and the covariance of the b's. Whole numbers are added up where parts of a pool are joined, so
that the sums are the same in any order.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

# Sums are of values in steps of 2^-28: exact for the products of up to 2^35 unit vectors.
STEPS = float(1 << 28)
# Rows that are converted at once.
BLOCK_ROWS = 8_192
# Products of vectors kept as float16 are uncertain by about so much: no deviation is taken for less.
LEAST_DEVIATION = 1e-4


def step_sums(vectors: Float32Array) -> Int64Array:
    """Return the sum of unit rows, float32 (n, d), in steps of 2^-28, int64 (d,): equal for any order of the rows."""
    sums = np.zeros(vectors.shape[1], dtype=np.int64)
    for start in range(0, len(vectors), BLOCK_ROWS):
        steps = np.rint(vectors[start : start + BLOCK_ROWS].astype(np.float64) * STEPS)
        sums += steps.sum(axis=0).astype(np.int64)
    return sums


def mean_of(sums: Iterable[Int64Array], rows: int, dimension: int) -> Float64Array:
    """Return the mean of `rows` rows, float64 (d,), from the `step_sums` of parts of them; zeros without rows."""
    total = np.zeros(dimension, dtype=np.int64)
    for part in sums:
        total += part
    mean: Float64Array = total / (max(rows, 1) * STEPS)
    return mean


@dataclass(frozen=True, slots=True)
class Moments:
    """The mean, float64 (d,), and the covariance, float64 (d, d), of some rows; of none zeros."""

    mean: Float64Array
    covariance: Float64Array

    def expected(self, vectors: Float32Array) -> "Expected":
        """Return what the products of vectors, float32 (m, d), with random rows come to."""
        wide = vectors @ self.covariance.astype(np.float32)
        variance = np.einsum("nd,nd->n", wide, vectors).astype(np.float64)
        return Expected(vectors @ self.mean, np.maximum(np.sqrt(np.maximum(variance, 0)), LEAST_DEVIATION))


@dataclass(frozen=True, slots=True)
class Expected:
    """Mean and standard deviation of the products of m vectors with random rows, float64 (m,) each."""

    mean: Float64Array
    deviation: Float64Array

    def standing(self, products: Float64Array) -> Float64Array:
        """Return how many deviations products, float64 (m,), are above the mean."""
        return (products - self.mean) / self.deviation


def moments_of(vectors: Float32Array) -> Moments:
    """Return the moments of rows, float32 (n, d); the covariance is divided by n."""
    rows, dimension = max(len(vectors), 1), vectors.shape[1]
    values, products = np.zeros(dimension), np.zeros((dimension, dimension))
    for start in range(0, len(vectors), BLOCK_ROWS):
        block = vectors[start : start + BLOCK_ROWS].astype(np.float64)
        values += block.sum(axis=0)
        # An array and its own transpose: half the work of two arrays.
        products += block.T @ block
    mean = values / rows
    return Moments(mean, products / rows - np.outer(mean, mean))
