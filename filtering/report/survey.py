"""A pass over the shards: their scores counted, captions sampled, the worst of what was dropped."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filtering.concepts.artifacts import read_homes
from filtering.concepts.partition import global_rows
from filtering.core.csr import Int64Array
from filtering.core.uids import sampled, uid_array
from filtering.filters.artifacts import PassingShard
from filtering.manifests.artifacts import table_name
from filtering.report.bins import Counts, counted, summed
from filtering.report.locations import Places
from filtering.scores.artifacts import read_scores
from filtering.storage.store import Store

LOWEST, PER_REASON, PER_FAULT = 24, 8, 3
COUNTS_NAME, CAPTIONS_NAME = "{}.counts.npz", "{}.captions.parquet"
CAPTIONS = pa.schema([("concept", pa.int32()), ("caption", pa.string())])
# What so many shards have is put together by one task, so that nobody reads an object of each of a million shards.
TOGETHER = 256


def survey_shard(shard: PassingShard, share: float, pictured: bool, places: Places) -> dict[str, Any]:
    """Count a shard's scores, sample its captions, and find what was dropped for the worst captions.

    Parameters
    ----------
    share : float
        Of the captions, sampled to name the concepts.
    pictured : bool
        Whether examples may come from this shard.
    """
    store, rows = Store(places.store), shard.embedded.rows(["uid", "caption", "clip_score"])
    reasons = drop_reasons(shard, rows["uid"], places.run)
    kept = np.asarray(reasons.is_null())
    scores = rows["clip_score"].to_numpy()
    found = {"clip_score": counted(scores, kept)}
    for name, url in places.scores.items():
        if name not in found:
            found[name] = counted(read_scores(Store(url), shard.identity), kept)
    store.write_arrays(COUNTS_NAME.format(shard.identity), _count_arrays(found))
    _write_captions(shard, rows, share, places)
    quarantined = Store(places.run).read_table(table_name("quarantined", shard.index)).to_pylist()
    return {
        "examples": few_by_reason(quarantined, PER_FAULT),
        **(_worst(shard, scores, reasons) if pictured else {"lowest": [], "filtered": {}}),
    }


def few_by_reason(rows: Sequence[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """Return the first rows of each reason, at most `most`, in the order of the reasons' first appearance."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        examples = found.setdefault(row["reason"], [])
        if len(examples) < most:
            examples.append(row)
    return [row for examples in found.values() for row in examples]


def drop_reasons(shard: PassingShard, uids: pa.ChunkedArray, run_url: str) -> pa.Array:
    """Return why each row of a shard is not kept, null where it is."""
    dropped = Store(run_url).read_table(table_name("dropped", shard.index), ["uid", "reason"])
    index = pc.index_in(uids, value_set=dropped["uid"].combine_chunks())
    selected = dropped["reason"].combine_chunks().take(index.combine_chunks())
    # The filters' reason first: a row whose uid occurred before has it, whatever became of the other.
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


def _write_captions(shard: PassingShard, rows: pa.Table, share: float, places: Places) -> None:
    having, homes = read_homes(Store(places.concepts), shard)
    chosen = sampled(uid_array(rows["uid"])[having], share, seed=2)
    columns = [pa.array(homes[chosen]), rows["caption"].take(pa.array(having[chosen]))]
    Store(places.store).write_table(CAPTIONS_NAME.format(shard.identity), pa.table(columns, schema=CAPTIONS))


def _worst(shard: PassingShard, scores: npt.NDArray[np.float32], reasons: pa.Array) -> dict[str, Any]:
    """Return the dropped rows of lowest CLIP score, and those of each filter, as global ids with their scores."""
    dropped = np.flatnonzero(np.asarray(reasons.is_valid()) & np.isfinite(scores))
    dropped = dropped[np.argsort(scores[dropped], kind="stable")]
    names = np.array(reasons.to_pylist(), dtype=object)[dropped]
    ids = global_rows(shard.index, dropped)
    by_filter = {name: names == name for name in sorted(set(names.tolist())) if name.startswith("filter:")}
    return {
        "lowest": _scored(scores[dropped], ids, LOWEST),
        "filtered": {name: _scored(scores[dropped][mask], ids[mask], PER_REASON) for name, mask in by_filter.items()},
    }


def _scored(scores: npt.NDArray[np.float32], ids: Int64Array, most: int) -> list[list[float]]:
    return [list(pair) for pair in zip(scores[:most].tolist(), ids[:most].tolist(), strict=True)]


def merge_surveys(names: Sequence[str], name: str, places: Places) -> dict[str, int]:
    """Put together the counts and captions of some shards under one name.

    Parameters
    ----------
    names : list of str
        Under which `survey_shard` wrote them: the shards' identities.
    name : str
        Under which they are written.
    """
    store = Store(places.store)
    store.write_arrays(COUNTS_NAME.format(name), _count_arrays(total_counts(store, names)))
    captions = read_captions(store, names)
    store.write_table(CAPTIONS_NAME.format(name), captions)
    return {"captions": len(captions)}


def total_counts(store: Store, names: Sequence[str]) -> dict[str, Counts]:
    """Return how often each score's values occur, by score, summed over what stands under some names."""
    parts = [_read_counts(store, name) for name in names]
    scores = dict.fromkeys(score for part in parts for score in part)
    return {score: summed(part[score] for part in parts if score in part) for score in scores}


def read_captions(store: Store, names: Sequence[str]) -> pa.Table:
    """Return the sampled captions, CAPTIONS, of what stands under some names."""
    tables = (store.read_table(CAPTIONS_NAME.format(name)) for name in names)
    return pa.concat_tables([*tables, CAPTIONS.empty_table()])
