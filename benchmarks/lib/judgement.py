"""How true probabilities are."""

from typing import Any

import numpy as np
import numpy.typing as npt

BINS = 15


def calibration_error(probability: npt.NDArray[Any], right: npt.NDArray[np.bool_], bins: int = BINS) -> float:
    """Return the expected calibration error: |mean probability - share right|, over bins of equal width.

    Guo et al., On Calibration of Modern Neural Networks (arXiv 1706.04599), equation 3.
    """
    place = np.minimum((probability * bins).astype(np.int64), bins - 1)
    excess = np.bincount(place, weights=probability - right, minlength=bins)
    return float(np.abs(excess).sum() / len(right))
