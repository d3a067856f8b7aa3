"""The neighbours that new rows bring: a few query rows against the rows of a shard, concept by concept.

A run with a base knows the neighbours of most rows. Those of rows that are new, or have lost one, are searched; to a
row that the base knows, only new rows can be nearer than those that it has. As in a search of whole concepts, two rows
meet in a concept of both that is the home of either.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from filtering.core.csr import Int64Array
from filtering.core.fixed_point import Int16Array, as_distance, squared_lengths
from filtering.core.step_products import step_products
from filtering.graph.sharded import Float32Array, Int32Array, Neighbours
from filtering.runtime.shuffle import runs

# The products of two blocks, 1 MB, stay in a second-level cache.
BLOCK_ROWS = 512

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Members:
    """Rows with the concepts in which they stand: at home, or by a replica."""

    row: Int64Array  # int64 (n,), global ids
    home: Int32Array  # int32 (n,), home concepts
    steps: Int16Array  # int16 (n, w), vectors as `core.step_products.aligned` returns them
    place: Int64Array  # int64 (m,), the row of each member, by its place in the arrays above
    concept: Int32Array  # int32 (m,), the concept of each member, ascending, home rows before replicas


@dataclass(frozen=True, slots=True)
class Met:
    """What query rows and the rows of a shard found in each other, and how many distances were computed."""

    by_queries: Neighbours  # of all n query rows
    by_rows: Neighbours  # of all m rows of the shard: new rows within their radius
    distances: int


def met(queries: Members, fresh: Bools, rows: Members, radius: Float32Array, k: int) -> Met:
    """Return the k nearest rows of a shard to each query row, and the k nearest new rows within each row's radius.

    Parameters
    ----------
    queries : Members
        The query rows of some concepts.
    fresh : bool (n,)
        Whether a query row is new: the base's rows do not know it.
    rows : Members
        The shard's rows in the same concepts, query rows among them or not.
    radius : float32 (m,)
        The squared distance of each row's k-th neighbour in the base, infinite where it has fewer; below 0 where the
        row is a query row itself, to which nothing is offered.
    k : int
        Neighbours of a row.
    """
    search = _Search(queries, fresh, rows, radius, k)
    own = {int(rows.concept[span.start]): span for span in runs(rows.concept)}
    distances = 0
    for span in runs(queries.concept):
        concept = int(queries.concept[span.start])
        if concept not in own:
            continue
        asking, members = queries.place[span], rows.place[own[concept]]
        at_home = int((queries.home[asking] == concept).sum()), int((rows.home[members] == concept).sum())
        # Rows at home meet all, replicas those at home.
        for some, others in ((asking[: at_home[0]], members), (asking[at_home[0] :], members[: at_home[1]])):
            search.compare(some, others)
            distances += len(some) * len(others)
    return Met(search.by_queries, search.by_rows, distances)


class _Search:
    """What is found by and by."""

    def __init__(self, queries: Members, fresh: Bools, rows: Members, radius: Float32Array, k: int) -> None:
        self.queries, self.fresh, self.rows, self.radius = queries, fresh, rows, radius
        self.by_queries, self.by_rows = Neighbours.none(len(queries.row), k), Neighbours.none(len(rows.row), k)
        self.lengths = squared_lengths(queries.steps), squared_lengths(rows.steps)
        self.block = np.empty(BLOCK_ROWS**2, dtype=np.int32)

    def compare(self, asking: Int64Array, others: Int64Array) -> None:
        """Compare some query rows with some rows, by their places."""
        for first in range(0, len(asking), BLOCK_ROWS):
            left = asking[first : first + BLOCK_ROWS]
            steps = self.queries.steps[left]
            for start in range(0, len(others), BLOCK_ROWS):
                right = others[start : start + BLOCK_ROWS]
                products = self.block[: len(left) * len(right)].reshape(len(left), len(right))
                step_products(steps, self.rows.steps[right], 0, products)
                self._offer(products, left, right)

    def _offer(self, products: Int32Array, left: Int64Array, right: Int64Array) -> None:
        asking = (self.queries.row, self.queries.home, self.fresh, self.lengths[0], *_lists(self.by_queries))
        others = (self.rows.row, self.rows.home, self.radius, self.lengths[1], *_lists(self.by_rows))
        _offer_both(products, left, right, *asking, *others)


def _lists(found: Neighbours) -> tuple[Int64Array, Int32Array, Float32Array]:
    return found.ids, found.homes, found.distances


@njit(cache=True)  # type: ignore[untyped-decorator]
def _offer_both(
    products: Int32Array,
    left: Int64Array,
    right: Int64Array,
    query_ids: Int64Array,
    query_homes: Int32Array,
    fresh: Bools,
    query_lengths: Int64Array,
    found: Int64Array,
    found_homes: Int32Array,
    found_distances: Float32Array,
    row_ids: Int64Array,
    row_homes: Int32Array,
    radius: Float32Array,
    row_lengths: Int64Array,
    new: Int64Array,
    new_homes: Int32Array,
    new_distances: Float32Array,
) -> None:
    """Offer the rows at `right` to the queries at `left`, and those of the queries that are new to the rows."""
    last = found.shape[1] - 1
    for at in range(len(left)):
        query = left[at]
        own, length = query_ids[query], query_lengths[query]
        worst = found_distances[query, last]
        for column in range(len(right)):
            row = right[column]
            apart = as_distance(length + row_lengths[row] - 2 * np.int64(products[at, column]))
            if apart <= worst and row_ids[row] != own:
                _insert(found[query], found_homes[query], found_distances[query], row_ids[row], row_homes[row], apart)
                worst = found_distances[query, last]
            if apart <= radius[row] and fresh[query] and apart <= new_distances[row, last]:
                _insert(new[row], new_homes[row], new_distances[row], own, query_homes[query], apart)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _insert(
    ids: Int64Array, homes: Int32Array, distances: Float32Array, candidate: int, home: int, apart: np.float32
) -> None:
    """Insert a candidate into a list that is sorted by distance and id, unless it is there or comes after all."""
    at = len(ids) - 1
    if apart > distances[at] or (apart == distances[at] and ids[at] >= 0 and candidate >= ids[at]):
        return
    for known in ids:
        if known == candidate:
            return
    while at > 0 and (apart < distances[at - 1] or (apart == distances[at - 1] and candidate < ids[at - 1])):
        ids[at], homes[at], distances[at] = ids[at - 1], homes[at - 1], distances[at - 1]
        at -= 1
    ids[at], homes[at], distances[at] = candidate, home, apart
