"""Tasks that assign a shard's rows: a pass over the vectors finds nearest centroids, a pass over ids the concepts."""

from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from filtering.concepts.artifacts import (
    QUERIES_NAME,
    REPLICATION,
    Assignment,
    read_centroids,
    write_assignment,
)
from filtering.concepts.exact_search import ExactSearch
from filtering.concepts.nearest import CentroidIndex, Int32Array
from filtering.concepts.partition import global_rows
from filtering.concepts.replicas import NO_CONCEPT, NearestConcepts, border_margins, margin_counts
from filtering.concepts.statistics import write_sums
from filtering.concepts.true_neighbours import NEAREST_NAME, ranked_rows
from filtering.core.uids import hashed
from filtering.embedding.artifacts import unit_rows
from filtering.filters.artifacts import PassingShard
from filtering.storage.store import Store

# The nearest centroids of each row of a shard, and the margins to them.
CELLS_SUFFIX = ".cells.npz"
CELLS_NAME = "{}" + CELLS_SUFFIX
SECTION_SEED = 3


class AssignedCounts(TypedDict):
    """The rows of a shard and their replicas."""

    rows: int
    replicas: int


def find_nearest(shard: PassingShard, most: int, k: int, store: Store) -> int:
    """Find the `most` nearest centroids of a shard's rows, and its rows nearest to the sampled rows of the pool.

    The stage's objects have the centroids and the sampled rows. Returns how many rows the shard has.
    """
    passing, centroids, queries = shard.rows(), read_centroids(store), store.read_arrays(QUERIES_NAME)
    index = CentroidIndex(centroids)
    exact = ExactSearch(unit_rows(queries["vectors"]), queries["row"], k)
    shape = (len(passing), min(most, len(centroids.vectors)))
    concepts, margins = np.full(shape, NO_CONCEPT, dtype=np.int32), np.full(shape, np.inf, dtype=np.float32)
    distances = np.zeros(len(passing), dtype=np.float32)
    ids = global_rows(shard.index, passing)
    for block, vectors in shard.vector_blocks(passing):
        unit = unit_rows(vectors)
        concepts[block], apart = index.nearest(unit, shape[1])
        margins[block] = border_margins(concepts[block], apart, centroids)
        distances[block] = apart[:, 0]
        exact.add(unit, ids[block], block.start)
    cells = {"row": passing.astype(np.int32), "concepts": concepts, "margins": margins, "distances": distances}
    store.write_arrays(CELLS_NAME.format(shard.identity), cells)
    found = _nearest(shard, exact, passing, ids, NearestConcepts(concepts, margins))
    store.write_arrays(NEAREST_NAME.format(shard.identity), found)
    return len(passing)


def assign_concepts(shard: PassingShard, store: Store) -> AssignedCounts:
    """Write each row's home concept and the concepts in which it has a replica, and the sums over the concepts."""
    cells, replication = (store.read_arrays(name) for name in (CELLS_NAME.format(shard.identity), REPLICATION))
    sections, place = replication["sections"], hashed(shard.uids(cells["row"]), SECTION_SEED)
    home = cells["concepts"][:, 0] if len(place) else np.zeros(0, dtype=np.int32)
    replicated = (cells["margins"] <= replication["margin"]) & (cells["concepts"] != NO_CONCEPT)
    replicated[:, :1] = False
    replica, column = np.nonzero(replicated)
    assigned = Assignment(
        row=cells["row"],
        concept=_sectioned(home, place, sections),
        replica=replica.astype(np.int32),
        replica_concept=_sectioned(cells["concepts"][replica, column], place[replica], sections),
    )
    write_assignment(store, shard.identity, assigned)
    write_sums(store, shard.identity, assigned, cells["distances"], int(sections.sum()))
    return AssignedCounts(rows=len(assigned.row), replicas=len(assigned.replica))


def _sectioned(cells: Int32Array, place: npt.NDArray[np.uint64], sections: Int32Array) -> Int32Array:
    """Return the concept of rows of some cells: the cell's only section, or the one that the row's uid decides."""
    first = np.concatenate([[0], np.cumsum(sections)]).astype(np.int32)
    return np.asarray(first[cells] + (place % sections[cells].astype(np.uint64)).astype(np.int32), dtype=np.int32)


def _nearest(
    shard: PassingShard,
    exact: ExactSearch,
    passing: npt.NDArray[np.int64],
    ids: npt.NDArray[np.int64],
    nearest: NearestConcepts,
) -> dict[str, npt.NDArray[Any]]:
    """Return the shard's rows nearest to the sampled rows of the pool, and the concepts of its own sampled rows."""
    asked = np.flatnonzero(np.isin(exact.rows, ids))
    own = np.searchsorted(ids, exact.rows[asked])
    found: dict[str, npt.NDArray[Any]] = {
        "asked": asked,
        "own_concepts": nearest.concepts[own],
        "own_margins": nearest.margins[own],
        "margin_counts": margin_counts(nearest.margins),
        "sizes": np.bincount(nearest.concepts[:, 0]) if len(ids) else np.zeros(0, np.int64),
    }
    if len(ids) == 0 or len(exact.rows) == 0:
        return found
    there, rows = ranked_rows(shard, exact, passing, ids)
    return found | rows | {"concepts": nearest.concepts[there], "margins": nearest.margins[there]}
