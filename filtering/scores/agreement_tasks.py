"""The tasks of `neighbour_agreement`: vectors travel to the partitions of their neighbours, and mean vectors back."""

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from filtering.concepts.partition import shard_and_row
from filtering.core.csr import Int64Array, row_pointers
from filtering.core.uids import Uids, sampled
from filtering.embedding.artifacts import unit_rows, widened
from filtering.filters.artifacts import PassingShard
from filtering.graph.artifacts import CHOSEN_NAME, read_graph, read_part_object
from filtering.graph.joining import CHOSEN
from filtering.graph.sharded import ShardGraph, positions
from filtering.runtime.records import RowCount
from filtering.runtime.shuffle import Records, packed, read_groups, write_groups
from filtering.scores.agreement import neighbour_means
from filtering.scores.centred import centred_cosines
from filtering.scores.centred_tasks import read_pool_means
from filtering.scores.tasks import SENT_NAME, write_scores
from filtering.storage.store import Store

WANTED_SUFFIX = ".wanted"
WANTED_NAME = "{:08d}" + WANTED_SUFFIX
# A row of a shard whose vector a partition asks for.
WANTED = np.dtype([("row", "<i8"), ("partition", "<i4")])
# Of the hashes of uids.
SAMPLING = 0
# About so many pairs teach `right`, whatever the size of the pool.
SAMPLE_ROWS = 65_536
MEAN_SUFFIX = ".mean"
MEAN_NAME = "{:08d}" + MEAN_SUFFIX
# The mean vectors of the neighbours of a shard's sampled rows.
MEANS_NAME = "{}.means.npz"


class WantedCounts(TypedDict):
    """The rows of a partition, and the rows whose vectors it asks for: its own and their neighbours."""

    rows: int
    wanted: int


def ask_for_vectors(partition: int, graph: Store, store: Store) -> WantedCounts:
    """Ask the shards for the vectors of a partition's rows and of the neighbours that they chose."""
    found = _neighbours(partition, graph)
    if found is None:
        return WantedCounts(rows=0, wanted=0)
    part, chosen = found
    wanted = np.unique(np.concatenate([part.row, part.indices[chosen]]))
    shards = shard_and_row(wanted)[0]
    records = packed(WANTED, row=wanted, partition=np.full(len(wanted), partition))
    write_groups(store, WANTED_NAME.format(partition), shards, WANTED, records.__getitem__)
    return WantedCounts(rows=len(part.row), wanted=len(wanted))


def send_wanted(shard: PassingShard, names: Sequence[str], store: Store) -> RowCount:
    """Send a shard's vectors of one side to the partitions that asked for them."""
    wanted = read_groups(store, names, shard.index)
    if wanted is None:
        return RowCount(rows=0)
    read, (_, rows) = shard.reader().in_memory(), shard_and_row(np.ascontiguousarray(wanted["row"]))
    dtype = _vector_dtype("<i8", read.whole.shape[1])

    def records(at: Int64Array) -> Records:
        return packed(dtype, row=wanted["row"][at], vector=read(rows[at]))

    write_groups(store, SENT_NAME.format(shard.identity), wanted["partition"], dtype, records)
    return RowCount(rows=len(wanted))


def average_neighbours(partition: int, graph: Store, names: Sequence[str], limit: float, store: Store) -> RowCount:
    """Return the mean vectors of the neighbours of a partition's rows to their shards; `limit` as `neighbour_means`."""
    found, sent = _neighbours(partition, graph), read_groups(store, names, partition)
    if found is None or sent is None:
        return RowCount(rows=0)
    part, chosen = found
    rows = np.ascontiguousarray(sent["row"])
    order = np.argsort(rows)
    own, targets = (order[positions(rows[order], ids)] for ids in (part.row, part.indices[chosen]))
    sources = np.repeat(np.arange(len(part.row)), np.diff(part.indptr))[chosen]
    indptr = row_pointers(sources, len(part.row))
    means = neighbour_means(sent["vector"], own, indptr, targets, limit).astype(np.float16)
    shards, places = shard_and_row(part.row)
    records = packed(_vector_dtype("<i4", means.shape[1]), row=places, vector=means)
    write_groups(store, MEAN_NAME.format(partition), shards, records.dtype, records.__getitem__)
    return RowCount(rows=len(means))


def score_agreement(
    shard: PassingShard, names: Sequence[str], centred: Store, fraction: float, store: Store
) -> RowCount:
    """Write the centred cosines of a shard's vectors with the means of their neighbours; of a sample those means, too.

    `centred` has the pool's mean vectors.
    """
    rows, scores = shard.rows(), np.full(len(shard.reasons()), np.nan)
    returned = read_groups(store, names, shard.index)
    if returned is not None:
        mean = read_pool_means(centred).of(shard.side)
        means = np.zeros((len(rows), returned["vector"].shape[1]), dtype=np.float16)
        means[np.searchsorted(rows, returned["row"])] = returned["vector"]
        for block, vectors in shard.vector_blocks(rows):
            scores[rows[block]] = centred_cosines(widened(means[block]), unit_rows(vectors), mean, mean)
        chosen = sampled_rows(shard.uids(rows), fraction)
        store.write_arrays(MEANS_NAME.format(shard.identity), {"means": means[chosen]})
    return write_scores(store, shard.identity, scores)


def sampled_rows(uids: Uids, fraction: float) -> Int64Array:
    """Return the places of about a fraction of some uids, which the uids decide: those that `right` learns from."""
    return np.flatnonzero(sampled(uids, fraction, SAMPLING))


def read_sampled_means(store: Store, identity: str) -> npt.NDArray[np.float16]:
    """Return the mean vector of the neighbours of each sampled row of a shard that has rows, float16 (n, d)."""
    return np.asarray(store.read_arrays(MEANS_NAME.format(identity))["means"], dtype=np.float16)


def averaging_memory(counts: WantedCounts, dimension: int) -> int:
    """Return the bytes that averaging needs: vectors as they are sent, and in steps, and the means."""
    return counts["wanted"] * (4 * dimension + 60) + counts["rows"] * (8 * dimension + 300)


def _neighbours(partition: int, graph: Store) -> tuple[ShardGraph, npt.NDArray[np.bool_]] | None:
    """Return a partition's part of a graph, and which of its edges the row chose; None if it has no rows."""
    part = read_graph(graph, partition)
    if part is None:
        return None
    chosen = read_part_object(graph, CHOSEN_NAME, partition)
    assert chosen is not None, "what is there of a part is whole"
    return part, (chosen["chosen"] & CHOSEN) > 0


def _vector_dtype(row: str, dimension: int) -> np.dtype[Any]:
    return np.dtype([("row", row), ("vector", "<f2", (dimension,))])
