"""The mean caption of the images most like an image, or the mean image of the captions most like a caption.

What a caption says is right where the captions of similar images say it too.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from filtering.core.csr import Int64Array

Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]

# Values of unit vectors are added up in steps of 2^-24, whole numbers: the same sums in any order of the neighbours.
STEPS = 1 << 24
# Rows that are converted at once.
BLOCK_ROWS = 8_192
# Captions at a cosine of at least 1 - 1e-4 are one caption: their squared distance.
SAME_CAPTION = 2e-4


def neighbour_means(
    vectors: Float32Array, own: Int64Array, indptr: Int64Array, targets: Int64Array, limit: float
) -> Float32Array:
    """Return the mean vector of each row's neighbours, float32 (n, d); zeros of a row with none left.

    Neighbours at a squared distance of at most `limit` from the row itself are left out: they repeat it, and would
    vouch for a wrong pair that was repeated.

    Parameters
    ----------
    vectors : float32 (m, d)
        Unit rows of the side that is averaged: of captions where neighbours are those of images.
    own : int64 (n,)
        The place of each row in `vectors`.
    indptr : int64 (n + 1,)
        Row i's neighbours are ``targets[indptr[i]:indptr[i + 1]]``.
    targets : int64 (e,)
        Places of the neighbours in `vectors`.
    limit : float
        The squared Euclidean distance up to which a neighbour repeats the row.

    Returns
    -------
    float32 (n, d)
        Plain means, not scaled to length 1.
    """
    steps = _in_steps(vectors)
    sums, counts = np.zeros(vectors.shape[1], dtype=np.int64), np.zeros(len(own), dtype=np.int64)
    means = np.zeros((len(own), vectors.shape[1]), dtype=np.float32)
    _mean_rows(steps, own, indptr, targets, limit * float(STEPS) ** 2, sums, counts, means)
    return means


def _in_steps(vectors: Float32Array) -> Int32Array:
    steps = np.empty(vectors.shape, dtype=np.int32)
    for start in range(0, len(vectors), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        steps[block] = np.rint(vectors[block] * np.float32(STEPS))
    return steps


@njit(cache=True)  # type: ignore[untyped-decorator]
def _mean_rows(
    steps: Int32Array,
    own: Int64Array,
    indptr: Int64Array,
    targets: Int64Array,
    limit: float,
    sums: Int64Array,
    counts: Int64Array,
    means: Float32Array,
) -> None:
    """Write the means of what is left of each row's neighbours to `means`, and how many those are to `counts`."""
    dimension = steps.shape[1]
    for row in range(len(own)):
        for column in range(dimension):
            sums[column] = 0
        for edge in range(indptr[row], indptr[row + 1]):
            if _apart(steps, own[row], targets[edge], limit):
                counts[row] += 1
                for column in range(dimension):
                    sums[column] += steps[targets[edge], column]
        if counts[row]:
            for column in range(dimension):
                means[row, column] = sums[column] / (counts[row] * np.float64(STEPS))


@njit(cache=True)  # type: ignore[untyped-decorator]
def _apart(steps: Int32Array, first: int, second: int, limit: float) -> bool:
    """Say whether the squared distance of two rows, in steps, is above a limit; most are after a few values."""
    squared = 0.0
    for column in range(steps.shape[1]):
        difference = np.float64(steps[first, column]) - np.float64(steps[second, column])
        squared += difference * difference
        if squared > limit:
            return True
    return False
