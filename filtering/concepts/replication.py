"""The task that decides, from the sampled rows, how many replicas rows get."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from filtering.concepts.artifacts import EXACT, MARGIN, QUERIES_NAME, read_centroids
from filtering.concepts.nearest import Float32Array
from filtering.concepts.replicas import NearestConcepts, margin_for, margin_within, needed_margins
from filtering.concepts.true_neighbours import ASKED, NEAREST_NAME, Columns, merged_parts, with_radius
from filtering.storage.reading import each_arrays
from filtering.storage.store import Store


class Replication(TypedDict):
    """The largest margin of a replica, None for any; the recall expected from it; the rows of the largest concept."""

    margin: float | None
    expected: float
    largest: int


def decide_replication(
    identities: Sequence[str], k: int, recall: float, mean_replicas: float, store: Store
) -> Replication:
    """Decide the largest margin at which a row has a replica, and count the rows of each concept.

    The margin is the least at which a share `recall` of known neighbours is compared, but no row has more replicas than
    `mean_replicas` on average. `identities` are the shards that were searched.
    """
    measures = store.read_arrays(QUERIES_NAME)["measures"]
    merged = merged_nearest(store, identities)
    needed = _needed(merged, ~measures if len(measures) > 1 else np.ones(len(measures), dtype=bool), k)
    most = mean_replicas * int(merged.sizes.sum())
    margin = min(margin_for(needed, recall)[0], margin_within(merged.margin_counts, most))
    store.write_arrays(MARGIN, {"margin": np.array(margin), "sizes": merged.sizes})
    exact = {"row": merged.row, "distances": merged.distances, "neighbours": merged.neighbours}
    store.write_arrays(EXACT, with_radius({name: column[measures] for name, column in exact.items()}))
    return Replication(
        margin=margin if np.isfinite(margin) else None,
        expected=round(float((needed <= margin).mean()), 4) if len(needed) else 1.0,
        largest=int(merged.sizes.max(initial=0)),
    )


@dataclass(frozen=True, slots=True)
class MergedNearest:
    """The nearest rows of all shards to the q sampled rows of the pool."""

    row: npt.NDArray[np.int64]  # int64 (q,), global ids of the sampled rows
    of_rows: NearestConcepts  # the nearest concepts of the sampled rows
    distances: npt.NDArray[np.floating[Any]]  # float (q, k and a few more), squared, nearest first
    neighbours: npt.NDArray[np.int64]  # int64 (q, k and a few more), global ids
    of_neighbours: NearestConcepts  # the nearest concepts of the neighbours
    margin_counts: npt.NDArray[np.int64]  # int64 (2048,), of all rows, as `replicas.margin_counts` returns them
    sizes: npt.NDArray[np.int64]  # int64 (K,), rows by nearest centroid


def merged_nearest(store: Store, identities: Sequence[str]) -> MergedNearest:
    """Merge the nearest rows of all shards."""
    row, merged = store.read_arrays(QUERIES_NAME)["row"], _merged(store, identities)
    sizes = np.zeros(len(read_centroids(store).steps), dtype=np.int64)
    sizes[merged["cells"]] = merged["sizes"]
    own = {name: np.zeros((len(row), merged[name].shape[1]), merged[name].dtype) for name in ASKED[1:]}
    for name, column in own.items():
        column[merged["asked"]] = merged[name]
    nearest = merged if "distances" in merged else _no_rows(len(row))
    return MergedNearest(
        row,
        NearestConcepts(own["own_concepts"], own["own_margins"]),
        nearest["distances"],
        nearest["neighbours"],
        NearestConcepts(nearest["concepts"], nearest["margins"]),
        merged["margin_counts"],
        sizes,
    )


def merge_nearest(identities: Sequence[str], target: str, store: Store) -> int:
    """Write the nearest rows of several shards as those of one, `target`; return how many sampled rows are theirs."""
    merged = _merged(store, identities)
    store.write_arrays(NEAREST_NAME.format(target), merged)
    return len(merged["asked"])


def _merged(store: Store, identities: Sequence[str]) -> Columns:
    """Return the nearest rows of several shards in the form in which one shard has them."""
    return merged_parts(each_arrays(store, map(NEAREST_NAME.format, identities)))


def _needed(merged: MergedNearest, deciding: npt.NDArray[np.bool_], k: int) -> Float32Array:
    """Return the least margins at which some sampled rows and their k true neighbours are compared, float32 (n,)."""
    # Neighbours beyond the k-th are for later runs, whose pools will lack some.
    there = np.isfinite(merged.distances[:, :k]) & deciding[:, None]
    query = np.nonzero(there)[0]
    left = NearestConcepts(merged.of_rows.concepts[query], merged.of_rows.margins[query])
    near = merged.of_neighbours
    right = NearestConcepts(near.concepts[:, :k][there], near.margins[:, :k][there])
    return needed_margins(left, right)


def _no_rows(queries: int) -> dict[str, npt.NDArray[Any]]:
    """Return the columns of a pool without rows."""
    none = np.zeros((queries, 0))
    return {
        "distances": none,
        "neighbours": none.astype(np.int64),
        "concepts": none[..., None].astype(np.int32),
        "margins": none[..., None],
    }
