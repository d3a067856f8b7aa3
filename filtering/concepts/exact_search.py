"""Recall@k: the share of true nearest neighbours that the graph found, on sampled rows that are searched exactly."""

import numpy as np
import numpy.typing as npt
from numba import njit

from filtering.concepts.nearest import Float32Array, Int32Array
from filtering.core.fixed_point import as_distance, in_steps, squared_lengths
from filtering.core.step_products import aligned, step_products

Int64Array = npt.NDArray[np.int64]
TOLERANCE = 1e-6
# Rows of the pool whose neighbours are searched exactly in every run: a third of them measures recall, the others
# decide the margin of replicas.
QUERIES = 768
MEASURING_SHARE = 1 / 3
# Neighbours beyond k, which are there when a later run has lost some.
SPARE_NEIGHBOURS = 6
# Rows whose products with all queries are held at once: 1.5 MB.
BLOCK_ROWS = 512


class ExactSearch:
    """The nearest rows of one shard to sampled rows of the pool, block by block: by exact distances, equal ones by row.

    Attributes
    ----------
    found : int32 (q, k + 6), places of the nearest rows, nearest first; -1 where there is none.
    distances : float32 (q, k + 6), their squared distances, see `core.fixed_point`; infinite there.
    """

    def __init__(self, queries: Float32Array, rows: Int64Array, k: int) -> None:
        """Take unit-norm queries, float32 (q, d), and their global row ids, ascending, int64 (q,)."""
        self.queries, self.rows = aligned(in_steps(queries)), rows
        self.squares = squared_lengths(self.queries)
        width = k + SPARE_NEIGHBOURS
        self.found = np.full((len(queries), width), -1, dtype=np.int32)
        self.distances = np.full((len(queries), width), np.inf, dtype=np.float32)

    def add(self, vectors: Float32Array, rows: Int64Array, first: int) -> None:
        """Search a block of unit-norm vectors, float32 (b, d), with global ids `rows`, that starts at place `first`."""
        if len(self.queries) == 0:
            return
        products = np.empty((len(self.queries), min(BLOCK_ROWS, len(rows))), dtype=np.int32)
        for start in range(0, len(rows), BLOCK_ROWS):
            steps, ids = aligned(in_steps(vectors[start : start + BLOCK_ROWS])), rows[start : start + BLOCK_ROWS]
            here = products.reshape(-1)[: len(self.queries) * len(ids)].reshape(-1, len(ids))
            step_products(self.queries, steps, 0, here)
            squares = squared_lengths(steps)
            _offer(here, self.squares, squares, self.rows, ids, first + start, self.found, self.distances)


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
def _offer(
    products: Int32Array,
    left: Int64Array,
    right: Int64Array,
    queries: Int64Array,
    rows: Int64Array,
    first: int,
    found: Int32Array,
    distances: Float32Array,
) -> None:
    """Offer the rows from place `first` on to every query but those that they are; squared lengths are given."""
    last = found.shape[1] - 1
    for query in range(len(products)):
        for column in range(products.shape[1]):
            apart = as_distance(left[query] + right[column] - 2 * np.int64(products[query, column]))
            if not apart < distances[query, last] or rows[column] == queries[query]:
                continue
            at = last
            while at > 0 and distances[query, at - 1] > apart:
                distances[query, at] = distances[query, at - 1]
                found[query, at] = found[query, at - 1]
                at -= 1
            distances[query, at] = apart
            found[query, at] = first + column
