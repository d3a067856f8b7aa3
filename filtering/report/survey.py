"""A pass over the shards: counts their scores, samples captions, finds the dropped samples with the lowest scores."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filtering.concepts.artifacts import read_homes
from filtering.concepts.partition import global_rows
from filtering.core.csr import Int64Array
from filtering.core.uids import Uids, hashed, sampled, uid_array
from filtering.filters.artifacts import PassingShard
from filtering.manifests.artifacts import read_split
from filtering.report.bins import Counts, counted, summed
from filtering.report.locations import Locations
from filtering.scores.artifacts import read_scores
from filtering.storage.store import Store

LOWEST, PER_REASON, PER_FAULT = 24, 8, 8
# Examples for each outcome, of a shard and of all shards: kept samples, and those of each reason.
PER_OUTCOME = 600
COUNTS_NAME, CAPTIONS_NAME = "{}.counts.npz", "{}.captions.parquet"
CAPTIONS = pa.schema([("concept", pa.int32()), ("caption", pa.string())])
# One task merges the objects of this many shards, so that the driver does not read an object for each of a million.
TOGETHER = 256
R = TypeVar("R")
# Pairs of a number, by which they are ordered, and a global row id.
ScoredRows = list[list[float]]


class QuarantinedRow(TypedDict):
    """A line of the quarantined table."""

    shard: str
    member: str
    key: str
    reason: str
    detail: str


class LowestRows(TypedDict):
    """A shard's dropped rows with the lowest CLIP scores: of all, and of each filter by its reason."""

    lowest: ScoredRows
    filtered: dict[str, ScoredRows]


class Survey(LowestRows):
    """What the report needs to know about a shard: besides, some quarantined rows, and random rows of each outcome.

    The outcome of `outcomes` is the reason of dropped rows, empty for kept ones.
    """

    examples: list[QuarantinedRow]
    outcomes: dict[str, ScoredRows]


def survey_shard(shard: PassingShard, share: float, pictured: bool, shown: bool, locations: Locations) -> Survey:
    """Count a shard's scores, sample a share of its captions, and find rows to show.

    They are the lowest dropped rows if it is `pictured`, and random rows of each outcome if it is `shown`.
    """
    store, rows = locations.store, shard.embedded.rows(["uid", "caption", "clip_score"])
    reasons = drop_reasons(shard, rows["uid"], locations.run)
    kept = np.asarray(reasons.is_null())
    scores = rows["clip_score"].to_numpy()
    found = {"clip_score": counted(scores, kept)}
    for name, folder in locations.scores.items():
        if name not in found:
            found[name] = counted(read_scores(folder, shard.identity), kept)
    store.write_arrays(COUNTS_NAME.format(shard.identity), _count_arrays(found))
    _write_captions(shard, rows, share, locations)
    quarantined = read_split(locations.run, "quarantined", shard.index).to_pylist()
    lowest = _lowest(shard, scores, reasons) if pictured else LowestRows(lowest=[], filtered={})
    outcomes = _random(shard, uid_array(rows["uid"]), reasons) if shown else {}
    return {
        "examples": few_by_reason(quarantined, lambda row: row["reason"], PER_FAULT),
        "outcomes": outcomes,
        **lowest,
    }


def few_by_reason(rows: Sequence[R], reason_of: Callable[[R], str], most: int) -> list[R]:
    """Return the first rows of each reason, at most `most`, in the order in which the reasons first occur."""
    found: dict[str, list[R]] = {}
    for row in rows:
        examples = found.setdefault(reason_of(row), [])
        if len(examples) < most:
            examples.append(row)
    return [row for examples in found.values() for row in examples]


def drop_reasons(shard: PassingShard, uids: pa.ChunkedArray, run: Store) -> pa.Array:
    """Return the reason of each row of a shard that is not kept, null for kept rows."""
    dropped = read_split(run, "dropped", shard.index, ["uid", "reason"])
    index = pc.index_in(uids, value_set=dropped["uid"].combine_chunks())
    selected = dropped["reason"].combine_chunks().take(index.combine_chunks())
    # The filters' reason first: a row with a repeated uid has one, even if the first row with that uid is kept.
    return pc.coalesce(shard.reasons().combine_chunks().cast(pa.string()), selected)


def _count_arrays(found: Mapping[str, Counts]) -> dict[str, npt.NDArray[Any]]:
    return {
        f"{name}/{column}": getattr(counts, column)
        for name, counts in found.items()
        for column in ("key", "kept", "dropped")
    }


def _read_counts(store: Store, name: str) -> dict[str, Counts]:
    arrays = store.read_arrays(COUNTS_NAME.format(name))
    scores = dict.fromkeys(key.rpartition("/")[0] for key in arrays)
    return {score: Counts(*(arrays[f"{score}/{column}"] for column in ("key", "kept", "dropped"))) for score in scores}


def _write_captions(shard: PassingShard, rows: pa.Table, share: float, locations: Locations) -> None:
    having, homes = read_homes(locations.concepts, shard)
    chosen = sampled(uid_array(rows["uid"])[having], share, seed=2)
    columns = [pa.array(homes[chosen]), rows["caption"].take(pa.array(having[chosen]))]
    locations.store.write_table(CAPTIONS_NAME.format(shard.identity), pa.table(columns, schema=CAPTIONS))


def _lowest(shard: PassingShard, scores: npt.NDArray[np.float32], reasons: pa.Array) -> LowestRows:
    dropped = np.flatnonzero(np.asarray(reasons.is_valid()) & np.isfinite(scores))
    dropped = dropped[np.argsort(scores[dropped], kind="stable")]
    names = np.array(reasons.to_pylist(), dtype=object)[dropped]
    ids = global_rows(shard.index, dropped)
    by_filter = {name: names == name for name in sorted(set(names.tolist())) if name.startswith("filter:")}
    return LowestRows(
        lowest=_scored(scores[dropped], ids, LOWEST),
        filtered={name: _scored(scores[dropped][mask], ids[mask], PER_REASON) for name, mask in by_filter.items()},
    )


def _random(shard: PassingShard, uids: Uids, reasons: pa.Array) -> dict[str, ScoredRows]:
    """Return some rows of each outcome, in a random order that the uids alone decide."""
    # A double holds these bits exactly.
    keys = (hashed(uids, seed=3) >> np.uint64(11)).astype(np.float64)
    order = np.lexsort((uids, keys))
    outcomes = np.array(reasons.fill_null("").to_pylist(), dtype=object)[order]
    ids = global_rows(shard.index, order)
    chosen = {name: np.flatnonzero(outcomes == name)[:PER_OUTCOME] for name in sorted(set(outcomes.tolist()))}
    return {name: _scored(keys[order][at], ids[at], PER_OUTCOME) for name, at in chosen.items()}


def _scored(scores: npt.NDArray[np.floating[Any]], ids: Int64Array, most: int) -> ScoredRows:
    return [list(pair) for pair in zip(scores[:most].tolist(), ids[:most].tolist(), strict=True)]


def merge_surveys(names: Sequence[str], name: str, store: Store) -> None:
    """Merge the counts and captions of some shards, given by identity, into the objects of one name."""
    store.write_arrays(COUNTS_NAME.format(name), _count_arrays(total_counts(store, names)))
    store.write_table(CAPTIONS_NAME.format(name), read_captions(store, names))


def total_counts(store: Store, names: Sequence[str]) -> dict[str, Counts]:
    """Return how often each score's values occur, by score, summed over the objects of some names."""
    parts = [_read_counts(store, name) for name in names]
    scores = dict.fromkeys(score for part in parts for score in part)
    return {score: summed(part[score] for part in parts if score in part) for score in scores}


def read_captions(store: Store, names: Sequence[str]) -> pa.Table:
    """Return the sampled captions, CAPTIONS, of the objects of some names."""
    tables = (store.read_table(CAPTIONS_NAME.format(name)) for name in names)
    return pa.concat_tables([*tables, CAPTIONS.empty_table()])
