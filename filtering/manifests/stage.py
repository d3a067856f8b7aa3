"""The manifests stage: each shard's samples into kept, dropped and quarantined, then the whole pool's files."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filtering.concepts.partition import shard_and_row
from filtering.core import schemas
from filtering.core.errors import RunError
from filtering.core.uids import subset_array, uid_array
from filtering.filters.artifacts import DUPLICATE_UID, PassingShard
from filtering.manifests.artifacts import (
    CHECKSUMS,
    KINDS,
    SHARDS,
    SUBSET,
    ManifestsResult,
    manifest_hash,
    subset_bytes,
    table_name,
)
from filtering.runtime.shuffle import Records
from filtering.runtime.stage import StageKey, StageRun
from filtering.runtime.task_spec import task
from filtering.selection.artifacts import PICK, PICKS_SUFFIX, PickFilter, read_picks
from filtering.storage.store import Store, checksum, parquet_bytes

VERSION = 2


def manifests_key(reasons: Sequence[str], filters: str, selection: str) -> StageKey:
    """Return the stage's identity; `reasons` are those of the selection's steps."""
    return StageKey("manifests", VERSION, list(reasons), (filters, selection))


def write_manifests(
    stage: StageRun, pick_filters: Sequence[PickFilter], shards: Sequence[PassingShard], samples: Sequence[int]
) -> ManifestsResult:
    """Write every table of the manifest; return totals, reasons and the manifest hash.

    Parameters
    ----------
    pick_filters : list of PickFilter
        The steps of selection: the first that did not pick a sample is its reason, the picks of the last are kept.
    samples : list of int
        Samples found in each shard by the embedding stage.

    Raises
    ------
    RunError
        If a shard's kept, dropped and quarantined samples do not add up to its samples.
    """
    run = stage.runtime.store
    picks = [Store(pick_filter.url).names(PICKS_SUFFIX) for pick_filter in pick_filters]
    tasks = [task(s.identity, _split_shard, s, list(pick_filters), picks, run.url) for s in shards]
    counts = stage.map(tasks, "shards")
    _check_conservation(shards, samples, counts)
    totals = {"input": sum(samples)} | {kind: sum(count[kind] for count in counts) for kind in KINDS}
    sums = {name: value for count in counts for name, value in count["checksums"].items()}
    kept = [run.read_table(table_name("kept", shard.index), ["uid", "key"]) for shard in shards]
    for name, data in _pool_files(shards, samples, counts, kept).items():
        run.write(name, data)
        sums[name] = checksum(data)
    run.write_json(CHECKSUMS, sums)
    reasons = {kind: _summed(count["reasons"][kind] for count in counts) for kind in ("dropped", "quarantined")}
    return ManifestsResult(totals, reasons, manifest_hash(kept))


def _split_shard(
    shard: PassingShard, pick_filters: Sequence[PickFilter], names: Sequence[Sequence[str]], run_url: str
) -> dict[str, Any]:
    rows = shard.embedded.rows(["uid", "key"])
    reasons = np.array(shard.reasons().fill_null("").to_pylist(), dtype=object)
    picks, picked = np.zeros(0, PICK), np.zeros(0, np.int64)
    for pick_filter, objects in zip(pick_filters, names, strict=True):
        picks = read_picks(Store(pick_filter.url), objects, shard.index)
        picked = shard_and_row(picks["row"])[1]
        missing = reasons == ""
        missing[picked] = False
        reasons[missing] = pick_filter.reason
    url = shard.embedded.shard.url
    split = {
        "kept": _kept(rows, picks, picked, url),
        "dropped": _dropped(rows, reasons, url),
        "quarantined": _quarantined(shard, rows, reasons, url),
    }
    run, sums = Store(run_url), {}
    for kind, table in split.items():
        data = parquet_bytes(table)
        run.write(table_name(kind, shard.index), data)
        sums[table_name(kind, shard.index)] = checksum(data)
    counts = {kind: len(table) for kind, table in split.items()}
    found = {kind: dict(Counter(split[kind]["reason"].to_pylist())) for kind in ("dropped", "quarantined")}
    return {**counts, "reasons": found, "checksums": sums}


def _kept(rows: pa.Table, picks: Records, picked: npt.NDArray[np.int64], url: str) -> pa.Table:
    order = np.argsort(picked)
    chosen = rows.take(pa.array(picked[order]))
    columns = [chosen["uid"], chosen["key"], pa.array([url] * len(order), pa.string())]
    found = (pa.array(picks[name][order]) for name in ("concept", "score", "rank"))
    return pa.table([*columns, *found], schema=schemas.KEPT)


def _dropped(rows: pa.Table, reasons: npt.NDArray[Any], url: str) -> pa.Table:
    here = (reasons != "") & (reasons != DUPLICATE_UID)
    chosen = rows.filter(pa.array(here))
    columns = [chosen["uid"], chosen["key"], pa.array([url] * len(chosen), pa.string())]
    return pa.table([*columns, pa.array(reasons[here], pa.string())], schema=schemas.DROPPED)


def _quarantined(shard: PassingShard, rows: pa.Table, reasons: npt.NDArray[Any], url: str) -> pa.Table:
    repeated = rows.filter(pa.array(reasons == DUPLICATE_UID))
    details = pc.binary_join_element_wise("uid ", repeated["uid"], " was seen before in the pool", "")
    columns = [
        pa.array([url] * len(repeated), pa.string()),
        repeated["key"],
        repeated["key"],
        pa.array([DUPLICATE_UID] * len(repeated), pa.string()),
        details,
    ]
    return pa.concat_tables([shard.embedded.quarantined(), pa.table(columns, schema=schemas.QUARANTINED)])


def _check_conservation(
    shards: Sequence[PassingShard], samples: Sequence[int], counts: Sequence[dict[str, Any]]
) -> None:
    for shard, found, count in zip(shards, samples, counts, strict=True):
        placed = sum(count[kind] for kind in KINDS)
        if placed != found:
            split = ", ".join(f"{count[kind]} {kind}" for kind in KINDS)
            raise RunError(f"{shard.embedded.shard.url}: {found} samples came in, but {split} went out")


def _pool_files(
    shards: Sequence[PassingShard],
    samples: Sequence[int],
    counts: Sequence[dict[str, Any]],
    kept: Sequence[pa.Table],
) -> dict[str, bytes]:
    uids = [uid_array(table["uid"]) for table in kept]
    subset = subset_array(np.concatenate([*uids, np.zeros(0, "S32")]))
    lines = [
        json.dumps(
            {
                "url": shard.embedded.shard.url,
                "samples": found,
                **{kind: count[kind] for kind in KINDS},
                "keys": table_name("kept", shard.index),
            }
        )
        for shard, found, count in zip(shards, samples, counts, strict=True)
    ]
    return {SUBSET: subset_bytes(subset), SHARDS: "".join(line + "\n" for line in lines).encode()}


def _summed(reasons: Any) -> dict[str, int]:
    total: Counter[str] = Counter()
    for found in reasons:
        total.update(found)
    return dict(sorted(total.items()))
