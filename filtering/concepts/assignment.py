"""Tasks that assign a shard's rows: a pass over the vectors finds nearest centroids, a pass over ids the concepts."""

from collections.abc import Mapping
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from filtering.concepts.artifacts import (
    QUERIES_NAME,
    REPLICATION,
    Assignment,
    read_index,
    read_sections,
    write_assignment,
)
from filtering.concepts.cutting import placed, read_cuts
from filtering.concepts.exact_search import ExactSearch
from filtering.concepts.nearest import Float32Array, Int32Array
from filtering.concepts.partition import global_rows
from filtering.concepts.replicas import NO_CONCEPT, NearestConcepts, border_margins, margin_counts
from filtering.concepts.sections import Cut
from filtering.concepts.statistics import write_sums
from filtering.concepts.true_neighbours import found_rows, write_nearest
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
    passing = shard.rows()
    exact, nearest = compared_rows(shard, passing, np.ones(len(passing), dtype=bool), most, k, store)
    write_nearest(store, shard.identity, _nearest(exact, global_rows(shard.index, passing), nearest))
    return len(passing)


def compared_rows(
    shard: PassingShard,
    passing: npt.NDArray[np.int64],
    new: npt.NDArray[np.bool_],
    most: int,
    k: int,
    store: Store,
) -> tuple[ExactSearch, NearestConcepts]:
    """Compare a shard's rows, int64 (n,), with the sampled rows of the pool, and the `new` ones with the centroids.

    Writes the nearest centroids of these, bool (n,), and returns what was found.
    """
    queries, finding = store.read_arrays(QUERIES_NAME), NearestCells(store, most, passing[new])
    exact = ExactSearch(unit_rows(queries["vectors"]), queries["row"], k)
    ids = global_rows(shard.index, passing)
    for block, vectors in shard.vector_blocks(passing):
        unit, here = unit_rows(vectors), new[block]
        exact.add(unit, ids[block], block.start)
        if here.any():
            finding.add(unit if here.all() else unit[here])
    finding.write(shard.identity)
    return exact, finding.nearest


class NearestCells:
    """Finds the nearest centroids of some rows of a shard, int64 (n,), block by block, and writes them."""

    def __init__(self, store: Store, most: int, rows: npt.NDArray[np.int64]) -> None:
        self.store, self.rows, (self.centroids, self.index) = store, rows, read_index(store)
        shape = (len(rows), min(most, len(self.centroids.steps)))
        margins = np.full(shape, np.inf, dtype=np.float32)
        self.nearest = NearestConcepts(np.full(shape, NO_CONCEPT, dtype=np.int32), margins)
        self.distances = np.zeros(len(rows), dtype=np.float32)
        self.taken = 0

    def add(self, unit: Float32Array) -> None:
        """Take the vectors of the next rows, unit-norm float32 (b, d)."""
        block = slice(self.taken, self.taken + len(unit))
        concepts, apart = self.index.nearest(unit, self.nearest.concepts.shape[1])
        self.nearest.concepts[block] = concepts
        self.nearest.margins[block] = border_margins(concepts, apart, self.centroids)
        self.distances[block] = apart[:, 0]
        self.taken = block.stop

    def write(self, identity: str) -> None:
        """Write what was found, when all rows have been taken."""
        found = {"concepts": self.nearest.concepts, "margins": self.nearest.margins, "distances": self.distances}
        self.store.write_arrays(CELLS_NAME.format(identity), {"row": self.rows.astype(np.int32), **found})


def assign_concepts(shard: PassingShard, store: Store) -> AssignedCounts:
    """Write each row's home concept and the concepts in which it has a replica, and the sums over the concepts."""
    return write_assigned(store, shard.identity, assigned_rows(shard, store))


def assigned_rows(shard: PassingShard, store: Store) -> Assignment:
    """Return the concepts of the rows whose nearest centroids were found, with the distances to these."""
    cells, replication = (store.read_arrays(name) for name in (CELLS_NAME.format(shard.identity), REPLICATION))
    concepts, sections = cells["concepts"], replication["sections"]
    stands = (cells["margins"] <= replication["margin"]) & (concepts != NO_CONCEPT)
    stands[:, :1] = concepts[:, :1] != NO_CONCEPT
    found = np.asarray(np.concatenate([[0], np.cumsum(sections)]), dtype=np.int32)[concepts]
    if cuts := read_cuts(store):
        _into_sections(shard, cells["row"], concepts, cuts, stands, found)
    home = found[:, 0] if len(found) else np.zeros(0, dtype=np.int32)
    stands[:, :1] = False
    replica, column = np.nonzero(stands)
    return Assignment(cells["row"], home, replica.astype(np.int32), found[replica, column], cells["distances"])


def write_assigned(store: Store, identity: str, assigned: Assignment) -> AssignedCounts:
    """Write the concepts of a shard's rows, whose distances are known, and the sums over the concepts."""
    assert assigned.distance is not None
    write_assignment(store, identity, assigned)
    write_sums(store, identity, assigned, assigned.distance, int(read_sections(store).sum()))
    return AssignedCounts(rows=len(assigned.row), replicas=len(assigned.replica))


def _into_sections(
    shard: PassingShard,
    rows: Int32Array,
    concepts: Int32Array,
    cuts: Mapping[int, Cut],
    stands: npt.NDArray[np.bool_],
    found: Int32Array,
) -> None:
    """Move rows and replicas of concepts that are cut to their sections; `stands` and `found` are changed.

    `concepts`, int32 (n, r), are the nearest centroids of `rows`, `stands` says where a row stands, and `found` has the
    first section of each centroid.
    """
    is_cut = np.isin(concepts, list(cuts)) & stands
    wanted = np.flatnonzero(is_cut.any(axis=1))
    place = hashed(shard.uids(rows), SECTION_SEED)
    for block, vectors in shard.vector_blocks(rows[wanted]):
        here = wanted[block]
        for cell, cut in cuts.items():
            at, column = np.nonzero((concepts[here] == cell) & is_cut[here])
            row, one, last = here[at], placed(cut, vectors[at], place[here[at]]), concepts.shape[1] - 1
            # Copies of one vector are searched together with what lies around it, too, though not all of them.
            anchors = one.anchors & (column == 0) & (last > 0)
            stands[row[anchors], last] = True
            found[row[anchors], last] = found[row[anchors], 0] + one.leaves[anchors]
            found[row, column] += np.where(column == 0, one.sections, one.leaves)


def _nearest(exact: ExactSearch, ids: npt.NDArray[np.int64], nearest: NearestConcepts) -> dict[str, npt.NDArray[Any]]:
    """Return the shard's rows nearest to the sampled rows of the pool, and the concepts of its own sampled rows."""
    asked = np.flatnonzero(np.isin(exact.rows, ids))
    own = np.searchsorted(ids, exact.rows[asked])
    cells, sizes = np.unique(nearest.concepts[:, :1], return_counts=True)
    found: dict[str, npt.NDArray[Any]] = {
        "asked": asked,
        "own_concepts": nearest.concepts[own],
        "own_margins": nearest.margins[own],
        "margin_counts": margin_counts(nearest.margins),
        "cells": cells,
        "sizes": sizes,
    }
    if len(ids) == 0 or len(exact.rows) == 0:
        return found
    there, rows = found_rows(exact, ids)
    return found | rows | {"concepts": nearest.concepts[there], "margins": nearest.margins[there]}
