"""Soft cap sampling (arXiv 2503.08805, FLYT): draws by score, with a penalty for each time that a sample was drawn.

FLYT draws batches from the softmax of scores, and lowers the scores of what it has drawn. Drawn one at a time, that is
a race of independent exponential clocks: sample i, drawn k times, is drawn again after a time of rate
exp((s_i - penalty k) / temperature), and the next sample that is drawn is the one whose time comes first (the clocks
have no memory). So the times of a sample's draws follow from the sample alone, and the first N draws of the pool are
those up to the N-th smallest time, which is found exactly without gathering the times (`core.radix_select`).

What differs from FLYT: draws are single, not in batches; they are among kept samples alone, of which each counts as
drawn once from the start; scores are in standard deviations; and no sample is drawn more than `most` times.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filtering.config.weights import Weights
from filtering.core.portable_math import exps, logs
from filtering.core.radix_select import Digits, at_or_above, score_digits
from filtering.core.uids import Uids, hashed

Float64Array = npt.NDArray[np.float64]
# Of a 64-bit hash, the bits that a float64 between 0 and 1 holds.
DROPPED_BITS, STEPS = np.uint64(11), 2.0**-53


def log_of_sum(a: Float64Array, b: Float64Array) -> Float64Array:
    """Return log(e^a + e^b), float64 (n,), of finite numbers, with the same bits on every CPU."""
    return np.maximum(a, b) + logs(1.0 + exps(-np.abs(a - b)))


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, mean, and sum of squared differences from the mean, of some scores."""

    count: int
    mean: float
    squares: float

    @classmethod
    def of(cls, scores: npt.NDArray[np.float32]) -> "Moments":
        """Return those of scores, float32 (n,)."""
        values = scores.astype(np.float64)
        mean = float(values.mean()) if len(values) else 0.0
        return cls(len(values), mean, float(np.square(values - mean).sum()))

    def merged(self, other: "Moments") -> "Moments":
        """Return those of both (Chan, Golub and LeVeque, 1979)."""
        count = self.count + other.count
        if not count:
            return self
        apart = other.mean - self.mean
        mean = self.mean + apart * other.count / count
        return Moments(count, mean, self.squares + other.squares + apart * apart * self.count * other.count / count)

    @property
    def deviation(self) -> float:
        """The standard deviation; 1 where all scores are equal, so that none stands out."""
        return math.sqrt(self.squares / self.count) if self.squares > 0 else 1.0


@dataclass(frozen=True, slots=True)
class SoftCap:
    """How kept samples are drawn again: the settings, and the mean and standard deviation of their scores."""

    settings: Weights
    mean: float
    deviation: float

    def further(self, kept: int) -> int:
        """Return how many draws an epoch has beside one of each kept sample: as many as asked for, or as there are."""
        return min(round(kept * (self.settings.epoch - 1)), kept * (self.settings.most - 1))

    def log_times(self, uids: Uids, scores: npt.NDArray[np.float32]) -> Float64Array:
        """Return the logarithm of when samples are drawn again, float64 (n, most - 1), ascending in each row.

        Each is decided by uid and seed, its score and the settings. Logarithms, as rates may be too large for a number.
        """
        settings, again = self.settings, range(1, self.settings.most)
        standard = (scores.astype(np.float64) - self.mean) / self.deviation
        strengths = [(standard - settings.penalty * number) / settings.temperature for number in again]
        times = [logs(self._waits(uids, number)) - strength for number, strength in zip(again, strengths, strict=True)]
        each = times[:1]
        for time in times[1:]:
            each.append(log_of_sum(each[-1], time))
        return np.stack(each, axis=1)

    def _waits(self, uids: Uids, number: int) -> Float64Array:
        """Return the draw of a number of each sample from the exponential distribution of rate 1, float64 (n,)."""
        bits = hashed(uids, self.settings.seed | number << 32) >> DROPPED_BITS
        return -logs((bits.astype(np.float64) + 0.5) * STEPS)

    def keys(self, uids: Uids, scores: npt.NDArray[np.float32]) -> Digits:
        """Return the keys of all of the samples' draws, uint16 (n (most - 1), 4): the first draw has the greatest."""
        return score_digits(-self.log_times(uids, scores).ravel())

    def repeats(self, uids: Uids, scores: npt.NDArray[np.float32], bound: tuple[int, ...]) -> npt.NDArray[np.int32]:
        """Return how often each sample is seen, int32 (n,), 1 or more; `bound` is the key of the last draw, if any."""
        if not bound:
            return np.ones(len(uids), dtype=np.int32)
        drawn = at_or_above(self.keys(uids, scores), bound).reshape(len(uids), self.settings.most - 1)
        repeats: npt.NDArray[np.int32] = (1 + drawn.sum(axis=1)).astype(np.int32)
        return repeats
