"""Which concepts stand together in a partition: those that visit each other, so that few rows travel twice."""

import numpy as np
import numpy.typing as npt
from numba import njit

from filtering.core.csr import Int64Array, sorted_edges

MOST_ROWS = 800_000
FEWEST_ROWS = 5_000
# A pool of more than 160,000 rows has at least so many partitions: work for as many workers.
PARTITIONS = 32


def automatic_partition_rows(rows: int) -> int:
    """Return how many rows a partition may hold, guests included, in a pool of `rows` rows and guests."""
    return min(max(-(-rows // PARTITIONS), FEWEST_ROWS), MOST_ROWS)


def packed_partitions(
    rows: Int64Array, visitors: Int64Array, hosts: Int64Array, visits: npt.NDArray[np.float64], limit: int
) -> npt.NDArray[np.int32]:
    """Return the partition of each concept, int32 (K,): at most `limit` rows together.

    A partition starts with the first concept that has none, and takes in, as long as it fits, the concept of whose
    visits the largest share is with those already there; if there is none, the next in order.

    Parameters
    ----------
    rows : int64 (K,)
        Rows of each concept, guests included.
    visitors, hosts : int64 (m,), visits : float64 (m,)
        How many rows of one concept are guests in another.
    limit : int
        Rows a partition may hold; a larger concept has a partition of its own.
    """
    count = len(rows)
    left, right, both = _both_ways(visitors, hosts, visits, count)
    pairs = np.concatenate([left, right]), np.concatenate([right, left])
    indptr, indices, weights = sorted_edges(*pairs, np.concatenate([both, both]), count)
    partitions: npt.NDArray[np.int32] = _grown(np.asarray(rows, dtype=np.int64), indptr, indices, weights, limit)
    return partitions


def _both_ways(
    visitors: Int64Array, hosts: Int64Array, visits: npt.NDArray[np.float64], count: int
) -> tuple[Int64Array, Int64Array, npt.NDArray[np.float64]]:
    """Return the pairs of concepts between which there are visits, and how many there are in both directions."""
    pairs, place = np.unique(np.minimum(visitors, hosts) * count + np.maximum(visitors, hosts), return_inverse=True)
    sums = np.bincount(place, weights=visits, minlength=len(pairs)).astype(np.float64)
    there = sums > 0
    return pairs[there] // max(count, 1), pairs[there] % max(count, 1), sums[there]


@njit(cache=True)  # type: ignore[untyped-decorator]
def _grown(
    rows: Int64Array, indptr: Int64Array, indices: Int64Array, weights: npt.NDArray[np.float64], limit: int
) -> npt.NDArray[np.int32]:
    count = len(rows)
    totals = np.ones(count)
    for concept in range(count):
        totals[concept] += weights[indptr[concept] : indptr[concept + 1]].sum()
    partitions = np.full(count, -1, dtype=np.int32)
    shares = np.zeros(count)
    touched = np.empty(count, dtype=np.int64)
    partition, first = 0, 0
    while first < count:
        held, near, concept = 0, 0, first
        while True:
            partitions[concept] = partition
            held += rows[concept]
            for edge in range(indptr[concept], indptr[concept + 1]):
                other = indices[edge]
                if partitions[other] < 0:
                    if shares[other] == 0:
                        touched[near] = other
                        near += 1
                    shares[other] += weights[edge] / totals[other]
            while first < count and partitions[first] >= 0:
                first += 1
            concept = first
            best = 0.0
            for at in range(near):
                other = touched[at]
                if partitions[other] < 0 and (shares[other] > best or (shares[other] == best and other < concept)):
                    best, concept = shares[other], other
            if concept >= count or held + rows[concept] > limit:
                break
        for at in range(near):
            shares[touched[at]] = 0
        partition += 1
    return partitions
