"""Replicas: which rows are also searched in concepts other than their home concept.

Two rows of different concepts are compared when either has a replica in the other's home concept. Rows near the border
of a concept get replicas before rows deep inside their own, and loose concepts take replicas before tight ones: a row's
margin to a concept is its distance to the hyperplane between the two centroids, over the cube root of that concept's
spread. The largest margin follows from pairs of rows that are known to be neighbours, and from the recall asked for.

Replicas of rows near borders are those of SPANN (Chen et al. 2021, arXiv 2111.08566).
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from filtering.concepts.nearest import Centroids, Float32Array, Int16Array, Int32Array
from filtering.core.fixed_point import SQUARED_STEPS, product
from filtering.core.portable_math import cbrt

NO_CONCEPT = -1
MARGIN_BINS = 2048
# Of a concept whose rows are all equal.
LEAST_SPREAD = 1e-3


@dataclass(frozen=True, slots=True)
class NearestConcepts:
    """The nearest concepts of n rows, nearest first; the first is the home concept, the others may get a replica."""

    concepts: Int32Array  # int32 (..., r), -1 where there is none
    # float32 (..., r), distance to the border with that concept; 0 for the home concept, infinite where there is none
    margins: Float32Array


def border_margins(concepts: Int32Array, distances: Float32Array, centroids: Centroids) -> Float32Array:
    """Return the rows' distances to the borders of their home concepts, scaled by spreads, float32 (n, r).

    `concepts`, int32 (n, r), are the nearest ones, the home concept first, -1 where there is none; `distances`, float32
    (n, r), are 1 - cosine to their centroids; `centroids` are those of all concepts.

    Notes
    -----
    Points equally far from the unit vectors a and b are those with <x, a - b> = 0, so that x lies <x, a - b> / |a - b|
    from them. Neighbours are as far apart as the concept's rows spread; of the powers of the spread that were tried,
    the cube root gives the highest recall for the same number of replicas: 0.6 points more than without scaling, at 4
    replicas a row.
    """
    margins = np.full(concepts.shape, np.inf, dtype=np.float32)
    _margins(concepts, distances, np.asarray(centroids.steps), centroids.spreads, margins)
    return margins


def needed_margins(left: NearestConcepts, right: NearestConcepts) -> Float32Array:
    """Return the least margin at which two rows are compared, float32 (n,).

    It is 0 for rows of one concept, and infinite if neither may have a replica in the home concept of the other.
    """
    found = np.full(len(left.concepts), np.inf, dtype=np.float32)
    for replicated, other in ((left, right), (right, left)):
        meets = replicated.concepts == other.concepts[:, :1]
        found = np.minimum(found, np.where(meets, replicated.margins, np.inf).min(axis=1, initial=np.inf))
    return found


def margin_for(needed: Float32Array, recall: float) -> tuple[float, float]:
    """Return the least margin at which a share of known neighbours is compared, and the share reached with it.

    `needed`, float32 (n,), is the least margin at which each pair of neighbours is compared. The margin is infinite if
    the share asked for, `recall`, cannot be reached.
    """
    if len(needed) == 0:
        return 0.0, 1.0
    # 0.55 of 100 is 55.000000000000007 to a computer.
    place = max(math.ceil(recall * len(needed) - 1e-6) - 1, 0)
    margin = float(np.partition(needed, place)[place])
    reached = float((needed <= margin).mean()) if np.isfinite(margin) else float(np.isfinite(needed).mean())
    return margin, reached


def margin_counts(margins: Float32Array) -> npt.NDArray[np.int64]:
    """Return how many possible replicas have a margin up to 1/2048, 2/2048, ..., int64 (2048,): for `margin_within`."""
    finite = margins[:, 1:][np.isfinite(margins[:, 1:])]
    return np.histogram(np.minimum(finite, 1), bins=MARGIN_BINS, range=(0, 1))[0].cumsum()


def margin_within(counts: npt.NDArray[np.int64], most: float) -> float:
    """Return the largest margin, by 1/2048, that makes at most `most` replicas; infinite if no margin makes more."""
    if len(counts) == 0 or counts[-1] <= most:
        return math.inf
    return int(np.searchsorted(counts, most, side="right")) / MARGIN_BINS


@njit(cache=True)  # type: ignore[untyped-decorator]
def _margins(
    concepts: Int32Array, distances: Float32Array, centroids: Int16Array, spreads: Float32Array, margins: Float32Array
) -> None:
    for row in range(len(concepts)):
        home = concepts[row, 0]
        margins[row, 0] = 0
        for at in range(1, concepts.shape[1]):
            other = concepts[row, at]
            if other >= 0:
                here, there = centroids[home], centroids[other]
                squared = np.int64(product(here, here)) + product(there, there) - 2 * np.int64(product(here, there))
                apart = max(math.sqrt(squared / SQUARED_STEPS), 1e-6)
                beyond = np.float64(distances[row, at]) - np.float64(distances[row, 0])
                margins[row, at] = beyond / (apart * cbrt(max(np.float64(spreads[other]), LEAST_SPREAD)))
