"""Sums over the rows of each concept: written for each shard, added up for the table of concepts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filtering.concepts.artifacts import Assignment, read_index, read_sections
from filtering.concepts.kmeans import neighbouring_distances
from filtering.concepts.nearest import Float32Array
from filtering.concepts.packing import automatic_partition_rows, packed_partitions
from filtering.core import schemas
from filtering.storage.store import Store

STATISTICS_NAME = "{}.statistics.npz"
SUMMED = ("sizes", "guests", "distances")
# Pairs of concepts that share rows, those that share most: packing takes 150 bytes each. The concepts of 12.8 million
# rows have a tenth.
MOST_PAIRS = 1 << 23
# The mean distances of some centroids to others near them, and of how many.
INTER_SUFFIX = ".inter.npz"
INTER_NAME = "{:08d}" + INTER_SUFFIX
MEASURED_TOGETHER = 1 << 14
Int64Array = npt.NDArray[np.int64]
# Of no shards.
_NOTHING: dict[str, npt.NDArray[Any]] = {
    "present": np.zeros(0, np.int32),
    **dict.fromkeys(("pairs", "visits", *SUMMED), np.zeros(0, np.int64)),
}


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
    """Write the sums over a shard's rows, with `distances` to the nearest centroid, 1 - cosine, float32 (n,).

    Of `concepts` concepts those that have a member there are written.
    """
    pairs = assigned.concept[assigned.replica].astype(np.int64) * concepts + assigned.replica_concept
    every, rows = np.unique(pairs, return_counts=True)
    both = np.concatenate([assigned.concept, assigned.replica_concept])
    present, place = np.unique(both, return_inverse=True)
    home, replica = place[: len(assigned.concept)], place[len(assigned.concept) :]
    sums = {
        "pairs": every,
        "visits": rows,
        "present": present,
        "sizes": np.bincount(home, minlength=len(present)),
        "guests": np.bincount(replica, minlength=len(present)),
        "distances": np.bincount(home, weights=distances, minlength=len(present)),
    }
    store.write_arrays(STATISTICS_NAME.format(identity), sums)


def merge_statistics(identities: Sequence[str], target: str, store: Store) -> int:
    """Write the sums over the rows of several shards as those of one, `target`; return how many concepts they have."""
    sums = _added(store, identities)
    store.write_arrays(STATISTICS_NAME.format(target), sums)
    return len(sums["present"])


def summed_statistics(store: Store, identities: Sequence[str]) -> Statistics:
    """Return the sums over the rows of several shards, added in their order."""
    count = int(read_sections(store).sum())
    sums, zeros = _added(store, identities), np.zeros(count)
    whole = {name: zeros.copy() for name in SUMMED}
    for name, column in whole.items():
        column[sums["present"]] = sums[name]
    homes, others = sums["pairs"] // max(count, 1), sums["pairs"] % max(count, 1)
    pairs = ReplicaCounts(homes, others, sums["visits"].astype(np.float64))
    sizes, replicas = whole["sizes"].astype(np.int64), whole["guests"].astype(np.int64)
    return Statistics(sizes, replicas, whole["distances"], pairs)


def _added(store: Store, identities: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """Return the sums of several shards, added in their order, in the form in which one shard has them."""
    parts = [store.read_arrays(STATISTICS_NAME.format(identity)) for identity in identities]
    parts = parts or [_NOTHING]
    present, place = np.unique(np.concatenate([part["present"] for part in parts]), return_inverse=True)
    found: dict[str, npt.NDArray[Any]] = {"present": present}
    for name in SUMMED:
        values = np.concatenate([part[name] for part in parts])
        found[name] = np.bincount(place, weights=values, minlength=len(present))
    pairs, place = np.unique(np.concatenate([part["pairs"] for part in parts]), return_inverse=True)
    visits = np.concatenate([part["visits"] for part in parts])
    rows = np.bincount(place, weights=visits, minlength=len(pairs)).astype(np.int64)
    return found | dict(zip(("pairs", "visits"), _most_shared(pairs, rows), strict=True))


def _most_shared(pairs: Int64Array, rows: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Return the pairs of concepts that share most rows, in their order: packing needs no others of so many."""
    if len(pairs) <= MOST_PAIRS:
        return pairs, rows
    kept = np.sort(np.argsort(-rows, kind="stable")[:MOST_PAIRS])
    return pairs[kept], rows[kept]


def measure_inter(part: int, store: Store) -> int:
    """Write d_inter of consecutive centroids, see `kmeans.inter_distances`; return how many there are."""
    centroids, index = read_index(store)
    places = np.arange(len(centroids.groups), dtype=np.int32)[part * MEASURED_TOGETHER : (part + 1) * MEASURED_TOGETHER]
    store.write_arrays(INTER_NAME.format(part), {"d_inter": neighbouring_distances(index, places)})
    return len(places)


def inter_parts(store: Store) -> range:
    """Return the numbers of the parts of all centroids that `measure_inter` takes, at least one."""
    return range(max(-(-len(read_sections(store)) // MEASURED_TOGETHER), 1))


def _inter_distances(store: Store) -> npt.NDArray[np.float64]:
    parts = [store.read_arrays(INTER_NAME.format(part))["d_inter"] for part in inter_parts(store)]
    return np.concatenate(parts)


def rows_in_a_partition(sums: Statistics, partition_rows: int | str) -> int:
    """Return how many rows a partition may hold, replicas included."""
    if partition_rows != "auto":
        return int(partition_rows)
    return automatic_partition_rows(int(sums.members.sum()))


def concepts_table(
    store: Store, sums: Statistics, partition_rows: int | str, partitions: npt.NDArray[np.int32] | None = None
) -> pa.Table:
    """Return `schemas.CONCEPTS` from the sums over all shards.

    The stage's objects have what `measure_inter` wrote. `partition_rows` is what a partition may hold, as configured.
    `partitions`, int32 (C,), is the partition of each concept; they are packed anew where it is not given.
    """
    if partitions is None:
        pairs, limit = sums.pairs, rows_in_a_partition(sums, partition_rows)
        partitions = packed_partitions(sums.members, pairs.homes, pairs.concepts, pairs.rows, limit)
    columns = {
        "concept": np.arange(len(sums.sizes), dtype=np.int32),
        "size": sums.sizes,
        "guests": sums.replicas,
        "d_intra": sums.distances / np.maximum(sums.sizes, 1),
        "d_inter": np.repeat(_inter_distances(store), read_sections(store)),
        "partition": partitions,
    }
    return pa.table([pa.array(columns[name]) for name in schemas.CONCEPTS.names], schema=schemas.CONCEPTS)
