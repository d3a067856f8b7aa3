"""The objects of the concepts and partitions stages, as the stations after them read them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filtering.concepts.nearest import Centroids, Float32Array, Int32Array
from filtering.filters.artifacts import PassingShard
from filtering.storage.store import Store

CENTROIDS = "centroids.npz"
CONCEPTS = "concepts.parquet"
# Rows whose true neighbours are searched: `row` ascending, `vectors`, and which of them measure recall.
QUERIES_NAME = "queries.npz"
EXACT = "exact.npz"
# How near a border guests are, and into how many sections each centroid's rows are cut.
INVITATION = "invitation.npz"
# What the concepts were like when they were trained: `sizes` and `distances`, the sum over their rows.
FIT = "fit.npz"
# Where a base is: the concepts in which other rows stand now (`changed`), and all in which rows that stand in one of
# those do (`searched`): there neighbours are sought again.
TOUCHED = "touched.npz"
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


def read_exact(store: Store, k: int | None = None) -> tuple[npt.NDArray[np.int64], Float32Array]:
    """Return the rows that measure recall, global ids ascending int64 (q,), and the distances of their true neighbours.

    The distances are squared Euclidean, float32 (q, k), ascending, infinite where the pool has fewer than k others. A
    few more than k are known, which are returned where k is not given.
    """
    exact = store.read_arrays(EXACT)
    return exact["row"], exact["distances"][:, :k]


def read_queries(store: Store) -> npt.NDArray[np.float16]:
    """Return the vectors of the rows whose true neighbours were searched: a random sample, float16 (q, d)."""
    return np.asarray(store.read_arrays(QUERIES_NAME)["vectors"], dtype=np.float16)


@dataclass(frozen=True, slots=True)
class Touched:
    """The concepts, bool (C,) each, that differ from a base's.

    Attributes
    ----------
    changed : those in which other rows stand than in the base, as guests or at home.
    searched : those in which some row stands that stands in a changed one.
    """

    changed: npt.NDArray[np.bool_]
    searched: npt.NDArray[np.bool_]


def read_touched(store: Store) -> Touched | None:
    """Return which concepts differ from the base's; None where every concept is new."""
    try:
        return Touched(**store.read_arrays(TOUCHED))
    except FileNotFoundError:
        return None


def grouped_names(store: Store) -> list[str]:
    """Return the names of the objects that hold the rows grouped by partition."""
    return store.names(GROUPED_SUFFIX)
