"""What workers do to take concepts over from another run: shards' visits, sampled rows, and which concepts differ."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from filtering.concepts.artifacts import EXACT, QUERIES_NAME, TOUCHED, VISITS_NAME, read_sections
from filtering.concepts.assignment import NEAREST_NAME, STATISTICS_NAME, nearer, ranked_rows, with_radius
from filtering.concepts.exact_search import ExactSearch
from filtering.concepts.partition import global_rows, moved_rows
from filtering.concepts.training import gather_queries, sampled_queries
from filtering.embedding.artifacts import unit_rows
from filtering.filters.artifacts import PassingShard
from filtering.storage.store import Store

CHANGED = "changed.npz"
SEARCHED_SUFFIX = ".searched.npz"
SEARCHED_NAME = "{}" + SEARCHED_SUFFIX
Int64Array = npt.NDArray[np.int64]


def carry_visits(shard: PassingShard, base_url: str, store_url: str) -> dict[str, int]:
    """Take over what a base knows of a shard's rows: their concepts, where they are guests, and the sums."""
    for name in (VISITS_NAME, STATISTICS_NAME):
        Store(store_url).write(name.format(shard.identity), Store(base_url).read(name.format(shard.identity)))
    return {"shards": 1}


def carry_queries(identities: Sequence[str], base_url: str, places: Int64Array, store_url: str) -> dict[str, int]:
    """Take over the sampled rows that are still there, beside those of the shards that differ; return how many of each.

    Parameters
    ----------
    identities : list of str
        The shards that differ, which have sampled their rows.
    base_url : str
        Where the base's concepts are, and its sampled rows.
    places : int64 (b,)
        For each shard of the base's inventory its place now, -1 where its rows are gone.
    store_url : str
        Where the shards' samples are, and where all of them go.
    """
    store, queries = Store(store_url), Store(base_url).read_arrays(QUERIES_NAME)
    queries["row"] = moved_rows(queries["row"], places)
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
    return {"carried": int(there.sum()), "fresh": int(fresh.sum())}


def resample_queries(identities: Sequence[str], store_url: str) -> dict[str, int]:
    """Write the rows that all shards have sampled, each to be compared with the whole pool."""
    store = Store(store_url)
    found = gather_queries(identities, store_url)
    queries = store.read_arrays(QUERIES_NAME)
    store.write_arrays(QUERIES_NAME, queries | {"fresh": np.ones(len(queries["row"]), dtype=bool)})
    return {"carried": 0, "fresh": found["rows"]}


def measure(shard: PassingShard, k: int, store_url: str) -> dict[str, int]:
    """Find the nearest rows of a shard to the sampled rows that no base has compared with it."""
    store, passing = Store(store_url), shard.rows()
    queries = store.read_arrays(QUERIES_NAME)
    fresh = np.flatnonzero(queries["fresh"])
    exact = ExactSearch(unit_rows(queries["vectors"][fresh]), queries["row"][fresh], k)
    width, ids = exact.found.shape[1], global_rows(shard.index, passing)
    distances = np.full((len(queries["row"]), width), np.inf, dtype=np.float32)
    neighbours = np.full(distances.shape, -1, dtype=np.int64)
    for block, vectors in shard.vector_blocks(passing):
        exact.add(unit_rows(vectors), ids[block], block.start)
    if len(ids) and len(fresh):
        found = ranked_rows(shard, exact, passing, ids)[1]
        distances[fresh], neighbours[fresh] = found["distances"], found["neighbours"]
    store.write_arrays(NEAREST_NAME.format(shard.identity), {"distances": distances, "neighbours": neighbours})
    return {"rows": len(fresh)}


def find_exact(
    identities: Sequence[str], base_url: str | None, places: Int64Array, k: int, store_url: str
) -> dict[str, int]:
    """Write the true neighbours of the rows that measure recall.

    Parameters
    ----------
    identities : list of str
        The shards in which they were looked for: where there is a base, in those that are the same for new rows alone.
    base_url, places : str or None, int64 (b,)
        Where the base's neighbours are, and the places of its shards now.
    k : int
        Neighbours of a row.
    """
    store = Store(store_url)
    queries = store.read_arrays(QUERIES_NAME)
    measures, fresh = queries["measures"], queries.get("fresh", np.ones(len(queries["row"]), dtype=bool))
    found: dict[str, npt.NDArray[Any]] = {"row": queries["row"]} | _nearest_rows(store, identities, len(queries["row"]))
    new = {name: column[measures & fresh] for name, column in found.items()}
    exact, carried = with_radius(new), 0
    before = None if base_url is None else Store(base_url).read_arrays(EXACT)
    # A base without rows does not even know how many neighbours a row has.
    if before is not None and len(before["row"]):
        old = {name: column[measures & ~fresh] for name, column in found.items()}
        left = still_exact(before, places, old, k)
        carried = len(left["row"])
        both = {name: np.concatenate([_as_wide(part[name], left[name]) for part in (left, exact)]) for name in left}
        order = np.argsort(both["row"])
        exact = {name: column[order] for name, column in both.items()}
    store.write_arrays(EXACT, exact)
    return {"rows": len(exact["row"]), "carried": carried}


def _nearest_rows(store: Store, identities: Sequence[str], rows: int) -> dict[str, npt.NDArray[Any]]:
    """Merge what shards found: `distances` float32 and `neighbours` int64 (q, k and a few more), nearest first."""
    nearest: dict[str, npt.NDArray[Any]] = {}
    for identity in identities:
        part = store.read_arrays(NEAREST_NAME.format(identity))
        if "distances" in part:
            nearest = nearer(nearest, part, ("distances", "neighbours"))
    none: dict[str, npt.NDArray[Any]] = {
        "distances": np.zeros((rows, 0), np.float32),
        "neighbours": np.zeros((rows, 0), np.int64),
    }
    return nearest or none


def _as_wide(column: npt.NDArray[Any], like: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a column of no rows as wide as another: nothing was found where no shard looked."""
    return np.zeros((0, *like.shape[1:]), like.dtype) if len(column) == 0 else column


def still_exact(
    before: Mapping[str, npt.NDArray[Any]], places: Int64Array, new: Mapping[str, npt.NDArray[Any]], k: int
) -> dict[str, npt.NDArray[Any]]:
    """Return the nearest rows of today's pool of those rows for which k follow from the base's and the new ones.

    Of a row that lost a neighbour nothing is known beyond its last: it stays only if new rows, or the others that it
    has, are k at no greater distance.

    Parameters
    ----------
    before : mapping
        As the base knows its sampled rows: `row` int64 (b,), `distances` float32 and `neighbours` int64 (b, k or a few
        more), and `within` float32 (b,), up to which distance no neighbour is missing.
    places : int64 (s,)
        For each shard of the base's inventory its place now, -1 where its rows are gone.
    new : mapping
        Of today's sampled rows the columns `row`, `distances` and `neighbours`: the nearest in the shards that differ.
    k : int
        Neighbours that must be known of a row.
    """
    row = moved_rows(before["row"], places)
    both, at, of = np.intersect1d(row, new["row"], return_indices=True)
    distances, moved = before["distances"][at], moved_rows(before["neighbours"].ravel(), places)
    moved = moved.reshape(before["neighbours"].shape)[at]
    within = before["within"][at]
    left = np.where(moved >= 0, distances, np.inf).astype(np.float32)
    every = np.concatenate([left, new["distances"][of].astype(np.float32)], axis=1)
    order = np.argsort(every, axis=1, kind="stable")[:, : distances.shape[1]]
    nearest = np.take_along_axis(every, order, 1)
    ids = np.take_along_axis(np.concatenate([moved, new["neighbours"][of]], axis=1), order, 1)
    beyond = nearest > within[:, None]
    nearest, ids = np.where(beyond, np.inf, nearest).astype(np.float32), np.where(beyond, -1, ids)
    # The base knew all rows there are of one that had fewer neighbours than it could hold.
    sure = np.isfinite(nearest[:, :k]).all(axis=1) | np.isinf(within)
    kept: dict[str, npt.NDArray[Any]] = {"row": both[sure], "distances": nearest[sure], "neighbours": ids[sure]}
    return kept | {"within": np.minimum(within[sure], nearest[sure][:, -1])}


def write_changed(new: Sequence[str], gone: Sequence[str], base_url: str, store_url: str) -> dict[str, int]:
    """Write in which concepts other rows stand than in a base.

    Parameters
    ----------
    new, gone : list of str
        Identities of the shards whose rows the base does not have, and of those whose rows it alone has.
    """
    store = Store(store_url)
    changed = np.zeros(int(read_sections(store).sum()), dtype=bool)
    for url, identities in ((store_url, new), (base_url, gone)):
        for identity in identities:
            sums = Store(url).read_arrays(STATISTICS_NAME.format(identity))
            changed |= (sums["sizes"] > 0) | (sums["guests"] > 0)
    store.write_arrays(CHANGED, {"changed": changed})
    return {"changed": int(changed.sum())}


def again_rows(visits: Mapping[str, npt.NDArray[Any]], changed: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return which rows of a shard stand in a changed concept, at home or as guests; bool (n,)."""
    again: npt.NDArray[np.bool_] = changed[visits["concept"]]
    again[visits["guest"][changed[visits["guest_concept"]]]] = True
    return again


def find_searched(shard: PassingShard, store_url: str) -> dict[str, int]:
    """Write in which concepts those rows of a shard stand that stand in a changed one."""
    store = Store(store_url)
    visits, changed = store.read_arrays(VISITS_NAME.format(shard.identity)), store.read_arrays(CHANGED)["changed"]
    again, searched = again_rows(visits, changed), np.zeros(len(changed), dtype=bool)
    searched[visits["concept"][again]] = True
    searched[visits["guest_concept"][again[visits["guest"]]]] = True
    store.write_arrays(SEARCHED_NAME.format(shard.identity), {"searched": searched})
    return {"rows": int(again.sum())}


def join_searched(identities: Sequence[str], store_url: str) -> dict[str, int]:
    """Write `TOUCHED`."""
    store = Store(store_url)
    changed = store.read_arrays(CHANGED)["changed"]
    # A concept that has lost its last row is searched too: what it was must not be carried over.
    searched = changed.copy()
    for identity in identities:
        searched |= store.read_arrays(SEARCHED_NAME.format(identity))["searched"]
    store.write_arrays(TOUCHED, {"changed": changed, "searched": searched})
    return {"changed": int(changed.sum()), "searched": int(searched.sum())}
