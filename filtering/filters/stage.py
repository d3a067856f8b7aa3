"""The filters stage: uids that occur twice, then the configured filters in order, over the whole pool."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filtering import tables
from filtering.attempts import Task
from filtering.config import Config, Filter
from filtering.embedding.objects import EmbeddedShard
from filtering.filters.objects import DUPLICATE_UID, REASONS_NAME
from filtering.filters.repeats import SPREAD_NAME, bucket_count, find_repeats, read_repeats, spread_uids
from filtering.filters.rules import caption_passes, kept_fraction_threshold
from filtering.stage import Runtime, Stage
from filtering.storage import Store

VERSION = 2
PASSES = ""


def filters_stage(runtime: Runtime, config: Config, embedding: str) -> Stage:
    """Return the stage."""
    return Stage(runtime, "filters", VERSION, [step.model_dump() for step in config.filters], (embedding,))


def apply_filters(stage: Stage, config: Config, shards: Sequence[EmbeddedShard], rows: int) -> dict[str, Any]:
    """Decide for every row whether it goes on; return how many do.

    Parameters
    ----------
    rows : int
        Rows of all shards.
    """
    buckets = _find_repeats(stage, shards, rows)
    rules: list[tuple[Filter, float | None]] = []
    for number, step in enumerate(config.filters):
        rules.append((step, _threshold(stage, shards, rules, step, number)))
    tasks = [
        Task(shard.shard.identity, (shard, rules, at, buckets, stage.store.url)) for at, shard in enumerate(shards)
    ]
    counts = stage.map(lambda engine: engine.tasks(_filter_shard), tasks, "shards")
    passed = sum(count["passed"] for count in counts)
    stage.summary = f"{passed:,} of {rows:,} samples pass"
    return {"passed": passed, "rows": rows}


def _find_repeats(stage: Stage, shards: Sequence[EmbeddedShard], rows: int) -> int:
    """Find the rows whose uid occurred before; return in how many buckets they are."""
    buckets, url = bucket_count(rows), stage.store.url
    tasks = [Task(f"uids-{s.shard.identity}", (s, at, buckets, url)) for at, s in enumerate(shards)]
    stage.map(lambda engine: engine.tasks(spread_uids), tasks, "shards of uids")
    names = [SPREAD_NAME.format(shard.shard.identity) for shard in shards]
    tasks = [Task(f"repeats-{bucket:08d}", (bucket, names, url)) for bucket in range(buckets)]
    stage.map(lambda engine: engine.tasks(find_repeats), tasks, "buckets of uids")
    return buckets


def _threshold(
    stage: Stage,
    shards: Sequence[EmbeddedShard],
    before: Sequence[tuple[Filter, float | None]],
    step: Filter,
    number: int,
) -> float | None:
    """Return the CLIP score at which a filter cuts; a fraction is of what the filters before it let through."""
    rule = step.clip_score
    if rule is None or rule.keep is None:
        return rule.threshold if rule else None
    name = f"threshold-{number}"
    arguments = (list(shards), list(before), rule.keep)
    return float(stage.call(_fraction_threshold, name, *arguments)["threshold"])


def _fraction_threshold(
    shards: Sequence[EmbeddedShard], before: Sequence[tuple[Filter, float | None]], fraction: float
) -> dict[str, float]:
    scores = []
    for shard in shards:
        rows = shard.rows(["caption", "clip_score"])
        passes = _reasons(rows, before) == PASSES
        scores.append(rows["clip_score"].to_numpy()[passes])
    return {"threshold": kept_fraction_threshold(np.concatenate([*scores, np.zeros(0, np.float32)]), fraction)}


def _filter_shard(
    shard: EmbeddedShard, rules: Sequence[tuple[Filter, float | None]], at: int, buckets: int, store_url: str
) -> dict[str, int]:
    rows = shard.rows(["caption", "clip_score"])
    found = _reasons(rows, rules)
    found[read_repeats(Store(store_url), buckets, at)] = DUPLICATE_UID
    table = pa.table([pa.array([reason or None for reason in found.tolist()], pa.string())], schema=tables.REASONS)
    Store(store_url).write_table(REASONS_NAME.format(shard.shard.identity), table)
    return {"rows": len(rows), "passed": int((found == PASSES).sum())}


def _reasons(rows: pa.Table, rules: Sequence[tuple[Filter, float | None]]) -> npt.NDArray[Any]:
    """Return the first filter that each row fails, an empty text where it passes all."""
    found = np.full(len(rows), PASSES, dtype=object)
    for step, threshold in rules:
        if step.caption is not None:
            name, passes = "caption", caption_passes(rows["caption"], step.caption)
        else:
            name, passes = "clip_score", rows["clip_score"].to_numpy() >= np.float32(threshold or 0)
        found[(found == PASSES) & ~passes] = f"filter:{name}"
    return found
