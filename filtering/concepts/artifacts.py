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
class Drift:
    """How the pool differs from the one on which its concepts were trained.

    Attributes
    ----------
    new_rows : int
        Rows that the base did not have.
    distance, distance_at_fit : float or None
        Mean cosine distances to the nearest centroid, of the new rows and of the rows at the time of training; None
        where there are none.
    grown : int
        Concepts whose share of the pool has more than doubled.
    rows_at_fit : int
        Rows at the time of training.
    refit : tuple of str
        Reasons why a refit is due, each a line for a person.
    """

    new_rows: int
    distance: float | None
    distance_at_fit: float | None
    grown: int
    rows_at_fit: int
    refit: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TouchedCounts:
    """How many concepts differ from a base's, and how many are searched again."""

    changed: int
    searched: int


@dataclass(frozen=True, slots=True)
class ConceptsResult:
    """What the concepts stage found.

    Attributes
    ----------
    rows : int
        Rows that have a concept.
    concepts, centroids, partitions : int
        How many there are; concepts that were too large share a centroid.
    guests : int
        Rows that are searched in a concept beside their own, counted once for each.
    dimension : int
        Of the vectors.
    identity : str
        What tells trained concepts from others.
    margin, expected_recall : float or None
        Of trained concepts: how near a border guests are, and the recall that this promises.
    taken_over : str or None
        The folder of the concepts that were taken over.
    carried_shards : int
        Shards whose rows keep the base's concepts.
    touched : TouchedCounts or None
        Where a base's concepts are compared.
    drift : Drift or None
        Of concepts that were taken over.
    recall_rows : int or None
        Rows on which recall is measured, where that is known.
    """

    rows: int
    concepts: int
    centroids: int
    partitions: int
    guests: int
    dimension: int
    identity: str
    margin: float | None = None
    expected_recall: float | None = None
    taken_over: str | None = None
    carried_shards: int = 0
    touched: TouchedCounts | None = None
    drift: Drift | None = None
    recall_rows: int | None = None

    @property
    def summary(self) -> str:
        """One line for a person."""
        many = "s" * (self.partitions != 1)
        mean = self.guests / max(self.rows, 1)
        found = f"{self.concepts:,} concepts in {self.partitions:,} partition{many}, {mean:.2f} guests a row"
        if self.touched is not None:
            found += f"; {self.touched.changed:,} changed, {self.touched.searched:,} searched again"
        return found


@dataclass(frozen=True, slots=True)
class PartitionsResult:
    """How many rows were grouped, how many of them are guests somewhere, and how many copies that makes."""

    rows: int
    guests: int
    copies: int

    @property
    def summary(self) -> str:
        """One line for a person."""
        return f"{self.rows:,} rows grouped in {self.copies:,} copies"


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
