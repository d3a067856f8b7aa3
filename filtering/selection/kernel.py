"""The kernel of D2 Pruning: the weight of a message over a distance."""

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from filtering.config.validation import nearest
from filtering.core.csr import FloatArray
from filtering.core.errors import InputError

Distance = Literal["squared", "euclidean"]
Scale = Literal["fixed", "median"]


@dataclass(frozen=True, slots=True)
class Kernel:
    """How a message fades with distance: exp(-gamma * d / unit).

    d is the squared Euclidean distance (the paper) or the Euclidean one (the released code, dense path); at the unit,
    in the same measure, a message has faded to exp(-gamma). InputError if the unit is not finite and above 0.
    """

    distance: Distance = "squared"
    unit: float = 1.0

    def __post_init__(self) -> None:
        check_option("distance", self.distance, Distance)
        if not (math.isfinite(self.unit) and self.unit > 0):
            raise InputError(f"the kernel's unit must be finite and above 0, got {self.unit}")

    @classmethod
    def of(cls, *distances: FloatArray, distance: Distance = "squared", scale: Scale = "fixed") -> "Kernel":
        """Return the kernel for edges of these squared distances, float (m,) each.

        Scale `fixed` leaves distances as they are; `median` takes their median as the unit (1 where that is 0 or
        there is no edge), so that a gamma means the same whatever the density of the data.
        """
        check_option("scale", scale, Scale)
        plain = cls(distance)
        if scale == "fixed" or not any(map(len, distances)):
            return plain
        return cls(distance, float(np.median(plain.lengths(np.concatenate(distances)))) or 1.0)

    @property
    def root(self) -> bool:
        """Whether d is the square root of a graph's distance."""
        return self.distance == "euclidean"

    def lengths(self, distances: FloatArray) -> npt.NDArray[np.float64]:
        """Return d, float64 (m,), of squared distances, float (m,)."""
        whole = distances.astype(np.float64)
        return np.sqrt(whole) if self.root else whole

    def weights(self, distances: FloatArray, gamma: float) -> npt.NDArray[np.float64]:
        """Return exp(-gamma * d / unit), float64 (m,), of squared distances, float (m,)."""
        faded: npt.NDArray[np.float64] = np.exp(-gamma * self.lengths(distances) / self.unit)
        return faded


def check_option(name: str, value: str, known: Any) -> None:
    """Refuse a value that is none of a Literal's, in one line with the nearest of them."""
    if value not in get_args(known):
        raise InputError(f"{name}: unknown value {value}{nearest(str(value), get_args(known))}")
