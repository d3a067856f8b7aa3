"""Recall@k: the share of true nearest neighbours that the graph found, on sampled rows that are searched exactly."""

import numpy as np
import numpy.typing as npt
from numba import njit

from filtering.concepts.nearest import Float32Array, offer, squared_distance

Int64Array = npt.NDArray[np.int64]
TOLERANCE = 1e-6
# Rows of the pool whose neighbours are searched exactly in every run: a third of them measures recall, the others
# decide the margin of replicas.
QUERIES = 768
MEASURING_SHARE = 1 / 3
# Candidates beyond k: rounding of a cosine may move a neighbour by a few places before the candidates are ranked.
SPARE_CANDIDATES = 6


class ExactSearch:
    """The nearest rows of one shard to sampled rows of the pool, block by block."""

    def __init__(self, queries: Float32Array, rows: Int64Array, k: int) -> None:
        """Take unit-norm queries, float32 (q, d), and their global row ids, ascending, int64 (q,)."""
        self.queries, self.rows, self.k = queries, rows, k
        width = k + SPARE_CANDIDATES
        self.found = np.full((len(queries), width), -1, dtype=np.int32)
        self.distances = np.full((len(queries), width), np.inf, dtype=np.float32)

    def add(self, vectors: Float32Array, rows: Int64Array, first: int) -> None:
        """Search a block of unit-norm vectors, float32 (b, d), with global ids `rows`, that starts at place `first`."""
        if len(self.queries) == 0:
            return
        distances = 1 - self.queries @ vectors.T
        places = np.searchsorted(self.rows, rows)
        own = self.rows[np.minimum(places, len(self.rows) - 1)] == rows
        # No row is its own neighbour.
        distances[places[own], np.flatnonzero(own)] = np.inf
        offer(distances, np.arange(len(self.queries)), first, self.found, self.distances)

    def ranked(self, vectors: Float32Array, count: int | None = None) -> tuple[npt.NDArray[np.int32], Float32Array]:
        """Return places, int32 (q, k), -1 where there is none, and squared distances, float32 (q, k), ascending.

        `vectors`, float32 (q * (k + 6), d), are the unit-norm vectors at `found`, row by row; any where it is -1.
        `count`, up to k + 6, is taken rather than k.
        """
        exact = np.full(self.found.shape, np.inf, dtype=np.float32)
        _measure(self.queries, vectors.reshape(*self.found.shape, vectors.shape[1]), self.found, exact)
        order = np.argsort(exact, axis=1, kind="stable")[:, : count or self.k]
        return np.take_along_axis(self.found, order, 1), np.take_along_axis(exact, order, 1)


def recall_at_k(found: Float32Array, exact: Float32Array) -> float:
    """Return the share of true neighbours found, by distance, so that equally far neighbours count alike.

    `found`, float32 (q, k), are distances of the neighbours found, infinite where there was none; `exact`, float32 (q,
    k), those of the true ones, ascending, infinite where the pool has fewer than k others. 1 where there is nothing to
    find.
    """
    there = np.isfinite(exact)
    if not there.any():
        return 1.0
    farthest = np.where(there, exact, -np.inf).max(axis=1, initial=-np.inf)
    near = (found <= farthest[:, None] + TOLERANCE) & np.isfinite(found)
    return float(np.minimum(near.sum(axis=1), there.sum(axis=1)).sum() / there.sum())


@njit(cache=True)  # type: ignore[untyped-decorator]
def _measure(
    queries: Float32Array, vectors: npt.NDArray[np.float32], found: npt.NDArray[np.int32], exact: Float32Array
) -> None:
    for query in range(len(queries)):
        for at in range(found.shape[1]):
            if found[query, at] >= 0:
                exact[query, at] = squared_distance(queries[query], vectors[query, at])
