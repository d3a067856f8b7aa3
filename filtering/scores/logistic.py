"""Logistic regression whose weights have the same bits on every CPU.

Newton's method with sums in the order of the rows: a library's solver adds up, and solves, as the CPU suits it, and its
weights would differ in their last digits from machine to machine.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from filtering.core.portable_math import exp, log

Float64Array = npt.NDArray[np.float64]

ITERATIONS = 100
# A step below this part of the weights' size ends the search, and one that raises the loss is halved so often at most.
SMALLEST_STEP = 1e-10
HALVINGS = 30


def logistic_weights(
    terms: Float64Array, answers: npt.NDArray[np.bool_], strength: float
) -> tuple[Float64Array, float]:
    """Return the weights, float64 (t,), and the constant of a logistic regression with an L2 penalty.

    They minimise ``strength * sum_i log(1 + exp(-y_i (w.x_i + c))) + |w|^2 / 2``, with y_i 1 or -1 by `answers`, bool
    (n,), and x_i the rows of `terms`, float64 (n, t); the constant has no penalty.
    """
    # The constant is the weight of a last term that is 1.
    rows = np.concatenate([terms, np.ones((len(terms), 1))], axis=1)
    weights = np.zeros(rows.shape[1])
    _descend(np.ascontiguousarray(rows), np.where(answers, 1.0, -1.0), strength, weights)
    return weights[:-1], float(weights[-1])


@njit(cache=True)  # type: ignore[untyped-decorator]
def _descend(rows: Float64Array, signs: Float64Array, strength: float, weights: Float64Array) -> None:
    """Move `weights` to the minimum."""
    size = len(weights)
    gradient, curvature, moved = np.zeros(size), np.zeros((size, size)), np.zeros(size)
    before = _loss(rows, signs, strength, weights)
    for _ in range(ITERATIONS):
        _derivatives(rows, signs, strength, weights, gradient, curvature)
        _solve(curvature, gradient)
        share = 1.0
        for _ in range(HALVINGS):
            for at in range(size):
                moved[at] = weights[at] - share * gradient[at]
            after = _loss(rows, signs, strength, moved)
            if after <= before:
                break
            share /= 2
        if not after <= before:
            break
        step, largest = 0.0, 1.0
        for at in range(size):
            step = max(step, abs(moved[at] - weights[at]))
            largest = max(largest, abs(moved[at]))
            weights[at] = moved[at]
        before = after
        if step <= SMALLEST_STEP * largest:
            break


@njit(cache=True)  # type: ignore[untyped-decorator]
def _loss(rows: Float64Array, signs: Float64Array, strength: float, weights: Float64Array) -> float:
    total = 0.0
    for row in range(len(rows)):
        margin = signs[row] * _value(rows[row], weights)
        total += log(1.0 + exp(-abs(margin))) + max(-margin, 0.0)
    penalty = 0.0
    for at in range(len(weights) - 1):
        penalty += weights[at] * weights[at]
    return strength * total + penalty / 2


@njit(cache=True)  # type: ignore[untyped-decorator]
def _derivatives(
    rows: Float64Array,
    signs: Float64Array,
    strength: float,
    weights: Float64Array,
    gradient: Float64Array,
    curvature: Float64Array,
) -> None:
    gradient[:] = 0.0
    curvature[:] = 0.0
    size = len(weights)
    for row in range(len(rows)):
        wrong = 1.0 / (1.0 + exp(signs[row] * _value(rows[row], weights)))
        slope, bend = -strength * signs[row] * wrong, strength * wrong * (1.0 - wrong)
        for at in range(size):
            gradient[at] += slope * rows[row, at]
            for other in range(at + 1):
                curvature[at, other] += bend * rows[row, at] * rows[row, other]
    for at in range(size - 1):
        gradient[at] += weights[at]
        curvature[at, at] += 1.0


@njit(cache=True)  # type: ignore[untyped-decorator]
def _value(row: Float64Array, weights: Float64Array) -> float:
    total = 0.0
    for at in range(len(weights)):
        total += row[at] * weights[at]
    return total


@njit(cache=True)  # type: ignore[untyped-decorator]
def _solve(matrix: Float64Array, vector: Float64Array) -> None:
    """Replace `vector` by the solution of a symmetric positive system, by Cholesky's method.

    `matrix` holds the lower half; both are changed. There is no move in a direction without curvature, but for
    rounding.
    """
    size = len(vector)
    for column in range(size):
        pivot = matrix[column, column]
        for at in range(column):
            pivot -= matrix[column, at] ** 2
        there = pivot > 1e-14 * matrix[column, column]
        matrix[column, column] = np.sqrt(pivot) if there else np.inf
        for row in range(column + 1, size):
            value = matrix[row, column]
            for at in range(column):
                value -= matrix[row, at] * matrix[column, at]
            matrix[row, column] = value / matrix[column, column]
    for row in range(size):
        for at in range(row):
            vector[row] -= matrix[row, at] * vector[at]
        vector[row] /= matrix[row, row]
    for row in range(size - 1, -1, -1):
        for at in range(row + 1, size):
            vector[row] -= matrix[at, row] * vector[at]
        vector[row] /= matrix[row, row]
