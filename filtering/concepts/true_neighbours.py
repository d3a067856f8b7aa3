"""The true neighbours of the sampled rows: found in each shard, merged, and taken from a base where they still hold."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from filtering.concepts.exact_search import ExactSearch
from filtering.concepts.partition import moved_rows
from filtering.runtime.shard_groups import write_shared
from filtering.storage.reading import each_arrays
from filtering.storage.store import Store

# For each sampled row of the pool its nearest rows in one shard, with the nearest concepts of those.
NEAREST_NAME = "{}.nearest.npz"
# Its columns: of the shard's own sampled rows, and of the rows nearest to all sampled rows.
ASKED, FOUND = ("asked", "own_concepts", "own_margins"), ("distances", "neighbours", "concepts", "margins")
Int64Array = npt.NDArray[np.int64]
Columns = dict[str, npt.NDArray[Any]]


def found_rows(exact: ExactSearch, ids: Int64Array) -> tuple[Int64Array, Columns]:
    """Return the rows that a search found in a shard, k and a few more for each query, nearest first.

    `exact` has seen all vectors of the shard; `ids`, int64 (n,), are the global ids of the rows that were searched, at
    least one. The first result is their places there, int64 (q, k + 6), 0 where there is none; the second their squared
    `distances`, float32, infinite there, and global ids, `neighbours`, int64, -1 there.
    """
    there = np.maximum(exact.found, 0).astype(np.int64)
    return there, {"distances": exact.distances, "neighbours": np.where(exact.found >= 0, ids[there], -1)}


def write_nearest(store: Store, identity: str, found: Columns) -> None:
    """Write the rows of a shard nearest to the sampled rows; shards of one task share an object, as if of one."""
    write_shared(store, NEAREST_NAME.format(identity), found, _write_merged)


def _write_merged(store: Store, name: str, parts: list[Columns]) -> None:
    store.write_arrays(name, parts[0] if len(parts) == 1 else merged_parts(parts))


def merged_parts(parts: Iterable[Columns]) -> Columns:
    """Return what some shards have found as if they were one: the same columns."""
    nearest: Columns = {}
    others = list[Columns]()
    for part in parts:
        others.append({name: column for name, column in part.items() if name not in FOUND})
        if "distances" in part:
            nearest = nearer(nearest, part, [name for name in FOUND if name in part])
    joined = {name: np.concatenate([part[name] for part in others]) for name in others[0] if name in ASKED}
    if "cells" in others[0]:
        cells, place = np.unique(np.concatenate([part["cells"] for part in others]), return_inverse=True)
        counts = np.concatenate([part["sizes"] for part in others])
        sizes = np.bincount(place, weights=counts, minlength=len(cells)).astype(np.int64)
        joined |= {"cells": cells, "sizes": sizes}
        joined |= {"margin_counts": np.sum([part["margin_counts"] for part in others], axis=0)}
    return nearest | joined


def nearest_rows(store: Store, identities: Sequence[str], rows: int) -> Columns:
    """Return the nearest rows in several shards: `distances` and `neighbours` (q, k and a few more), nearest first."""
    nearest: Columns = {}
    for part in each_arrays(store, map(NEAREST_NAME.format, identities)):
        if "distances" in part:
            nearest = nearer(nearest, part, ("distances", "neighbours"))
    none: Columns = {"distances": np.zeros((rows, 0), np.float32), "neighbours": np.zeros((rows, 0), np.int64)}
    return nearest or none


def merge_neighbours(identities: Sequence[str], target: str, store: Store) -> int:
    """Write the nearest rows in several shards, without their concepts, as those of one; return how many rows asked."""
    nearest = nearest_rows(store, identities, 0)
    empty = nearest["distances"].shape[1] == 0
    store.write_arrays(NEAREST_NAME.format(target), {} if empty else nearest)
    return len(nearest["distances"])


def nearer(merged: Columns, part: Columns, names: Sequence[str]) -> Columns:
    """Return some columns of the nearest of two shards' rows by their `distances`, as many as the second has."""
    if not merged:
        return {name: part[name] for name in names}
    both = {name: np.concatenate([merged[name], part[name]], axis=1) for name in names}
    order = np.argsort(both["distances"], axis=1, kind="stable")[:, : part["distances"].shape[1]]
    every = np.arange(len(order))[:, None]
    return {name: both[name][every, order] for name in names}


def with_radius(exact: Columns) -> Columns:
    """Return true neighbours with `within`, the distance up to which none is missing; infinite if all are known."""
    lengths = exact["distances"]
    last = lengths[:, -1] if lengths.shape[1] else np.full(len(lengths), np.inf)
    return exact | {"within": last.astype(np.float32)}


def still_exact(
    before: Mapping[str, npt.NDArray[Any]], places: Int64Array, new: Mapping[str, npt.NDArray[Any]], k: int
) -> Columns:
    """Return the true neighbours in today's pool of the base's rows for which at least k are certain.

    Beyond the last neighbour that the base knew, nothing is known. A row that lost a neighbour stays only if k of its
    other neighbours and the new rows lie within that distance.

    `before` has the base's sampled rows: `row` int64 (b,), `distances` float32 and `neighbours` int64 (b, k or a few
    more), and `within` float32 (b,), the distance up to which no neighbour is missing. `places`, int64 (s,), has for
    each shard of the base's inventory its place now, -1 where its rows are gone. `new` has of today's sampled rows
    `row`, `distances` and `neighbours`: the nearest in the shards that differ.
    """
    both, at, of = np.intersect1d(moved_rows(before["row"], places), new["row"], return_indices=True)
    within = before["within"][at]
    moved = moved_rows(before["neighbours"].ravel(), places).reshape(before["neighbours"].shape)[at]
    left = np.where(moved >= 0, before["distances"][at], np.inf)
    joined: Columns = {
        "distances": np.concatenate([left, new["distances"][of]], axis=1).astype(np.float32),
        "neighbours": np.concatenate([moved, new["neighbours"][of]], axis=1),
    }
    order = np.argsort(joined["distances"], axis=1, kind="stable")[:, : moved.shape[1]]
    nearest, ids = (np.take_along_axis(joined[name], order, 1) for name in ("distances", "neighbours"))
    beyond = nearest > within[:, None]
    nearest, ids = np.where(beyond, np.inf, nearest).astype(np.float32), np.where(beyond, -1, ids)
    # A row with fewer neighbours than the base could hold had every other row of its pool among them.
    sure = np.isfinite(nearest[:, :k]).all(axis=1) | np.isinf(within)
    kept: Columns = {"row": both[sure], "distances": nearest[sure], "neighbours": ids[sure]}
    return kept | {"within": np.minimum(within[sure], nearest[sure][:, -1])}
