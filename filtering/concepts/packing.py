"""Packing of concepts into partitions: concepts that share many rows go together, so that few rows are copied."""

import numpy as np
import numpy.typing as npt
from numba import njit

from filtering.core.csr import Int64Array, sorted_edges

MOST_ROWS = 800_000
FEWEST_ROWS = 5_000
# Pools of more than 160,000 rows have at least this many partitions, so that this many workers have work.
PARTITIONS = 32


def automatic_partition_rows(rows: int) -> int:
    """Return how many rows a partition may hold, replicas included, in a pool of `rows` rows and replicas."""
    return min(max(-(-rows // PARTITIONS), FEWEST_ROWS), MOST_ROWS)


def packed_partitions(
    members: Int64Array, homes: Int64Array, others: Int64Array, rows: npt.NDArray[np.float64], limit: int
) -> npt.NDArray[np.int32]:
    """Return the partition of each concept, int32 (C,): at most `limit` members together, or one concept.

    A partition starts with the first concept that has none. As long as one fits, it takes in the concept that shares
    the largest part of its replicated rows with the concepts already there; if there is none, the next in order.
    `members`, int64 (C,), includes replicas; `rows`, float64 (m,), of the concepts `homes` have a replica in `others`.
    """
    count = len(members)
    left, right, both = _both_ways(homes, others, rows, count)
    pairs = np.concatenate([left, right]), np.concatenate([right, left])
    indptr, indices, weights = sorted_edges(*pairs, np.concatenate([both, both]), count)
    partitions = np.full(count, -1, dtype=np.int32)
    scratch = np.ones(count), np.zeros(count), np.empty(count, dtype=np.int64)
    _grow(np.asarray(members, dtype=np.int64), indptr, indices, weights, limit, *scratch, partitions)
    return partitions


def _both_ways(
    homes: Int64Array, others: Int64Array, rows: npt.NDArray[np.float64], count: int
) -> tuple[Int64Array, Int64Array, npt.NDArray[np.float64]]:
    """Return the pairs of concepts that share rows, and how many rows of either have a replica in the other."""
    pairs, place = np.unique(np.minimum(homes, others) * count + np.maximum(homes, others), return_inverse=True)
    sums = np.bincount(place, weights=rows, minlength=len(pairs)).astype(np.float64)
    there = sums > 0
    return pairs[there] // max(count, 1), pairs[there] % max(count, 1), sums[there]


@njit(cache=True)  # type: ignore[untyped-decorator]
def _grow(
    members: Int64Array,
    indptr: Int64Array,
    indices: Int64Array,
    weights: npt.NDArray[np.float64],
    limit: int,
    totals: npt.NDArray[np.float64],
    shares: npt.NDArray[np.float64],
    touched: Int64Array,
    partitions: npt.NDArray[np.int32],
) -> None:
    count = len(members)
    for concept in range(count):
        totals[concept] += weights[indptr[concept] : indptr[concept + 1]].sum()
    partition, first = 0, 0
    while first < count:
        held, near, concept = 0, 0, first
        while True:
            partitions[concept] = partition
            held += members[concept]
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
            if concept >= count or held + members[concept] > limit:
                break
        for at in range(near):
            shares[touched[at]] = 0
        partition += 1
