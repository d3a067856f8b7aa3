"""Scores brought to one scale, so that a weighted sum of them means something; each keeps the order of its values.

The sum of `over_mean(minmax(SAS))` and 0.1 times `over_mean(minmax(SDS))` is CLIP-powered selection (arXiv 2410.11215):
the paper learns a gate a sample by gradient descent, and with equal initial gates the gates' order is that of this sum.
"""

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Values = Float32Array | Float64Array


def minmax(values: Values, low: float, high: float) -> Float64Array:
    """Return values, (n,), scaled from the pool's range to [0, 1], float64 (n,); 0 where low and high are equal."""
    return _scaled(values, low, high - low)


def zscores(values: Values, mean: float, std: float) -> Float64Array:
    """Return values, (n,), less the pool's mean and divided by its standard deviation, float64 (n,); 0 if that is 0."""
    return _scaled(values, mean, std)


def over_mean(values: Values, mean: float) -> Float64Array:
    """Return values, (n,), divided by the pool's mean, float64 (n,), all 0 where the mean is 0.

    A mean below 0 would turn the order round: it is meant for values that are never negative, such as `minmax` gives.
    """
    return _scaled(values, 0.0, mean)


def mid_ranks(values: Values) -> Float64Array:
    """Return the rank of each value in (0, 1), float64 (n,): (how many are lower + half of those equal) / n.

    The value itself is among the equal ones. The mean of all ranks is 1/2.
    """
    ordered = np.sort(values)
    lower, through = (np.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    return (lower + through) / (2 * max(len(values), 1))


def _scaled(values: Values, origin: float, unit: float) -> Float64Array:
    if unit == 0:
        return np.zeros(len(values))
    return (values.astype(np.float64) - origin) / unit
