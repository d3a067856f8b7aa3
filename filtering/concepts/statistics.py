"""Sums over the rows of each concept: written for each shard, added up for the table of concepts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filtering.concepts.artifacts import Assignment, read_centroids, read_sections
from filtering.concepts.kmeans import inter_distances
from filtering.concepts.nearest import Float32Array
from filtering.concepts.packing import automatic_partition_rows, packed_partitions
from filtering.core import schemas
from filtering.storage.store import Store

STATISTICS_NAME = "{}.statistics.npz"
Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ReplicaCounts:
    """How many rows of one concept have a replica in another."""

    # homes, concepts: int64 (m,), the home concept of the rows and the concept of their replicas; each pair once
    homes: Int64Array
    concepts: Int64Array
    rows: npt.NDArray[np.float64]  # float64 (m,), how many rows


@dataclass(frozen=True, slots=True)
class Statistics:
    """Sums over the rows of C concepts."""

    sizes: Int64Array  # int64 (C,), rows at home in each concept
    replicas: Int64Array  # int64 (C,), replicas in each concept
    distances: npt.NDArray[np.float64]  # float64 (C,), sums of the home rows' cosine distances to the centroid
    pairs: ReplicaCounts  # how many rows of one concept have a replica in another

    @property
    def members(self) -> Int64Array:
        """Rows and replicas of each concept, int64 (C,)."""
        return self.sizes + self.replicas


def write_sums(store: Store, identity: str, assigned: Assignment, distances: Float32Array, concepts: int) -> None:
    """Write the sums over a shard's rows, with `distances` to the nearest centroid, 1 - cosine, float32 (n,)."""
    pairs = assigned.concept[assigned.replica].astype(np.int64) * concepts + assigned.replica_concept
    every, rows = np.unique(pairs, return_counts=True)
    sums = {
        "pairs": every,
        "visits": rows,
        "sizes": np.bincount(assigned.concept, minlength=concepts),
        "guests": np.bincount(assigned.replica_concept, minlength=concepts),
        "distances": np.bincount(assigned.concept, weights=distances, minlength=concepts),
    }
    store.write_arrays(STATISTICS_NAME.format(identity), sums)


def occupied_concepts(store: Store, identity: str) -> npt.NDArray[np.bool_]:
    """Return which concepts have a member, a home row or a replica, in a shard; bool (C,)."""
    sums = store.read_arrays(STATISTICS_NAME.format(identity))
    return np.asarray((sums["sizes"] > 0) | (sums["guests"] > 0))


def summed_statistics(store: Store, identities: Sequence[str]) -> Statistics:
    """Return the sums over the rows of several shards, added in their order."""
    count = int(read_sections(store).sum())
    sizes, replicas, distances = (np.zeros(count) for _ in range(3))
    pairs, rows = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for identity in identities:
        sums = store.read_arrays(STATISTICS_NAME.format(identity))
        sizes += sums["sizes"]
        replicas += sums["guests"]
        distances += sums["distances"]
        pairs.append(sums["pairs"])
        rows.append(sums["visits"])
    counts = _replica_counts(np.concatenate(pairs), np.concatenate(rows), count)
    return Statistics(sizes.astype(np.int64), replicas.astype(np.int64), distances, counts)


def _replica_counts(pairs: Int64Array, rows: Int64Array, concepts: int) -> ReplicaCounts:
    """Return the sums of counts by pair, each pair written as home * C + concept."""
    every, place = np.unique(pairs, return_inverse=True)
    sums = np.bincount(place, weights=rows, minlength=len(every)).astype(np.float64)
    return ReplicaCounts(every // max(concepts, 1), every % max(concepts, 1), sums)


def rows_in_a_partition(sums: Statistics, partition_rows: int | str) -> int:
    """Return how many rows a partition may hold, replicas included."""
    if partition_rows != "auto":
        return int(partition_rows)
    return automatic_partition_rows(int(sums.members.sum()))


def concepts_table(
    store: Store, sums: Statistics, partition_rows: int | str, partitions: npt.NDArray[np.int32] | None = None
) -> pa.Table:
    """Return `schemas.CONCEPTS` from the sums over all shards.

    `partition_rows` is what a partition may hold, as configured. `partitions`, int32 (C,), is the partition of each
    concept; they are packed anew where it is not given.
    """
    if partitions is None:
        pairs, limit = sums.pairs, rows_in_a_partition(sums, partition_rows)
        partitions = packed_partitions(sums.members, pairs.homes, pairs.concepts, pairs.rows, limit)
    columns = {
        "concept": np.arange(len(sums.sizes), dtype=np.int32),
        "size": sums.sizes,
        "guests": sums.replicas,
        "d_intra": sums.distances / np.maximum(sums.sizes, 1),
        "d_inter": np.repeat(inter_distances(read_centroids(store)), read_sections(store)),
        "partition": partitions,
    }
    return pa.table([pa.array(columns[name]) for name in schemas.CONCEPTS.names], schema=schemas.CONCEPTS)
