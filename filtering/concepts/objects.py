"""The objects of the concepts and partitions stages, as the stations after them read them."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filtering.concepts.nearest import Centroids, Float32Array, Int32Array
from filtering.filters.objects import PassingShard
from filtering.storage import Store

CENTROIDS = "centroids.npz"
CONCEPTS = "concepts.parquet"
EXACT = "exact.npz"
VISITS_NAME = "{}.visits.npz"
GROUPED_SUFFIX = ".grouped"
GROUPED_NAME = "{}" + GROUPED_SUFFIX


def read_concepts(store: Store) -> pa.Table:
    """Return the table `tables.CONCEPTS`."""
    return store.read_table(CONCEPTS)


def read_centroids(store: Store) -> Centroids:
    """Return the trained centroids; a concept that was too large for one of its own shares its centroid."""
    return Centroids(**store.read_arrays(CENTROIDS))


def read_homes(store: Store, shard: PassingShard) -> tuple[Int32Array, Int32Array]:
    """Return the rows of a shard that have a concept, ascending, and their concepts, int32 (n,) each."""
    visits = store.read_arrays(VISITS_NAME.format(shard.identity))
    return visits["row"], visits["concept"]


def read_exact(store: Store) -> tuple[npt.NDArray[np.int64], Float32Array]:
    """Return the rows that measure recall, global ids ascending int64 (q,), and the distances of their true neighbours.

    The distances are squared Euclidean, float32 (q, k), ascending, infinite where the pool has fewer than k others.
    """
    exact = store.read_arrays(EXACT)
    return exact["row"], exact["distances"]


def grouped_names(store: Store) -> list[str]:
    """Return the names of the objects that hold the rows grouped by partition."""
    return store.names(GROUPED_SUFFIX)
