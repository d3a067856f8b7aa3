"""The manifests stage: each shard's samples into kept, dropped and quarantined, then the files of the whole pool."""

import contextlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from filtering.config.weights import Weights
from filtering.core.errors import DamagedError, RunError
from filtering.core.uids import subset_array, uid_array
from filtering.filters.artifacts import PassingShard
from filtering.manifests.artifacts import (
    CHECKSUMS,
    KINDS,
    MANIFESTS_STAGE,
    SHARDS,
    SUBSET,
    ManifestsResult,
    ShardLine,
    SummedRecord,
    damage,
    manifest_hash,
    read_split,
    read_sums,
    subset_bytes,
    table_name,
)
from filtering.manifests.repeats import Picked, find_repeats
from filtering.manifests.tasks import ShardSplit, split_shard
from filtering.runtime.stage import StageKey, StageRun
from filtering.selection.artifacts import PICKS_SUFFIX, PickFilter
from filtering.storage.reading import read_record_as
from filtering.storage.store import MARKER, Store, checksum

VERSION = 5


def manifests_key(reasons: Sequence[str], filters: str, selection: str, weights: Weights | None = None) -> StageKey:
    """Return the stage's identity; `reasons` are those of the steps of selection."""
    # Without weights it is what it was before there were any.
    settings: list[Any] = list(reasons) if weights is None else [list(reasons), weights.model_dump(mode="json")]
    return StageKey(MANIFESTS_STAGE, VERSION, settings, (filters, selection))


def write_manifests(
    stage: StageRun,
    pick_filters: Sequence[PickFilter],
    shards: Sequence[PassingShard],
    samples: Sequence[int],
    weights: Weights | None = None,
) -> ManifestsResult:
    """Write every table of the manifest; return totals, reasons and the manifest hash.

    The first of `pick_filters` (the steps of selection, in order) that did not pick a sample is its reason; the picks
    of the last are kept, and seen as often as `weights` say, once without. `samples` are counted by shard while
    embedding. Raises RunError if a shard's kept, dropped and quarantined samples do not add up to its samples.
    """
    run = stage.runtime.store
    picks = [pick_filter.store.names(PICKS_SUFFIX) for pick_filter in pick_filters]
    last = Picked(pick_filters[-1].store, tuple(picks[-1]))
    repeats = None if weights is None else find_repeats(stage, weights, shards, last)
    splits = stage.over_shards("", "shards", shards, split_shard, list(pick_filters), picks, run, repeats)
    _check_conservation(shards, samples, splits)
    kept = [read_split(run, "kept", shard.index, ["uid", "key"]) for shard in shards]
    sums = _write_pool_files(run, _shard_lines(shards, samples, splits), kept, splits)
    totals = {"input": sum(samples)} | {kind: sum(split[kind] for split in splits) for kind in KINDS}
    reasons = {kind: _added(split["reasons"][kind] for split in splits) for kind in ("dropped", "quarantined")}
    epoch = sum(sum(split.get("repeats", ())) for split in splits)
    return ManifestsResult(totals, reasons, manifest_hash(kept), sums, epoch)


def damaged_manifests(stage: StageRun) -> DamagedError | None:
    """Return what is wrong with the manifests that the finished stage wrote, None if nothing is."""
    run, record = stage.runtime.store, read_record_as(stage.store, stage.key.record, SummedRecord)
    # Where checksums.json itself has changed, it would name others.
    found = [*damage(run, record["result"]["checksums"])] or damage(run, read_sums(run))
    return next((DamagedError(run.path(name), fault) for name, fault in found), None)


def forget_damaged_splits(stage: StageRun) -> None:
    """Let the tasks run again whose tables are no longer those that they wrote, where the stage is not finished."""
    run = stage.runtime.store
    for marker in stage.store.names(MARKER):
        with contextlib.suppress(DamagedError):
            sums = read_record_as(stage.store, marker, SummedRecord)["result"]["checksums"]
            for name, fault in damage(run, sums):
                stage.runtime.tell_damaged(DamagedError(run.path(name), fault))
                stage.store.delete(marker)


def _check_conservation(shards: Sequence[PassingShard], samples: Sequence[int], splits: Sequence[ShardSplit]) -> None:
    for shard, found, split in zip(shards, samples, splits, strict=True):
        if sum(split[kind] for kind in KINDS) != found:
            placed = ", ".join(f"{split[kind]} {kind}" for kind in KINDS)
            raise RunError(f"{shard.embedded.shard.url}: {found} samples came in, but {placed} went out")


def _shard_lines(
    shards: Sequence[PassingShard], samples: Sequence[int], splits: Sequence[ShardSplit]
) -> list[ShardLine]:
    return [_shard_line(*one) for one in zip(shards, samples, splits, strict=True)]


def _shard_line(shard: PassingShard, samples: int, split: ShardSplit) -> ShardLine:
    line = ShardLine(
        url=shard.embedded.shard.url,
        samples=samples,
        kept=split["kept"],
        dropped=split["dropped"],
        quarantined=split["quarantined"],
        keys=table_name("kept", shard.index),
    )
    if "repeats" in split:
        line["repeats"] = split["repeats"]
    return line


def _write_pool_files(
    run: Store, lines: Sequence[ShardLine], kept: Sequence[pa.Table], splits: Sequence[ShardSplit]
) -> dict[str, str]:
    """Write subset.npy, shards.jsonl and, last, the checksums of these and of all tables; return those of the three."""
    sums = {name: value for split in splits for name, value in split["checksums"].items()}
    uids = np.concatenate([*(uid_array(table["uid"]) for table in kept), np.zeros(0, "S32")])
    files = {
        SUBSET: subset_bytes(subset_array(uids)),
        SHARDS: "".join(json.dumps(line) + "\n" for line in lines).encode(),
    }
    for name, data in files.items():
        run.write(name, data)
        sums[name] = checksum(data)
    data = json.dumps(sums, indent=1).encode() + b"\n"
    run.write(CHECKSUMS, data)
    return {CHECKSUMS: checksum(data)} | {name: sums[name] for name in files}


def _added(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for found in counts:
        total.update(found)
    return dict(sorted(total.items()))
