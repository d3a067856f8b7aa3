"""The objects of the concepts and partitions stages, as the stations after them read them."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filtering.concepts.nearest import Centroids, Float32Array, Int32Array
from filtering.filters.objects import PassingShard
from filtering.storage import Store

CENTROIDS = "centroids.npz"
CONCEPTS = "concepts.parquet"
# Rows whose true neighbours are searched: `row` ascending, `vectors`, and which of them measure recall.
QUERIES_NAME = "queries.npz"
EXACT = "exact.npz"
# How near a border guests are, and into how many sections each centroid's rows are cut.
INVITATION = "invitation.npz"
VISITS_NAME = "{}.visits.npz"
GROUPED_SUFFIX = ".grouped"
GROUPED_NAME = "{}" + GROUPED_SUFFIX


def read_concepts(store: Store) -> pa.Table:
    """Return the table `tables.CONCEPTS`."""
    return store.read_table(CONCEPTS)


def read_centroids(store: Store) -> Centroids:
    """Return the trained centroids; a concept that was too large for one of its own shares its centroid."""
    return Centroids(**store.read_arrays(CENTROIDS))


def read_concept_centroids(store: Store) -> Float32Array:
    """Return the centroid of each concept, float32 (C, d)."""
    return np.repeat(read_centroids(store).vectors, read_sections(store), axis=0)


def read_sections(store: Store) -> Int32Array:
    """Return how many concepts share each centroid, int32 (K,): concepts are numbered by centroid."""
    return store.read_arrays(INVITATION)["sections"]


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


def read_queries(store: Store) -> npt.NDArray[np.float16]:
    """Return the vectors of the rows whose true neighbours were searched: a random sample, float16 (q, d)."""
    return np.asarray(store.read_arrays(QUERIES_NAME)["vectors"], dtype=np.float16)


def grouped_names(store: Store) -> list[str]:
    """Return the names of the objects that hold the rows grouped by partition."""
    return store.names(GROUPED_SUFFIX)
