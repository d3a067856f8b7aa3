"""Scores and vectors on their way to the partitions that need them: from shards to rows' own, then to adjacent ones.

A partition reads the scores of the partitions that it shares edges with, so that the whole pool's scores are read a
few times, however many partitions there are. Rows that an earlier step dropped have no score.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from filtering.concepts.artifacts import read_concepts, read_homes
from filtering.concepts.partition import global_rows
from filtering.core.csr import Int64Array
from filtering.core.errors import InputError
from filtering.embedding.artifacts import unit_rows
from filtering.filters.artifacts import PassingShard
from filtering.graph.sharded import positions
from filtering.runtime.shuffle import Records, packed, read_groups, write_groups
from filtering.scores.artifacts import read_scores
from filtering.selection.artifacts import picked_rows
from filtering.storage.store import Store

# `difficulty` is what strata are cut by.
SCORE = np.dtype([("row", "<i8"), ("concept", "<i4"), ("score", "<f4"), ("difficulty", "<f4")])
# What a shard sends goes when it has been read for the last time; the scores of a partition stay.
SENT_SUFFIX, VECTORS_SUFFIX = ".sent", ".vectors"
SENT_NAME = "{}" + SENT_SUFFIX
VECTORS_NAME = "{}" + VECTORS_SUFFIX
SCORES_NAME = "{:08d}.scores.npz"
COUNTS_NAME = "{:08d}.counts.npz"


def vector_dtype(dimension: int) -> np.dtype[np.void]:
    """Return the dtype of the records in which vectors travel."""
    return np.dtype([("row", "<i8"), ("vector", "<f2", (dimension,))])


def send_scores(
    shard: PassingShard, concepts_url: str, scores_url: str, difficulty_url: str, store_url: str
) -> dict[str, int]:
    """Send the scores and difficulties of a shard's rows to the partitions of their concepts.

    Raises
    ------
    InputError
        If a score is not finite.
    """
    rows, concepts = read_homes(Store(concepts_url), shard)
    scores, difficulties = (_finite(shard, url, rows) for url in (scores_url, difficulty_url))
    partitions = read_concepts(Store(concepts_url))["partition"].to_numpy()[concepts]
    ids = global_rows(shard.index, rows)
    records = packed(SCORE, row=ids, concept=concepts, score=scores, difficulty=difficulties)
    write_groups(Store(store_url), SENT_NAME.format(shard.identity), partitions, SCORE, records.__getitem__)
    return {"rows": len(rows)}


def _finite(shard: PassingShard, scores_url: str, rows: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
    scores = read_scores(Store(scores_url), shard.identity)[rows]
    if not np.isfinite(scores).all():
        wrong = shard.uids(rows[~np.isfinite(scores)])
        raise InputError(f"selection.score: {len(wrong)} scores are not finite numbers, of {wrong[0].decode()} for one")
    return scores


def send_vectors(shard: PassingShard, concepts_url: str, store_url: str) -> dict[str, int]:
    """Send the image embeddings of a shard's rows to the partitions of their concepts."""
    rows, concepts = read_homes(Store(concepts_url), shard)
    if len(rows) == 0:
        return {"rows": 0}
    partitions = read_concepts(Store(concepts_url))["partition"].to_numpy()[concepts]
    read, ids = shard.reader().in_memory(), global_rows(shard.index, rows)
    dtype = vector_dtype(read.images.shape[1])

    def records(chosen: npt.NDArray[np.int64]) -> Records:
        return packed(dtype, row=ids[chosen], vector=read(rows[chosen]))

    write_groups(Store(store_url), VECTORS_NAME.format(shard.identity), partitions, dtype, records)
    return {"rows": len(rows)}


def collect_scores(partition: int, names: Sequence[str], before: str | None, store_url: str) -> dict[str, int]:
    """Bring together the scores of a partition's own rows, as far as the step before kept them, and count them.

    Parameters
    ----------
    before : str or None
        Where the picks of the step before are; None where every row is still there.
    """
    store = Store(store_url)
    records = read_groups(store, names, partition)
    scores = np.zeros(0, SCORE) if records is None else records
    if before is not None:
        scores = scores[positions(picked_rows(Store(before), partition), np.ascontiguousarray(scores["row"])) >= 0]
    store.write_arrays(SCORES_NAME.format(partition), {"scores": scores})
    concept, count = np.unique(scores["concept"], return_counts=True)
    store.write_arrays(COUNTS_NAME.format(partition), {"concept": concept, "count": count})
    return {"rows": len(scores)}


def read_collected(store: Store, partition: int) -> Records:
    """Return the scores of a partition's own rows that are still there, SCORE (n,)."""
    scores: Records = store.read_arrays(SCORES_NAME.format(partition))["scores"]
    return scores


def scores_of(ids: Int64Array, partitions: Sequence[int], store: Store) -> npt.NDArray[np.float64]:
    """Return the scores of some rows, float64 (n,), unique global ids that stand in some partitions, at least one.

    Rows that are not there any more have NaN.
    """
    held = np.concatenate([read_collected(store, number) for number in partitions])
    places = positions(ids, np.ascontiguousarray(held["row"]))
    there = places >= 0
    scores = np.full(len(ids), np.nan)
    scores[places[there]] = held["score"][there]
    return scores


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
