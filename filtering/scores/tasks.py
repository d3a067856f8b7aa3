"""The tasks of scoring: shards, partitions of the graph and random batches in, a score a row out."""

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filtering.concepts.artifacts import read_concepts, read_homes
from filtering.concepts.partition import global_rows, shard_and_row
from filtering.config.scores import MetaClip, NegClipLoss
from filtering.core.errors import under
from filtering.embedding.artifacts import half_rows, unit_rows
from filtering.filters.artifacts import PassingShard
from filtering.filters.phrases import read_entries
from filtering.graph.artifacts import read_graph
from filtering.graph.sharded import inside_concept
from filtering.runtime.records import RowCount
from filtering.runtime.shuffle import Records, packed, read_groups, runs, write_groups
from filtering.runtime.sums import added_arrays
from filtering.scores.artifacts import SCORES_NAME
from filtering.scores.contexts import ContextSources, Files
from filtering.scores.distances import same_class_distances
from filtering.scores.dlc import PROTOTYPES, ConceptSums, concept_sums, mean_prototypes
from filtering.scores.metaclip import metaclip_keys
from filtering.scores.neg_clip_loss import batch_numbers, neg_clip_losses
from filtering.scores.registry import Spec
from filtering.storage.store import Store

CONTEXT = "context.npz"
FLOAT32 = np.dtype(np.float32)
# A score on its way back to its shard.
SENT_SUFFIX = ".sent"
SENT_NAME = "{}" + SENT_SUFFIX
RETURNED_SUFFIX = ".returned"
RETURNED_NAME = "{}" + RETURNED_SUFFIX
RETURNED = np.dtype([("row", "<i4"), ("score", "<f8")])
MATCHES_SUFFIX = ".matches.npz"
MATCHES_NAME = "{}" + MATCHES_SUFFIX
COUNTS = "counts.npz"
SUMS_SUFFIX = ".sums.npz"
SUMS_NAME = "{}" + SUMS_SUFFIX


class ConceptCount(TypedDict):
    """The result of a task that handles concepts: how many there were."""

    concepts: int


def write_scores(store: Store, identity: str, scores: npt.NDArray[Any], dtype: np.dtype[Any] = FLOAT32) -> RowCount:
    """Write the score of each row of a shard, NaN where a row has none."""
    store.write_arrays(SCORES_NAME.format(identity), {"score": scores.astype(dtype)})
    return RowCount(rows=len(scores))


def score_rows(shard: PassingShard, spec: Spec, files: Files, store: Store) -> RowCount:
    """Score a shard by its table of rows and the files that the score reads; values are asked for of what passes."""
    function = spec.scorer.of_rows
    assert function is not None
    rows = shard.embedded.rows(spec.columns)
    passing = shard.rows() if spec.given else np.arange(len(rows))
    scores = np.full(len(rows), np.nan)
    with under(spec.key):
        scores[passing] = function(rows.take(pa.array(passing)), spec.settings, files)
    return write_scores(store, shard.identity, scores, spec.dtype)


def write_context(spec: Spec, sources: ContextSources, store: Store) -> None:
    """Write the arrays that scoring any shard needs."""
    context = spec.scorer.context
    assert context is not None
    store.write_arrays(CONTEXT, context(spec.settings, sources))


def score_images(shard: PassingShard, spec: Spec, concepts: Store, store: Store) -> RowCount:
    """Score the rows of a shard that go on by their image embeddings and concepts."""
    function = spec.scorer.of_images
    assert function is not None
    context = store.read_arrays(CONTEXT)
    rows, homes = read_homes(concepts, shard)
    scores = np.full(len(shard.reasons()), np.nan, dtype=np.float32)
    for block, vectors in shard.vector_blocks(rows):
        scores[rows[block]] = function(unit_rows(vectors), homes[block], context)
    return write_scores(store, shard.identity, scores)


def score_graph(partition: int, graph: Store, k: int, store: Store) -> RowCount:
    """Send the mean distance of a partition's rows to their neighbours of the same concept to their shards."""
    part = read_graph(graph, partition)
    rows, scores = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
    if part is not None:
        for members in runs(part.concept):
            rows.append(part.row[members])
            scores.append(same_class_distances(inside_concept(part, members), k))
    return return_scores(store, f"{partition:08d}", np.concatenate(rows), np.concatenate(scores))


def send_pairs(shard: PassingShard, settings: NegClipLoss, batches: int, batching: int, store: Store) -> RowCount:
    """Send a shard's pairs of vectors to the random batches of one batching."""
    rows = shard.rows()
    if len(rows) == 0:
        return RowCount(rows=0)
    numbers = batch_numbers(shard.uids(rows), batches, settings.seed + batching)
    source = shard.embedded.rows(["source_row"])["source_row"].to_numpy()[rows]
    images, texts = (np.array(half_rows(vectors)) for vectors in (shard.embedded.images(), shard.embedded.texts()))
    vector = ("<f2", (images.shape[1],))
    dtype, ids = np.dtype([("row", "<i8"), ("image", *vector), ("text", *vector)]), global_rows(shard.index, rows)

    def records(at: npt.NDArray[np.int64]) -> Records:
        return packed(dtype, row=ids[at], image=images[source[at]], text=texts[source[at]])

    write_groups(store, SENT_NAME.format(f"{shard.identity}-{batching}"), numbers, dtype, records)
    return RowCount(rows=len(rows))


def score_batch(batch: int, names: Sequence[str], temperature: float, label: str, store: Store) -> RowCount:
    """Score one random batch, and send the scores to their shards."""
    pairs = read_groups(store, names, batch)
    if pairs is None:
        return RowCount(rows=0)
    scores = neg_clip_losses(unit_rows(pairs["image"]), unit_rows(pairs["text"]), temperature)
    return return_scores(store, label, np.ascontiguousarray(pairs["row"]), scores)


def gather_scores(shard: PassingShard, names: Sequence[str], store: Store) -> RowCount:
    """Write the mean of the scores that were sent to each row of a shard, NaN where none was."""
    count = len(shard.reasons())
    returned = read_groups(store, names, shard.index)
    sums, times = np.zeros(count), np.zeros(count)
    if returned is not None:
        # In the order of the names: the same sums for any number of workers.
        np.add.at(sums, returned["row"], returned["score"])
        np.add.at(times, returned["row"], 1)
    with np.errstate(invalid="ignore"):
        return write_scores(store, shard.identity, sums / times)


def return_scores(store: Store, label: str, rows: npt.NDArray[np.int64], scores: npt.NDArray[Any]) -> RowCount:
    """Send the scores of rows, global ids, to their shards."""
    shards, places = shard_and_row(rows)
    records = packed(RETURNED, row=places, score=scores)
    write_groups(store, RETURNED_NAME.format(label), shards, RETURNED, records.__getitem__)
    return RowCount(rows=len(rows))


def match_captions(shard: PassingShard, settings: MetaClip, files: Files, store: Store) -> None:
    """Write which captions of a shard match which entries."""
    rows = shard.rows()
    captions = shard.embedded.rows(["caption"])["caption"].to_numpy()[rows]
    # Of a list that has a name there is no file.
    entries = read_entries(settings.entries, files.get(settings.entries))
    at, found = entries.matches(captions.tolist())
    count = np.bincount(found, minlength=len(entries))
    store.write_arrays(MATCHES_NAME.format(shard.identity), {"row": at, "entry": found, "count": count})


def add_matches(names: Sequence[str], name: str, store: Store) -> None:
    """Write how many captions of some shards match each entry."""
    store.write_arrays(name, added_arrays(names, ["count"], store))


def count_matches(names: Sequence[str], store: Store) -> None:
    """Write how many captions of the pool match each entry."""
    counts = added_arrays(names, ["count"], store).get("count", 0)
    store.write_arrays(COUNTS, {"count": np.asarray(counts, dtype=np.int64)})


def score_captions(shard: PassingShard, settings: MetaClip, store: Store) -> RowCount:
    """Score a shard's captions by the entries that they match."""
    rows = shard.rows()
    matches, counts = store.read_arrays(MATCHES_NAME.format(shard.identity)), store.read_arrays(COUNTS)["count"]
    scores = np.full(len(shard.reasons()), np.nan, dtype=np.float32)
    if len(rows):
        scores[rows] = metaclip_keys(shard.uids(rows), matches["row"], matches["entry"], counts, settings.seed)
    return write_scores(store, shard.identity, scores)


def sum_concepts(shard: PassingShard, concepts: Store, store: Store) -> ConceptCount:
    """Write a shard's part of the concepts' mean embeddings."""
    rows, homes = read_homes(concepts, shard)
    if len(rows) == 0:
        return ConceptCount(concepts=0)
    sums = concept_sums(unit_rows(shard.vectors(rows)), homes)
    name = SUMS_NAME.format(shard.identity)
    store.write_arrays(name, {"concepts": sums.concepts, "sums": sums.sums, "counts": sums.counts})
    return ConceptCount(concepts=len(sums.concepts))


def write_prototypes(identities: Sequence[str], concepts: Store, dimension: int, store: Store) -> ConceptCount:
    """Write the mean embedding of each concept."""
    count = len(read_concepts(concepts))
    parts = (ConceptSums(**store.read_arrays(SUMS_NAME.format(identity))) for identity in identities)
    store.write_arrays(PROTOTYPES, {"vectors": mean_prototypes(parts, count, dimension)})
    return ConceptCount(concepts=count)
