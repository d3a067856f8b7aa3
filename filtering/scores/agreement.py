"""The mean caption of the images most like an image, or the mean image of the captions most like a caption.

What a caption says is right where the captions of similar images say it too.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from filtering.core.csr import Int64Array
from filtering.core.fixed_point import SQUARED_STEPS, squared_lengths, squared_steps

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
    sums, left = np.zeros(vectors.shape[1], dtype=np.int32), np.zeros(np.diff(indptr).max(initial=0), dtype=np.int64)
    means = np.zeros((len(own), vectors.shape[1]), dtype=np.int16)
    lengths = squared_lengths(vectors)
    _mean_rows(vectors, lengths, own, indptr, targets, limit * float(SQUARED_STEPS), left, sums, means)
    return means


@njit(cache=True)  # type: ignore[untyped-decorator]
def _mean_rows(
    steps: Int16Array,
    lengths: Int64Array,
    own: Int64Array,
    indptr: Int64Array,
    targets: Int64Array,
    limit: float,
    left: Int64Array,
    sums: Int32Array,
    means: Int16Array,
) -> None:
    """Write the means of what is left of each row's neighbours to `means`, zeros at first."""
    for row in range(len(own)):
        count, mine = 0, own[row]
        for edge in range(indptr[row], indptr[row + 1]):
            other = targets[edge]
            if squared_steps(steps[mine], steps[other], lengths[mine] + lengths[other]) > limit:
                left[count] = other
                count += 1
        if count:
            _add_rows(steps, left[:count], sums)
            _write_mean(sums, 1.0 / count, means[row])


@njit(cache=True)  # type: ignore[untyped-decorator]
def _add_rows(steps: Int16Array, rows: Int64Array, sums: Int32Array) -> None:
    """Write the sum of some rows to `sums`: of four at a time, so that it is read and written less often."""
    sums[:] = 0
    fours = len(rows) // 4 * 4
    for at in range(0, fours, 4):
        _add_four(steps[rows[at]], steps[rows[at + 1]], steps[rows[at + 2]], steps[rows[at + 3]], sums)
    for at in range(fours, len(rows)):
        row = steps[rows[at]]
        for column in range(len(sums)):
            sums[column] += np.int32(row[column])


@njit(cache=True)  # type: ignore[untyped-decorator]
def _add_four(one: Int16Array, other: Int16Array, third: Int16Array, last: Int16Array, sums: Int32Array) -> None:
    for column in range(len(sums)):
        two = np.int32(np.int32(one[column]) + np.int32(other[column]))
        sums[column] += np.int32(two + np.int32(np.int32(third[column]) + np.int32(last[column])))


@njit(cache=True)  # type: ignore[untyped-decorator]
def _write_mean(sums: Int32Array, share: float, mean: Int16Array) -> None:
    for column in range(len(sums)):
        mean[column] = np.int16(np.rint(sums[column] * share))
