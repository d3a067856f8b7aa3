"""The kernel of D2 Pruning, the weight of a message over a distance, and the compiled loops that weigh by it.

The loops take a graph's `indptr`, int64 (n + 1,), `indices`, int64 (m,), and squared `distances`, float (m,), and weigh
an edge by exp(-gamma * d / unit); d is the root of the distance if `root` is set, else the distance itself.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from numba import njit

from filtering.config.validation import nearest
from filtering.core.csr import FloatArray, Int64Array
from filtering.core.errors import InputError
from filtering.core.portable_math import exp, exps

Float64Array = npt.NDArray[np.float64]
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

    def lengths(self, distances: FloatArray) -> Float64Array:
        """Return d, float64 (m,), of squared distances, float (m,)."""
        whole = distances.astype(np.float64)
        return np.sqrt(whole) if self.root else whole

    def weights(self, distances: FloatArray, gamma: float) -> Float64Array:
        """Return exp(-gamma * d / unit), float64 (m,), of squared distances, float (m,)."""
        return exps(-gamma * self.lengths(distances) / self.unit)


def check_option(name: str, value: str, known: Any) -> None:
    """Refuse a value that is none of a Literal's, in one line with the nearest of them."""
    if value not in get_args(known):
        raise InputError(f"{name}: unknown value {value}{nearest(str(value), get_args(known))}")


@njit(cache=True)  # type: ignore[untyped-decorator]
def edge_weight(distance: float, gamma: float, root: bool, unit: float) -> float:
    """Return the weight of a message over an edge of a squared distance."""
    length = math.sqrt(np.float64(distance)) if root else np.float64(distance)
    # In this order no product of a huge distance and a gamma of 0 is not a number; a unit of 1 changes no bit.
    return float(exp(-gamma * length / unit))


@njit(cache=True)  # type: ignore[untyped-decorator]
def with_messages(
    indptr: Int64Array,
    indices: Int64Array,
    distances: FloatArray,
    start: Float64Array,
    scores: Float64Array,
    gamma: float,
    root: bool,
    unit: float,
) -> Float64Array:
    """Return start_i + sum_j w_ij * scores_j, float64 (n,)."""
    messages = start.copy()
    for node in range(len(indptr) - 1):
        for edge in range(indptr[node], indptr[node + 1]):
            messages[node] += edge_weight(distances[edge], gamma, root, unit) * scores[indices[edge]]
    return messages


@njit(cache=True)  # type: ignore[untyped-decorator]
def _before(x: Float64Array, a: int, b: int) -> bool:
    return bool(x[a] > x[b] or (x[a] == x[b] and a < b))


@njit(cache=True)  # type: ignore[untyped-decorator]
def _rise(heap: Int64Array, place: Int64Array, x: Float64Array, at: int) -> int:
    node = heap[at]
    while at > 0:
        parent = (at - 1) >> 1
        if not _before(x, node, heap[parent]):
            break
        heap[at] = heap[parent]
        place[heap[at]] = at
        at = parent
    heap[at] = node
    place[node] = at
    return at


@njit(cache=True)  # type: ignore[untyped-decorator]
def _sink(heap: Int64Array, place: Int64Array, x: Float64Array, at: int, size: int) -> None:
    node = heap[at]
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and _before(x, heap[child + 1], heap[child]):
            child += 1
        if not _before(x, heap[child], node):
            break
        heap[at] = heap[child]
        place[heap[at]] = at
        at = child
    heap[at] = node
    place[node] = at


@njit(cache=True)  # type: ignore[untyped-decorator]
def _order(heap: Int64Array, place: Int64Array, x: Float64Array, size: int) -> None:
    """Make a heap of the first `size` entries."""
    for at in range(size // 2 - 1, -1, -1):
        _sink(heap, place, x, at, size)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _take_first(heap: Int64Array, place: Int64Array, x: Float64Array, size: int) -> int:
    """Take the first node out of a heap of `size` entries, and return it."""
    node = heap[0]
    place[node] = -1
    if size > 1:
        heap[0] = heap[size - 1]
        _sink(heap, place, x, 0, size - 1)
    return int(node)


@njit(cache=True)  # type: ignore[untyped-decorator]
def pick_greedily(
    indptr: Int64Array,
    indices: Int64Array,
    distances: FloatArray,
    x: Float64Array,
    heap: Int64Array,
    place: Int64Array,
    picks: Int64Array,
    gamma: float,
    root: bool,
    unit: float,
) -> None:
    """Write the first nodes in greedy order to `picks`, int64 (budget,); `x`, float64 (n,), is changed.

    `heap` and `place`, both 0 to n - 1 at first, are an indexed binary heap, largest x first: `place[i]` is the
    position of node i in the heap, -1 once it is picked.
    """
    size = len(indptr) - 1
    _order(heap, place, x, size)
    for rank in range(len(picks)):
        pick = _take_first(heap, place, x, size)
        picks[rank] = pick
        size -= 1
        for edge in range(indptr[pick], indptr[pick + 1]):
            neighbour = indices[edge]
            if place[neighbour] >= 0:
                x[neighbour] -= edge_weight(distances[edge], gamma, root, unit) * x[pick]
                at = _rise(heap, place, x, place[neighbour])
                _sink(heap, place, x, at, size)


@njit(cache=True)  # type: ignore[untyped-decorator]
def pick_novel(
    indptr: Int64Array,
    indices: Int64Array,
    distances: FloatArray,
    p: Float64Array,
    worth: Float64Array,
    nu: Float64Array,
    gain: Float64Array,
    heap: Int64Array,
    place: Int64Array,
    picks: Int64Array,
    unit: float,
) -> None:
    """Write the first nodes in the order of the largest worth * nu - (1 - p) to `picks`, int64 (budget,).

    `nu`, float64 (n,), 1 at first, is multiplied by 1 - p_s * exp(-d / unit) for each picked neighbour s; `gain`,
    float64 (n,), keeps what a node was worth when it was picked. `heap` and `place` are those of `pick_greedily`; as
    gains only fall, nodes only sink.
    """
    size = len(indptr) - 1
    _order(heap, place, gain, size)
    for rank in range(len(picks)):
        pick = _take_first(heap, place, gain, size)
        picks[rank] = pick
        size -= 1
        for edge in range(indptr[pick], indptr[pick + 1]):
            node = indices[edge]
            if place[node] >= 0:
                nu[node] *= 1.0 - p[pick] * edge_weight(distances[edge], 1.0, False, unit)
                gain[node] = worth[node] * nu[node] - (1.0 - p[node])
                _sink(heap, place, gain, place[node], size)
