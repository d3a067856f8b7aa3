"""The nearest centroids of vectors: by a flat scan, or through groups of centroids where there are many."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from filtering.core import fixed_point
from filtering.core.fixed_point import as_distance
from filtering.runtime.shuffle import runs

Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]

BLOCK_ROWS = 4_096
# Groups whose centroids a vector is compared with: its true nearest centroid is among them in 98 of 100 cases.
PROBES = 8
# With fewer groups a flat scan is faster: it gathers no rows.
FEW_GROUPS = 24
STEPS = np.float32(fixed_point.STEPS)


@dataclass(frozen=True, slots=True)
class Centroids:
    """Centroids in the order of their groups."""

    vectors: Float32Array  # float32 (K, d), unit norm
    groups: Int32Array  # int32 (K,), ascending
    spreads: Float32Array  # float32 (K,), the mean cosine distance of the rows that moved it last, 1 if none has

    @classmethod
    def unmoved(cls, vectors: Float32Array, groups: Int32Array) -> "Centroids":
        """Return centroids whose spreads are not known yet."""
        return cls(vectors, groups, np.ones(len(vectors), dtype=np.float32))

    def take(self, places: Any) -> "Centroids":
        """Return some of them, in their order."""
        return Centroids(self.vectors[places], self.groups[places], self.spreads[places])


class CentroidIndex:
    """Finds nearest centroids through their groups: a vector is compared with those of its 8 nearest groups.

    With sqrt(K) groups of sqrt(K) centroids that is 9 * sqrt(K) distances a vector and not K. With no more than 24
    groups every centroid is compared.
    """

    def __init__(self, centroids: Centroids) -> None:
        self.centroids = centroids.vectors
        self.members = list(runs(centroids.groups))
        means = [self.centroids[members].mean(axis=0) for members in self.members]
        self.centres = np.stack(means) if means else self.centroids

    def nearest(self, vectors: Float32Array, count: int) -> tuple[Int32Array, Float32Array]:
        """Return the `count` centroids nearest to unit-norm vectors, float32 (n, d), nearest first, with distances.

        Concepts are int32 (n, min(count, K)), -1 where the groups compared have fewer centroids; distances, 1 - cosine,
        are float32, infinite there. Equally near centroids: the lowest index first.
        """
        count = min(count, len(self.centroids))
        concepts = np.full((len(vectors), count), -1, dtype=np.int32)
        distances = np.full((len(vectors), count), np.inf, dtype=np.float32)
        for start in range(0, len(vectors), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            self._search(vectors[rows], concepts[rows], distances[rows])
        return concepts, distances

    def _search(self, vectors: Float32Array, concepts: Int32Array, distances: Float32Array) -> None:
        everyone = np.arange(len(vectors))
        if len(self.members) <= FEW_GROUPS:
            offer(1 - vectors @ self.centroids.T, everyone, 0, concepts, distances)
            return
        groups = np.full((len(vectors), PROBES), -1, dtype=np.int32)
        apart = np.full((len(vectors), PROBES), np.inf, dtype=np.float32)
        # Centres are not scaled to length 1: the centre of a loose group is short, and its distances stay large.
        offer(1 - vectors @ self.centres.T, everyone, 0, groups, apart)
        order = np.argsort(groups.ravel(), kind="stable")
        asking = groups.ravel()[order]
        for span in runs(asking):
            members = self.members[asking[span.start]]
            rows = order[span] // PROBES
            offer(1 - vectors[rows] @ self.centroids[members].T, rows, members.start, concepts, distances)


def nearest_centroids(vectors: Float32Array, centroids: Float32Array, count: int) -> tuple[Int32Array, Float32Array]:
    """Return the `count` nearest of all centroids, by a flat scan; values as in `CentroidIndex.nearest`."""
    return CentroidIndex(Centroids.unmoved(centroids, np.zeros(len(centroids), dtype=np.int32))).nearest(vectors, count)


@njit(cache=True)  # type: ignore[untyped-decorator]
def offer(
    offered: Float32Array, rows: npt.NDArray[np.int64], first: int, concepts: Int32Array, distances: Float32Array
) -> None:
    """Offer the candidates `first`, `first` + 1, ... to the lists of some rows, which stay sorted by distance."""
    count = concepts.shape[1]
    for at in range(len(rows)):
        row = rows[at]
        worst = distances[row, count - 1]
        for column in range(offered.shape[1]):
            distance = offered[at, column]
            if distance < worst:
                place = count - 1
                while place > 0 and distances[row, place - 1] > distance:
                    distances[row, place] = distances[row, place - 1]
                    concepts[row, place] = concepts[row, place - 1]
                    place -= 1
                distances[row, place] = distance
                concepts[row, place] = first + column
                worst = distances[row, count - 1]


@njit(cache=True)  # type: ignore[untyped-decorator]
def squared_distance(left: Float32Array, right: Float32Array) -> np.float32:
    """Return the squared distance of two unit-norm float32 vectors, float32, in whole steps of 2^-15.

    It has the same bits from both ends, and on every CPU: a sum of whole numbers does not depend on its order.
    """
    total = np.int64(0)
    for at in range(len(left)):
        apart = np.int64(np.int32(np.rint(left[at] * STEPS)) - np.int32(np.rint(right[at] * STEPS)))
        total += apart * apart
    return np.float32(as_distance(total))
