"""Vectors in one byte a coordinate: their products find candidates, which exact distances then rank.

Unit-norm rows are rotated at random (signs, then a Walsh-Hadamard transform), so that no coordinate is much larger than
the others, and rounded to whole steps of one size, each row by itself. What rounding adds to a distance has a known
spread, so that rows which it might have cost a neighbour can be told and searched again.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]
Int8Array = npt.NDArray[np.int8]

# The largest number of steps, and at how many standard deviations of a row's coordinates it stands.
STEPS = 127
CLIPPED_AT = 4.5
# Rows are padded to a multiple of this many coordinates, which is the least that a rotation mixes.
MIXED = 64
SIGN_SEED = 0
# Rows that are rotated together: every step of the transform is then one operation on as many numbers.
LANES = 16
# Rows nearer to each other than rounding's standard deviation, times this, are told apart in float32: what is missed
# then is 3 neighbours of 100,000, in a partition of a pool of 12.8 million.
DEVIATIONS = 1.0


@dataclass(frozen=True, slots=True)
class Quantised:
    """Rows in whole steps: <x, y> - |y|^2 / 2 orders the neighbours y of x by their distance."""

    rows: Int8Array  # int8 (n, w), w >= d
    halves: Int32Array  # int32 (n,), half the squared length, in squared steps

    def take(self, places: npt.NDArray[Any]) -> "Quantised":
        """Return some rows."""
        return Quantised(self.rows[places], self.halves[places])


def quantised(vectors: Float32Array) -> Quantised:
    """Return unit-norm vectors, float32 (n, d), rotated and rounded."""
    signs, mixed = _signs(-(-vectors.shape[1] // MIXED) * MIXED)
    step = CLIPPED_AT / (STEPS * len(signs) ** 0.5)
    rows, halves = np.empty((len(vectors), len(signs)), dtype=np.int8), np.empty(len(vectors), dtype=np.int32)
    lanes = np.zeros((len(signs), LANES), dtype=np.float32)
    _rotate(vectors, signs, np.float32(1 / (step * mixed**0.5)), lanes, rows, halves)
    return Quantised(rows, halves)


def rounding_bounds(distances: npt.NDArray[np.int64], width: int) -> npt.NDArray[np.float64]:
    """Return how far rounding may move two candidates of a row against each other, in squared steps, float64 (n,).

    `distances`, int64 (n,), are the candidates' squared distances, in squared steps: the bound is of half of that.
    `width` is the number of coordinates of a row.

    Notes
    -----
    A coordinate is rounded by up to half a step, evenly: with a variance of 1/12. With D = |x - y|^2 and e for what
    rounding adds, half the distance errs by <x - y, e_x - e_y> + |e_x - e_y|^2 / 2. The difference of two such has, of
    the first term, in which e_x is the same, the variance (|x - y|^2 + |x - z|^2 + |y - z|^2) / 12, about D / 4, and of
    the second about w / 50. That one decides among rows that are nearly equal, and is taken at three deviations.
    """
    return np.asarray(DEVIATIONS * np.sqrt(np.maximum(distances, 0) / 4 + width / 5))


@lru_cache
def has_int8_products() -> bool:
    """Say whether this CPU multiplies bytes in hardware (AVX-512 VNNI): elsewhere torch does it number by number."""
    try:
        flags = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags"))
    except (OSError, StopIteration):
        return False
    return "avx512_vnni" in flags.split()


@lru_cache
def _signs(width: int) -> tuple[Float32Array, int]:
    """Return a random sign for each coordinate, and how many coordinates are mixed: the largest power of two."""
    signs = np.random.default_rng(SIGN_SEED).choice(np.array([-1, 1], dtype=np.float32), width)
    return signs, width & -width


@njit(cache=True)  # type: ignore[untyped-decorator]
def _rotate(
    vectors: Float32Array,
    signs: Float32Array,
    inverse: np.float32,
    lanes: Float32Array,
    rows: Int8Array,
    halves: Int32Array,
) -> None:
    count, dimension = vectors.shape
    width = len(signs)
    most = np.float32(STEPS)
    for start in range(0, count, LANES):
        held = min(LANES, count - start)
        lanes[:] = 0
        for lane in range(held):
            for at in range(dimension):
                lanes[at, lane] = vectors[start + lane, at] * signs[at]
        apart = 1
        while apart < width & -width:
            for first in range(0, width, 2 * apart):
                for at in range(first, first + apart):
                    for lane in range(LANES):
                        left, right = lanes[at, lane], lanes[at + apart, lane]
                        lanes[at, lane] = left + right
                        lanes[at + apart, lane] = left - right
            apart *= 2
        for lane in range(held):
            square = np.int64(0)
            for at in range(width):
                steps = np.int64(np.rint(min(max(lanes[at, lane] * inverse, -most), most)))
                rows[start + lane, at] = steps
                square += steps * steps
            halves[start + lane] = square // 2
