"""The mean caption of the images most like an image, or the mean image of the captions most like a caption.

What a caption says is right where the captions of similar images say it too.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from filtering.core.csr import Int64Array
from filtering.core.fixed_point import SQUARED_STEPS

Int16Array = npt.NDArray[np.int16]
Int32Array = npt.NDArray[np.int32]

# Captions at a cosine of at least 1 - 1e-4 are one caption: their squared distance.
SAME_CAPTION = 2e-4


def neighbour_means(
    vectors: Int16Array, own: Int64Array, indptr: Int64Array, targets: Int64Array, limit: float
) -> Int16Array:
    """Return the mean vector of each row's neighbours, int16 (n, d) in steps of 2^-15; zeros of a row with none left.

    Neighbours at a squared distance of at most `limit` from the row itself are left out: they repeat it, and would
    vouch for a wrong pair that was repeated.

    Parameters
    ----------
    vectors : int16 (m, d)
        Unit vectors of the side that is averaged, in steps (`core.fixed_point`), so that sums do not depend on the
        order of the neighbours: of captions where neighbours are those of images.
    own : int64 (n,)
        The place of each row in `vectors`.
    indptr : int64 (n + 1,)
        Row i's neighbours are ``targets[indptr[i]:indptr[i + 1]]``, fewer than 65,536.
    targets : int64 (e,)
        Places of the neighbours in `vectors`.
    limit : float
        The squared Euclidean distance of unit vectors up to which a neighbour repeats the row.

    Returns
    -------
    int16 (n, d)
        Plain means of unit vectors, not scaled to length 1.
    """
    sums = np.zeros(vectors.shape[1], dtype=np.int32)
    means = np.zeros((len(own), vectors.shape[1]), dtype=np.int16)
    _mean_rows(vectors, own, indptr, targets, limit * float(SQUARED_STEPS), sums, means)
    return means


@njit(cache=True)  # type: ignore[untyped-decorator]
def _mean_rows(
    steps: Int16Array,
    own: Int64Array,
    indptr: Int64Array,
    targets: Int64Array,
    limit: float,
    sums: Int32Array,
    means: Int16Array,
) -> None:
    """Write the means of what is left of each row's neighbours to `means`, zeros at first."""
    for row in range(len(own)):
        count, mine = 0, steps[own[row]]
        sums[:] = 0
        for edge in range(indptr[row], indptr[row + 1]):
            other = steps[targets[edge]]
            if _apart(mine, other, limit):
                count += 1
                for column in range(len(other)):
                    sums[column] += np.int32(other[column])
        if count:
            share = 1.0 / count
            for column in range(len(sums)):
                means[row, column] = np.int16(np.rint(sums[column] * share))


@njit(cache=True)  # type: ignore[untyped-decorator]
def _apart(one: Int16Array, other: Int16Array, limit: float) -> bool:
    """Say whether the squared distance of two rows, in steps, is above a limit; most are after a few values."""
    squared = np.int64(0)
    for start in range(0, len(one), 64):
        for column in range(start, min(start + 64, len(one))):
            difference = np.int32(one[column]) - np.int32(other[column])
            squared += np.int64(difference) * np.int64(difference)
        if squared > limit:
            return True
    return False
