"""Tasks that reuse results of a base: the concepts of unchanged shards, and the true neighbours of sampled rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from filtering.concepts.artifacts import (
    ASSIGNMENT_NAME,
    EXACT,
    QUERIES_NAME,
    Assignment,
    read_assignment,
)
from filtering.concepts.assignment import AssignedCounts, assigned_rows, compared_rows, write_assigned
from filtering.concepts.exact_search import ExactSearch
from filtering.concepts.partition import global_rows, moved_rows
from filtering.concepts.statistics import STATISTICS_NAME
from filtering.concepts.training import gather_queries, sampled_queries
from filtering.concepts.true_neighbours import (
    Columns,
    Int64Array,
    found_rows,
    nearest_rows,
    still_exact,
    with_radius,
    write_nearest,
)
from filtering.core.csr import inverse_order
from filtering.embedding.artifacts import unit_rows
from filtering.filters.artifacts import PassingShard
from filtering.storage.store import Store


@dataclass(frozen=True, slots=True)
class BaseConcepts:
    """The concepts of a base, and its shards in today's pool."""

    store: Store  # the base's concepts
    places: Int64Array  # int64 (b,), the places of its shards now, -1 where their rows have changed or are gone


class QueryCounts(TypedDict):
    """Sampled rows: those of a base, and those that no base has compared with the pool."""

    reused: int
    fresh: int


class ExactCounts(TypedDict):
    """Rows that measure recall, and how many of them have the base's neighbours."""

    rows: int
    reused: int


def reuse_assignment(shard: PassingShard, base: Store, store: Store) -> None:
    """Copy the concepts of a shard's rows and the sums over them from a base."""
    for name in (ASSIGNMENT_NAME, STATISTICS_NAME):
        store.copy(name.format(shard.identity), base)


def find_nearest_of_new(shard: PassingShard, most: int, k: int, base: Store, store: Store) -> int:
    """As `assignment.find_nearest`, but only rows that a base has not assigned are compared with the centroids.

    For a shard that has not changed, of which other rows pass the filters than in the base.
    """
    passing = shard.rows()
    new = ~np.isin(passing, _known(shard, base).row)
    exact, _ = compared_rows(shard, passing, new, most, k, store)
    ids = global_rows(shard.index, passing)
    nearest = found_rows(exact, ids)[1] if len(ids) and len(exact.rows) else {}
    write_nearest(store, shard.identity, nearest)
    return int(new.sum())


def assign_new(shard: PassingShard, base: Store, store: Store) -> AssignedCounts:
    """Write the concepts of a shard's rows, a base's of those that it has, and the sums over the concepts."""
    before = _known(shard, base)
    left = _some_rows(before, np.isin(before.row, shard.rows()))
    return write_assigned(store, shard.identity, _joined(left, assigned_rows(shard, store)))


def _known(shard: PassingShard, base: Store) -> Assignment:
    """Return what a base has assigned of a shard, with distances; nothing where an older version wrote none."""
    assigned = read_assignment(base, shard.identity)
    if assigned.distance is None:
        return _some_rows(assigned, np.zeros(len(assigned.row), dtype=bool))
    return assigned


def _some_rows(assigned: Assignment, rows: npt.NDArray[np.bool_]) -> Assignment:
    """Return what is assigned to some rows, bool (n,)."""
    place, there = np.cumsum(rows) - 1, rows[assigned.replica]
    replica = place[assigned.replica[there]].astype(np.int32)
    distance = np.zeros(0, dtype=np.float32) if assigned.distance is None else assigned.distance[rows]
    return Assignment(assigned.row[rows], assigned.concept[rows], replica, assigned.replica_concept[there], distance)


def _joined(one: Assignment, other: Assignment) -> Assignment:
    """Return what is assigned to the rows of both, which have none in common, in the order of the rows."""
    order = np.argsort(np.concatenate([one.row, other.row]))
    place = inverse_order(order)
    replica = place[np.concatenate([one.replica, other.replica + len(one.row)])].astype(np.int32)
    # Stable: a row's replicas stay in their order.
    by_row = np.argsort(replica, kind="stable")
    row, concept, distance, to = (
        np.concatenate([getattr(part, name) for part in (one, other)])
        for name in ("row", "concept", "distance", "replica_concept")
    )
    return Assignment(row[order], concept[order], replica[by_row], to[by_row], distance[order])


def reuse_queries(identities: Sequence[str], base: BaseConcepts, store: Store) -> QueryCounts:
    """Write the base's sampled rows that are still there, together with those of the shards that differ."""
    queries = base.store.read_arrays(QUERIES_NAME)
    queries["row"] = moved_rows(queries["row"], base.places)
    there = queries["row"] >= 0
    parts = [
        {name: queries[name][there] for name in ("row", "measures", "vectors")},
        *sampled_queries(store, identities),
    ]
    # A shard without rows has vectors of no width.
    filled = [part for part in parts if len(part["row"])] or parts[:1]
    joined = {name: np.concatenate([part[name] for part in filled]) for name in filled[0]}
    order = np.argsort(joined["row"])
    fresh = np.arange(len(order)) >= int(there.sum())
    store.write_arrays(QUERIES_NAME, {name: column[order] for name, column in (joined | {"fresh": fresh}).items()})
    return QueryCounts(reused=int(there.sum()), fresh=int(fresh.sum()))


def resample_queries(identities: Sequence[str], store: Store) -> QueryCounts:
    """Write the rows that all shards have sampled, each to be compared with the whole pool."""
    rows = gather_queries(identities, store)
    queries = store.read_arrays(QUERIES_NAME)
    store.write_arrays(QUERIES_NAME, queries | {"fresh": np.ones(len(queries["row"]), dtype=bool)})
    return QueryCounts(reused=0, fresh=rows)


def find_nearest_rows(shard: PassingShard, k: int, store: Store) -> int:
    """Find a shard's rows nearest to the sampled rows that no base has compared with it; return how many those are."""
    passing, queries = shard.rows(), store.read_arrays(QUERIES_NAME)
    fresh = np.flatnonzero(queries["fresh"])
    exact = ExactSearch(unit_rows(queries["vectors"][fresh]), queries["row"][fresh], k)
    ids, shape = global_rows(shard.index, passing), (len(queries["row"]), exact.found.shape[1])
    distances, neighbours = np.full(shape, np.inf, dtype=np.float32), np.full(shape, -1, dtype=np.int64)
    for block, vectors in shard.vector_blocks(passing):
        exact.add(unit_rows(vectors), ids[block], block.start)
    if len(ids) and len(fresh):
        found = found_rows(exact, ids)[1]
        distances[fresh], neighbours[fresh] = found["distances"], found["neighbours"]
    write_nearest(store, shard.identity, {"distances": distances, "neighbours": neighbours})
    return len(fresh)


def find_exact(identities: Sequence[str], base: BaseConcepts | None, k: int, store: Store) -> ExactCounts:
    """Write the true neighbours, k a row, of the rows that measure recall.

    `identities` are the shards that were searched: where there is a base, whose neighbours are reused, those that it
    has were searched for new rows alone.
    """
    queries = store.read_arrays(QUERIES_NAME)
    measures, fresh = queries["measures"], queries.get("fresh", np.ones(len(queries["row"]), dtype=bool))
    found: Columns = {"row": queries["row"]} | nearest_rows(store, identities, len(queries["row"]))
    exact, reused = with_radius(_some(found, measures & fresh)), 0
    before: Columns = {} if base is None else base.store.read_arrays(EXACT)
    # A base without rows does not even know how many neighbours a row has.
    if base is not None and len(before["row"]):
        left = still_exact(before, base.places, _some(found, measures & ~fresh), k)
        reused = len(left["row"])
        both = {name: np.concatenate([_as_wide(part[name], left[name]) for part in (left, exact)]) for name in left}
        exact = _some(both, np.argsort(both["row"]))
    store.write_arrays(EXACT, exact)
    return ExactCounts(rows=len(exact["row"]), reused=reused)


def _some(columns: Columns, rows: npt.NDArray[Any]) -> Columns:
    return {name: column[rows] for name, column in columns.items()}


def _as_wide(column: npt.NDArray[Any], like: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a column without rows in the width of another: nothing was found where no shard was searched."""
    return np.zeros((0, *like.shape[1:]), like.dtype) if len(column) == 0 else column
