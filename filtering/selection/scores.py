"""Scores on their way to the partitions whose edges need them: from shards to the rows' own, then to adjacent ones.

A partition reads the scores of the partitions that it shares edges with, so that the whole pool's scores are read a
few times, however many partitions there are.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from filtering.concepts.objects import read_concepts, read_homes
from filtering.concepts.partition import global_rows
from filtering.exchange import packed, read_groups, write_groups
from filtering.filters.objects import PassingShard
from filtering.graph.csr import Int64Array
from filtering.graph.sharded import positions
from filtering.scores.objects import read_scores
from filtering.storage import Store

SCORE = np.dtype([("row", "<i8"), ("score", "<f4")])
# The scores that a shard sends, and those of a partition: both go when they have been read for the last time.
SENT_SUFFIX, SCORES_SUFFIX = ".sent", ".scores.npz"
SENT_NAME = "{}" + SENT_SUFFIX
SCORES_NAME = "{:08d}" + SCORES_SUFFIX


def send_scores(shard: PassingShard, concepts_url: str, scores_url: str, store_url: str) -> dict[str, int]:
    """Send the scores of a shard's rows to the partitions of their concepts."""
    rows, concepts = read_homes(Store(concepts_url), shard)
    scores = read_scores(Store(scores_url), shard.identity)[rows]
    partitions = read_concepts(Store(concepts_url))["partition"].to_numpy()[concepts]
    records = packed(SCORE, row=global_rows(shard.index, rows), score=scores)
    write_groups(Store(store_url), SENT_NAME.format(shard.identity), partitions, SCORE, records.__getitem__)
    return {"rows": len(rows)}


def collect_scores(partition: int, names: Sequence[str], store_url: str) -> dict[str, int]:
    """Bring together the scores of a partition's own rows."""
    store = Store(store_url)
    records = read_groups(store, names, partition)
    scores = np.zeros(0, SCORE) if records is None else records
    store.write_arrays(SCORES_NAME.format(partition), {"scores": scores})
    return {"rows": len(scores)}


def scores_of(ids: Int64Array, partitions: Sequence[int], store: Store) -> npt.NDArray[np.float64]:
    """Return the scores of some rows, float64 (n,), unique global ids that stand in some partitions, at least one."""
    held = np.concatenate([store.read_arrays(SCORES_NAME.format(number))["scores"] for number in partitions])
    places = positions(ids, held["row"])
    there = places >= 0
    scores = np.full(len(ids), np.nan)
    scores[places[there]] = held["score"][there]
    return scores
