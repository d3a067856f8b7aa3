"""The manifests stage: each shard's samples into kept, dropped and quarantined, then the files of the whole pool."""

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any

from filtering.config.weights import Weights
from filtering.core.errors import DamagedError, RunError
from filtering.filters.artifacts import PassingShard
from filtering.manifests.artifacts import (
    CHECKSUMS,
    KINDS,
    MANIFESTS_STAGE,
    SHARDS,
    ManifestsResult,
    ShardLine,
    SplitRecord,
    SummedRecord,
    damage,
    read_sums,
    read_whole,
    table_name,
)
from filtering.manifests.picks import GATHERED_SUFFIX, find_picks
from filtering.manifests.pool_stage import write_pool_files
from filtering.manifests.repeats import find_repeats
from filtering.manifests.tasks import ShardSplit, split_shard
from filtering.runtime.stage import StageKey, StageRun
from filtering.runtime.stage_objects import consume
from filtering.runtime.stage_progress import COMPUTED_HERE
from filtering.selection.artifacts import PickFilter
from filtering.storage.at_once import each_at_once
from filtering.storage.reading import read_record_as
from filtering.storage.store import MARKER, Store, checksum, write_chunks

VERSION = 6


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
    picked = find_picks(stage, pick_filters, samples)
    repeats = None if weights is None else find_repeats(stage, weights, shards, picked[-1])
    steps = [pick_filter.reason for pick_filter in pick_filters]
    splits = stage.over_shards("", "shards", shards, split_shard, steps, picked, run, repeats)
    _check_conservation(shards, samples, splits)
    pool = write_pool_files(stage, [split["kept"] for split in splits])
    if any(one.together for one in picked):
        consume(stage.store, GATHERED_SUFFIX)
    sums = _write_lists(run, shards, samples, splits, pool.checksums)
    totals = {"input": sum(samples)} | {kind: sum(split[kind] for split in splits) for kind in KINDS}
    reasons = {kind: _added(split["reasons"][kind] for split in splits) for kind in ("dropped", "quarantined")}
    epoch = sum(sum(split.get("repeats", ())) for split in splits)
    return ManifestsResult(totals, reasons, pool.hash, sums, epoch)


def copy_manifests(stage: StageRun, base: Store, most: int) -> bool:
    """Copy the manifests of another run, each object checked as it is read; return whether that was done.

    Not those of more than `most` bytes, nor damaged ones, of which a line tells: these are written again.
    """
    run = stage.runtime.store
    try:
        names = [*(sums := read_sums(base)), CHECKSUMS]
        if sum(base.child(CHECKSUMS.partition("/")[0]).sizes().values()) > most:
            return False
        for name, data in zip(names, each_at_once(partial(read_whole, base), names), strict=True):
            if name in sums and checksum(data) != sums[name]:
                raise DamagedError(base.path(name), "is damaged (its checksum differs)")
            run.write(name, data)
    except DamagedError as error:
        stage.runtime.tell_damaged(error, COMPUTED_HERE)
        return False
    return True


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
            result = read_record_as(stage.store, marker, SplitRecord)["result"]
            splits = result if isinstance(result, list) else [result]
            for name, fault in damage(run, {name: value for one in splits for name, value in one["checksums"].items()}):
                stage.runtime.tell_damaged(DamagedError(run.path(name), fault))
                stage.store.delete(marker)


def _check_conservation(shards: Sequence[PassingShard], samples: Sequence[int], splits: Sequence[ShardSplit]) -> None:
    for shard, found, split in zip(shards, samples, splits, strict=True):
        if sum(split[kind] for kind in KINDS) != found:
            placed = ", ".join(f"{split[kind]} {kind}" for kind in KINDS)
            raise RunError(f"{shard.embedded.shard.url}: {found} samples came in, but {placed} went out")


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


def _write_lists(
    run: Store,
    shards: Sequence[PassingShard],
    samples: Sequence[int],
    splits: Sequence[ShardSplit],
    pool: dict[str, str],
) -> dict[str, str]:
    """Write shards.jsonl and, last, the checksums of all objects; return those of what is no shard's, nor a range's.

    Both are written line by line: they grow with the shards. `pool` are the checksums of the files of the pool.
    """
    lines = (_shard_line(*one) for one in zip(shards, samples, splits, strict=True))
    pool = {**pool, SHARDS: _written(run.path(SHARDS), (json.dumps(line).encode() + b"\n" for line in lines))}
    items = chain(*(one["checksums"].items() for one in splits), pool.items())
    whole = {name: value for name, value in pool.items() if name.count("/") == 1}
    return {CHECKSUMS: _written(run.path(CHECKSUMS), _object_lines(items)), **whole}


def _written(url: str, chunks: Iterable[bytes]) -> str:
    """Write an object chunk by chunk; return its checksum."""
    found = hashlib.sha256()

    def told() -> Iterator[bytes]:
        for chunk in chunks:
            found.update(chunk)
            yield chunk

    write_chunks(url, told())
    return found.hexdigest()


def _object_lines(items: Iterable[tuple[str, str]]) -> Iterator[bytes]:
    # A JSON object of texts: a line is in memory at a time.
    begin = "{"
    for name, value in items:
        yield f"{begin}\n {json.dumps(name)}: {json.dumps(value)}".encode()
        begin = ","
    yield b"\n}\n" if begin == "," else b"{}\n"


def _added(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for found in counts:
        total.update(found)
    return dict(sorted(total.items()))
