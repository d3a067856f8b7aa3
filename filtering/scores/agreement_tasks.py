"""The tasks of `neighbour_agreement`: vectors travel to the partitions of their neighbours, and mean vectors back."""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from filtering.concepts.partition import shard_and_row
from filtering.core.csr import Int64Array, distinct_ids, row_pointers
from filtering.core.uids import Uids, sampled
from filtering.embedding.artifacts import unit_steps
from filtering.filters.artifacts import PassingShard
from filtering.graph.artifacts import CHOSEN_NAME, read_graph, read_part_object
from filtering.graph.joining import CHOSEN
from filtering.graph.sharded import ShardGraph, positions
from filtering.runtime.records import RowCount
from filtering.runtime.shuffle import Records, packed, read_all_groups, read_groups, write_groups
from filtering.scores.agreement import Int16Array, neighbour_means
from filtering.scores.centred import centred_cosines
from filtering.scores.centred_tasks import read_pool_means
from filtering.scores.tasks import RETURNED_NAME, SENT_NAME, gather_scores, return_scores
from filtering.shards.vectors import Side
from filtering.storage.store import Store

WANTED_SUFFIX = ".wanted"
WANTED_NAME = "{:08d}" + WANTED_SUFFIX
# A row of a shard whose vector a partition asks for.
WANTED = np.dtype([("row", "<i8"), ("partition", "<i4")])
# Of the hashes of uids.
SAMPLING = 0
# Rows whose cosines are computed at once: their vectors stay in a cache.
BLOCK_ROWS = 512
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
    wanted = distinct_ids(np.concatenate([part.row, part.indices[chosen]]))
    shards = shard_and_row(wanted)[0]
    records = packed(WANTED, row=wanted, partition=np.full(len(wanted), partition))
    write_groups(store, WANTED_NAME.format(partition), shards, WANTED, records.__getitem__)
    return WantedCounts(rows=len(part.row), wanted=len(wanted))


def send_wanted(shard: PassingShard, names: Sequence[str], dimension: int, store: Store) -> RowCount:
    """Send a shard's vectors of one side, in steps, to the partitions that asked for them."""
    wanted = read_groups(store, names, shard.index)
    if wanted is None:
        return RowCount(rows=0)
    asked = shard_and_row(np.ascontiguousarray(wanted["row"]))[1]
    # Each is turned into steps once, though several partitions may ask for it.
    there = np.zeros(asked.max() + 1, dtype=np.bool_)
    there[asked] = True
    rows, places = np.flatnonzero(there), (np.cumsum(there) - 1)[asked]
    steps = np.empty((len(rows), dimension), dtype=np.int16)
    for block, vectors in shard.vector_blocks(rows):
        steps[block] = unit_steps(vectors)
    dtype = np.dtype([("vector", "<i2", (dimension,))])

    def records(at: Int64Array) -> Records:
        found: Records = steps[places[at]].view(dtype).reshape(-1)
        return found

    write_groups(store, SENT_NAME.format(shard.identity), wanted["partition"], dtype, records)
    return RowCount(rows=len(wanted))


def score_neighbours(
    partition: int,
    graph: Store,
    names: Sequence[str],
    side: Side,
    limit: float,
    centred: Store,
    fraction: float,
    store: Store,
) -> RowCount:
    """Send the centred cosines of a partition's vectors with the means of their neighbours to their shards.

    Of a sample those means, too. `side` is that of the vectors; `limit` as `neighbour_means`; `centred` has the pool's
    mean vectors.
    """
    found, sent = _neighbours(partition, graph), read_groups(store, names, partition)
    if found is None or sent is None:
        return RowCount(rows=0)
    part, chosen = found
    # In the order in which they were asked for: shards stand in that of the inventory, and their rows ascend.
    wanted, vectors = _wanted_rows(partition, store), np.ascontiguousarray(sent["vector"])
    own, targets = (positions(wanted, ids) for ids in (part.row, part.indices[chosen]))
    sources = np.repeat(np.arange(len(part.row)), np.diff(part.indptr))[chosen]
    means = neighbour_means(vectors, own, row_pointers(sources, len(part.row)), targets, limit)
    mean, scores = read_pool_means(centred).of(side), np.zeros(len(own))
    for start in range(0, len(own), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        scores[block] = centred_cosines(means[block], vectors[own[block]], mean, mean)
    _return_means(partition, part, means, fraction, store)
    return return_scores(store, f"{partition:08d}", part.row, scores)


def _return_means(partition: int, part: ShardGraph, means: Int16Array, fraction: float, store: Store) -> None:
    chosen = sampled_rows(part.uid, fraction)
    shards, places = shard_and_row(part.row[chosen])
    dtype = np.dtype([("row", "<i4"), ("vector", "<i2", means.shape[1:])])
    records = packed(dtype, row=places, vector=means[chosen])
    write_groups(store, MEAN_NAME.format(partition), shards, dtype, records.__getitem__)


def gather_agreement(shard: PassingShard, partitions: Sequence[int], store: Store) -> RowCount:
    """Write the scores of a shard, and the mean vectors of the neighbours of its sampled rows."""
    returned = read_groups(store, [MEAN_NAME.format(number) for number in partitions], shard.index)
    if returned is not None:
        means = returned["vector"][np.argsort(returned["row"])]
        store.write_arrays(MEANS_NAME.format(shard.identity), {"means": means})
    return gather_scores(shard, [RETURNED_NAME.format(f"{number:08d}") for number in partitions], store)


def sampled_rows(uids: Uids, fraction: float) -> Int64Array:
    """Return the places of about a fraction of some uids, which the uids decide: those that `right` learns from."""
    return np.flatnonzero(sampled(uids, fraction, SAMPLING))


def read_sampled_means(store: Store, identity: str) -> Int16Array:
    """Return the mean vector of the neighbours of each sampled row of a shard that has some, in steps, int16 (n, d)."""
    return np.asarray(store.read_arrays(MEANS_NAME.format(identity))["means"], dtype=np.int16)


def neighbours_memory(counts: WantedCounts, dimension: int) -> int:
    """Return the bytes that `score_neighbours` needs: vectors twice, the means, and some at full width."""
    vectors = counts["wanted"] * (4 * dimension + 60) + counts["rows"] * (2 * dimension + 300)
    return vectors + BLOCK_ROWS * 12 * dimension


def _neighbours(partition: int, graph: Store) -> tuple[ShardGraph, npt.NDArray[np.bool_]] | None:
    """Return a partition's part of a graph, and which of its edges the row chose; None if it has no rows."""
    part = read_graph(graph, partition)
    if part is None:
        return None
    chosen = read_part_object(graph, CHOSEN_NAME, partition)
    assert chosen is not None, "what is there of a part is whole"
    return part, (chosen["chosen"] & CHOSEN) > 0


def _wanted_rows(partition: int, store: Store) -> Int64Array:
    """Return the rows whose vectors a partition has asked for, global ids, ascending."""
    asked = read_all_groups(store, WANTED_NAME.format(partition))
    assert asked is not None, "a partition asks for its own rows"
    return np.ascontiguousarray(asked["row"])
