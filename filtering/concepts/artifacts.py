"""The objects of the concepts and partitions stages, and how later stages read them.

Names on disk have stayed: in columns and records a replica is called a guest, and what is reused is called carried.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from filtering.concepts.centroid_files import KNOWN_NAME, STEPS_NAME, index_named, read_centroids_named
from filtering.concepts.nearest import CentroidIndex, Centroids, Float32Array, Int32Array
from filtering.core import schemas
from filtering.core.fixed_point import from_steps
from filtering.core.formatting import counted
from filtering.filters.artifacts import PassingShard
from filtering.storage.reading import read_columns, read_rows
from filtering.storage.store import Store

# The centroids of a run are written under this name, as two objects: what is known of each, and their steps.
TRAINED = "centroids"
CENTROIDS, CENTROID_STEPS = KNOWN_NAME.format(TRAINED), STEPS_NAME.format(TRAINED)
CONCEPTS = "concepts.parquet"
# Rows whose true neighbours are searched: `row` ascending, `vectors`, and which of them measure recall.
QUERIES_NAME = "queries.npz"
EXACT = "exact.npz"
# The largest margin at which a row has a replica, and how many rows each centroid has.
MARGIN = "margin.npz"
# The same, and into how many sections the rows of each centroid are cut, and where.
REPLICATION = "invitation.npz"
# The pool on which the concepts were trained: `sizes` and `distances`, the sums over the rows of each concept.
FIT = "fit.npz"
ASSIGNMENT_NAME = "{}.visits.npz"
GROUPED_SUFFIX = ".grouped"
GROUPED_NAME = "{}" + GROUPED_SUFFIX


def read_concepts(store: Store) -> pa.Table:
    """Return the table `schemas.CONCEPTS`; DamagedError if it is something else."""
    return read_rows(store, CONCEPTS, schemas.CONCEPTS)


def replica_counts(concepts: pa.Table) -> npt.NDArray[np.int64]:
    """Return how many rows have a replica in each concept, int64 (C,), from the table `schemas.CONCEPTS`."""
    counts: npt.NDArray[np.int64] = concepts["guests"].to_numpy()
    return counts


def read_centroids(store: Store) -> Centroids:
    """Return the trained centroids; a concept that was cut into sections has one centroid for all of them."""
    return read_centroids_named(store, TRAINED)


def read_index(store: Store) -> tuple[Centroids, CentroidIndex]:
    """Return the trained centroids and their index, made once in a process."""
    return index_named(store, TRAINED)


def read_concept_centroids(store: Store) -> Float32Array:
    """Return the centroid of each concept, float32 (C, d)."""
    return np.repeat(read_centroids(store).vectors, read_sections(store), axis=0)


def read_centroids_of(store: Store, concepts: npt.NDArray[np.integer[Any]]) -> Float32Array:
    """Return the centroids of some concepts, int (n,), float32 (n, d); no others are in memory."""
    places = np.searchsorted(np.cumsum(read_sections(store)), concepts, side="right")
    return from_steps(read_centroids(store).steps[places])


def read_sections(store: Store) -> Int32Array:
    """Return how many concepts share each centroid, int32 (K,): concepts are numbered by centroid."""
    return store.read_arrays(REPLICATION)["sections"]


def read_homes(store: Store, shard: PassingShard) -> tuple[Int32Array, Int32Array]:
    """Return the rows of a shard that have a concept, ascending, and their home concepts, int32 (n,) each."""
    arrays = read_columns(store, ASSIGNMENT_NAME.format(shard.identity), row=np.int32, concept=np.int32)
    return arrays["row"], arrays["concept"]


@dataclass(frozen=True, slots=True)
class Assignment:
    """The concepts of a shard's rows."""

    row: Int32Array  # int32 (n,), rows of the shard that passed the filters, ascending
    concept: Int32Array  # int32 (n,), the home concept of each
    replica: Int32Array  # int32 (m,), the place in `row` of each replica, ascending
    replica_concept: Int32Array  # int32 (m,), the concept in which the replica is searched
    distance: Float32Array | None = None  # float32 (n,), to the nearest centroid, 1 - cosine; older versions wrote none

    @property
    def members(self) -> tuple[Int32Array, Int32Array]:
        """Home rows and then replicas: their places in `row`, int32 (n + m,), and their concepts, int32 (n + m,)."""
        place = np.concatenate([np.arange(len(self.row), dtype=np.int32), self.replica])
        return place, np.concatenate([self.concept, self.replica_concept])


def write_assignment(store: Store, identity: str, assigned: Assignment) -> None:
    """Write the concepts of a shard's rows."""
    arrays: dict[str, npt.NDArray[Any]] = {"row": assigned.row, "concept": assigned.concept}
    arrays |= {"guest": assigned.replica, "guest_concept": assigned.replica_concept}
    if assigned.distance is not None:
        arrays["distance"] = assigned.distance
    store.write_arrays(ASSIGNMENT_NAME.format(identity), arrays)


def read_assignment(store: Store, identity: str) -> Assignment:
    """Return the concepts of a shard's rows."""
    arrays = store.read_arrays(ASSIGNMENT_NAME.format(identity))
    replicas = arrays["guest"], arrays["guest_concept"]
    return Assignment(arrays["row"], arrays["concept"], *replicas, arrays.get("distance"))


def read_exact(store: Store, k: int | None = None) -> tuple[npt.NDArray[np.int64], Float32Array]:
    """Return the rows that measure recall, global ids ascending int64 (q,), and the distances of their true neighbours.

    The distances are squared Euclidean, float32 (q, k), ascending, infinite where the pool has fewer than k other rows.
    Without k, all known distances are returned: a few more than k.
    """
    exact = store.read_arrays(EXACT)
    return exact["row"], exact["distances"][:, :k]


def read_queries(store: Store) -> npt.NDArray[np.float16]:
    """Return the vectors of the rows whose true neighbours were searched: a random sample, float16 (q, d)."""
    return np.asarray(store.read_arrays(QUERIES_NAME)["vectors"], dtype=np.float16)


@dataclass(frozen=True, slots=True)
class Drift:
    """How the pool differs from the one on which its concepts were trained."""

    new_rows: int  # rows that the base did not have
    # Mean cosine distance to the nearest centroid, of the new rows and at the time of training; None without rows
    distance: float | None
    distance_at_fit: float | None
    grown: int  # concepts whose share of the pool has more than doubled
    rows_at_fit: int  # rows at the time of training
    refit: tuple[str, ...] = ()  # reasons why a refit is due, each a line for a person


@dataclass(frozen=True, slots=True)
class ConceptsResult:
    """The result of the concepts stage."""

    rows: int  # rows that have a concept
    concepts: int  # the sections of a large concept share a centroid
    centroids: int
    partitions: int
    # Rows searched in another concept than their home concept, counted once for each such concept
    replicas: Annotated[int, Field(alias="guests")]
    dimension: int  # of the vectors
    identity: str  # a digest of the centroids, the margin and the sections
    # Of trained concepts: the largest margin at which a row has a replica, and the recall expected from it
    margin: float | None = None
    expected_recall: float | None = None
    # The folder of the concepts that were not trained but reused, and the shards whose rows keep the base's concepts
    reused_from: Annotated[str | None, Field(alias="taken_over")] = None
    reused_shards: Annotated[int, Field(alias="carried_shards")] = 0
    compared: bool = False  # whether concepts and partitions are a base's, so that its graph can be renewed
    drift: Drift | None = None  # of reused concepts
    recall_rows: int | None = None  # rows on which recall is measured, where that is known
    trained_rows: int | None = None  # the sample on which centroids were trained; None where they were given

    @property
    def summary(self) -> str:
        """One line for a person."""
        mean = self.replicas / max(self.rows, 1)
        found = (
            f"{counted(self.concepts, 'concept')} in {counted(self.partitions, 'partition')}, {mean:.2f} replicas a row"
        )
        if self.trained_rows is not None:
            found += f"; centroids trained on {100 * self.trained_rows / max(self.rows, 1):.1f} % of the rows"
        return found


@dataclass(frozen=True, slots=True)
class PartitionsResult:
    """Rows that were grouped, their replicas, and the copies written: one for each partition of a row's concepts."""

    rows: int
    replicas: Annotated[int, Field(alias="guests")]
    copies: int

    @property
    def summary(self) -> str:
        """One line for a person."""
        return f"{self.rows:,} rows grouped in {self.copies:,} copies"


def grouped_names(store: Store) -> list[str]:
    """Return the names of the objects that hold the rows grouped by partition."""
    return store.names(GROUPED_SUFFIX)
