"""How well scores tell right from wrong, and how true probabilities are."""

from typing import Any

import numpy as np
import numpy.typing as npt

BINS = 15


def auc(right: npt.NDArray[Any], wrong: npt.NDArray[Any]) -> float:
    """Return the chance that a right one's score exceeds a wrong one's, ties counted as half."""
    ordered = np.sort(wrong)
    below = np.searchsorted(ordered, right, "left") + np.searchsorted(ordered, right, "right")
    return float(below.mean()) / 2 / len(wrong)


def calibration_error(probability: npt.NDArray[Any], right: npt.NDArray[np.bool_], bins: int = BINS) -> float:
    """Return the expected calibration error: |mean probability - share right|, over bins of equal width.

    Guo et al., On Calibration of Modern Neural Networks (arXiv 1706.04599), equation 3.
    """
    place = np.minimum((probability * bins).astype(np.int64), bins - 1)
    excess = np.bincount(place, weights=probability - right, minlength=bins)
    return float(np.abs(excess).sum() / len(right))
