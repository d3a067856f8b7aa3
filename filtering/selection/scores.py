"""Scores and vectors on their way from shards to the partitions that need them, and the rows that are still there.

A partition also reads the scores of the partitions that it shares edges with, so that the whole pool's scores are read
a few times, however many partitions there are. Rows that an earlier step dropped have no score.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from filtering.concepts.artifacts import read_concepts, read_homes
from filtering.concepts.partition import global_rows
from filtering.core.csr import Int64Array
from filtering.core.errors import InputError
from filtering.embedding.artifacts import unit_rows
from filtering.filters.artifacts import PassingShard
from filtering.graph.artifacts import read_graph
from filtering.graph.sharded import ShardGraph, positions, restricted
from filtering.runtime.records import RowCount
from filtering.runtime.shuffle import Records, packed, read_groups, runs, write_groups
from filtering.scores.artifacts import Scores, read_scores
from filtering.selection.artifacts import ScoreStores, picked_rows
from filtering.selection.concept import ConceptSamples, concept_samples
from filtering.storage.store import Store

# `second` is the score that strata are ranges of, or the ranks that expected novelty is weighed by.
SCORE = np.dtype([("row", "<i8"), ("concept", "<i4"), ("score", "<f4"), ("second", "<f4")])
# The same where a score is float64 (`filtering.scores.registry.Spec.wide`).
WIDE_SCORE = np.dtype([("row", "<i8"), ("concept", "<i4"), ("score", "<f8"), ("second", "<f8")])
# Objects that shards send are deleted once all partitions have read them; the scores of a partition stay.
SENT_SUFFIX, VECTORS_SUFFIX = ".sent", ".vectors"
SENT_NAME = "{}" + SENT_SUFFIX
VECTORS_NAME = "{}" + VECTORS_SUFFIX
SCORES_NAME = "{:08d}.scores.npz"
COUNTS_NAME = "{:08d}.counts.npz"


class CollectedCount(RowCount):
    """The result of bringing scores together: besides, how many rows have a score below 0."""

    below_0: int


def score_dtype(wide: bool) -> np.dtype[np.void]:
    """Return the dtype of the records in which shards send scores."""
    return WIDE_SCORE if wide else SCORE


def vector_dtype(dimension: int) -> np.dtype[np.void]:
    """Return the dtype of the records in which shards send vectors."""
    return np.dtype([("row", "<i8"), ("vector", "<f2", (dimension,))])


def send_scores(shard: PassingShard, concepts: Store, scores: ScoreStores, store: Store) -> RowCount:
    """Send the scores of a shard's rows to the partitions of their concepts; InputError if one is no number to use."""
    rows, homes = read_homes(concepts, shard)
    values, seconds = (_finite(shard, source, rows) for source in (scores.score, scores.second))
    if scores.probable:
        _check_probabilities(shard, values, rows, scores.probable)
    ids, partitions = global_rows(shard.index, rows), _partitions(concepts, homes)
    dtype = score_dtype(scores.wide)
    records = packed(dtype, row=ids, concept=homes, score=values, second=seconds)
    write_groups(store, SENT_NAME.format(shard.identity), partitions, dtype, records.__getitem__)
    return RowCount(rows=len(rows))


def _finite(shard: PassingShard, source: Store, rows: npt.NDArray[np.int32]) -> Scores:
    scores = read_scores(source, shard.identity)[rows]
    if not np.isfinite(scores).all():
        wrong = shard.uids(rows[~np.isfinite(scores)])
        raise InputError(f"selection.score: {len(wrong)} scores are not finite numbers, of {wrong[0].decode()} for one")
    return scores


def _check_probabilities(shard: PassingShard, values: Scores, rows: npt.NDArray[np.int32], name: str) -> None:
    outside = np.flatnonzero((values < 0) | (values > 1))
    if len(outside):
        uid = shard.uids(rows[outside[:1]])[0].decode()
        raise InputError(
            f"selection.score: {name} is {values[outside[0]]:.6g} for {uid}, but expected novelty and the budget "
            "distinct take probabilities, from 0 to 1; use score right, uniform or a table of probabilities, or set "
            "variant: paper and another budget"
        )


def _partitions(concepts: Store, homes: npt.NDArray[np.int32]) -> Int64Array:
    """Return the partition of each of some concepts."""
    partitions: Int64Array = read_concepts(concepts)["partition"].to_numpy()[homes]
    return partitions


def send_vectors(shard: PassingShard, concepts: Store, store: Store) -> RowCount:
    """Send the image embeddings of a shard's rows to the partitions of their concepts."""
    rows, homes = read_homes(concepts, shard)
    if len(rows) == 0:
        return RowCount(rows=0)
    partitions = _partitions(concepts, homes)
    read, ids = shard.reader().in_memory(), global_rows(shard.index, rows)
    dtype = vector_dtype(read.whole.shape[1])

    def records(chosen: npt.NDArray[np.int64]) -> Records:
        return packed(dtype, row=ids[chosen], vector=read(rows[chosen]))

    write_groups(store, VECTORS_NAME.format(shard.identity), partitions, dtype, records)
    return RowCount(rows=len(rows))


def collect_scores(
    partition: int, names: Sequence[str], before: Store | None, store: Store, wide: bool = False
) -> CollectedCount:
    """Bring together the scores of a partition's rows that `before`, the step before, picked; count them by concept."""
    records = read_groups(store, names, partition)
    scores = np.zeros(0, score_dtype(wide)) if records is None else records
    if before is not None:
        scores = scores[positions(picked_rows(before, partition), np.ascontiguousarray(scores["row"])) >= 0]
    write_collected(store, partition, scores)
    write_concept_counts(store, partition, scores["concept"])
    return CollectedCount(rows=len(scores), below_0=int((scores["score"] < 0).sum()))


def write_collected(store: Store, partition: int, scores: Records) -> None:
    """Write the scores of a partition's rows, SCORE or WIDE_SCORE (n,)."""
    store.write_arrays(SCORES_NAME.format(partition), {"scores": scores})


def write_concept_counts(store: Store, partition: int, concepts: npt.NDArray[np.int32]) -> None:
    """Write how many rows each concept of a partition has, from the concepts of its rows, int32 (n,)."""
    concept, count = np.unique(concepts, return_counts=True)
    store.write_arrays(COUNTS_NAME.format(partition), {"concept": concept, "count": count})


def read_concept_counts(store: Store, partitions: int, concepts: int) -> Int64Array:
    """Return how many rows each concept of the pool has, int64 (`concepts`,)."""
    sizes = np.zeros(concepts, dtype=np.int64)
    for number in range(partitions):
        counts = store.read_arrays(COUNTS_NAME.format(number))
        sizes[counts["concept"]] = counts["count"]
    return sizes


def read_collected(store: Store, partition: int) -> Records:
    """Return the scores of a partition's own rows that are still there, SCORE or WIDE_SCORE (n,)."""
    scores: Records = store.read_arrays(SCORES_NAME.format(partition))["scores"]
    return scores


def scores_of(ids: Int64Array, partitions: Sequence[int], store: Store) -> npt.NDArray[np.float64]:
    """Return the scores of some rows, float64 (n,), by unique global ids, from one or more partitions.

    Rows that are not there any more have NaN.
    """
    held = np.concatenate([read_collected(store, number) for number in partitions])
    places = positions(ids, np.ascontiguousarray(held["row"]))
    there = places >= 0
    scores = np.full(len(ids), np.nan)
    scores[places[there]] = held["score"][there]
    return scores


class Survivors:
    """The part of a partition's graph between rows that are still there, with the scores of all rows it touches.

    `scores` holds those of `partitions`: its own, and those that it shares edges with. `touched`, int64 (u,), are the
    rows of `part` and then, ascending, all others that its edges lead to; `score_of`, float64 (u,), are their scores,
    and `edges`, int64, the places there of the edges' targets.
    """

    def __init__(self, part: ShardGraph, partitions: Sequence[int], scores: Store) -> None:
        edges = positions(part.row, part.indices)
        leaving = edges < 0
        others, places = np.unique(part.indices[leaving], return_inverse=True)
        edges[leaving] = len(part.row) + places
        touched = np.concatenate([part.row, others])
        score_of = scores_of(touched, partitions, scores)
        there = ~np.isnan(score_of)
        if not there.all():
            own, targets = there[: len(part.row)], there[edges]
            left = np.repeat(own, np.diff(part.indptr)) & targets
            edges = (np.cumsum(there) - 1)[edges[left]]
            part, touched, score_of = restricted(part, own, targets), touched[there], score_of[there]
        self.part, self.edges, self.touched, self.score_of = part, edges, touched, score_of

    def concepts(self) -> Iterator[tuple[slice, ConceptSamples]]:
        """Yield the places of each concept's rows, and the concept."""
        for members in runs(self.part.concept):
            yield members, concept_samples(self.part, members, self.score_of, self.edges)


def survivors(partition: int, adjacent: Sequence[int], graph: Store, scores: Store) -> Survivors | None:
    """Return the part of a partition's graph that is still there; None if it has no rows."""
    part = read_graph(graph, partition)
    return None if part is None else Survivors(part, [partition, *adjacent], scores)


def vectors_of(rows: Int64Array, names: Sequence[str], partition: int, store: Store) -> npt.NDArray[np.float32]:
    """Return the unit-norm image embeddings of some of a partition's rows, unique global ids, float32 (n, d)."""
    records = read_groups(store, names, partition)
    if records is None:
        return np.zeros((0, 0), dtype=np.float32)
    places = positions(rows, np.ascontiguousarray(records["row"]))
    there = places >= 0
    vectors = np.zeros((len(rows), records["vector"].shape[1]), dtype=np.float32)
    vectors[places[there]] = unit_rows(records["vector"][there])
    return vectors
