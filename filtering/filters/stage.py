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
from filtering.filters.rules import caption_passes, kept_fraction_threshold, later_repeats
from filtering.stage import Runtime, Stage
from filtering.storage import Store
from filtering.uids import uid_array

VERSION = 1
PASSES = ""


def filters_stage(runtime: Runtime, config: Config, embedding: str) -> Stage:
    """Return the stage."""
    return Stage(runtime, "filters", VERSION, [step.model_dump() for step in config.filters], (embedding,))


def apply_filters(stage: Stage, config: Config, shards: Sequence[EmbeddedShard]) -> dict[str, Any]:
    """Decide for every row whether it goes on; return how many do."""
    repeats = stage.call(_repeats, "uids", list(shards))["shards"]
    rules: list[tuple[Filter, float | None]] = []
    for number, step in enumerate(config.filters):
        rules.append((step, _threshold(stage, shards, rules, step, number)))
    tasks = [
        Task(shard.shard.identity, (shard, rules, repeats.get(str(at), []), stage.store.url))
        for at, shard in enumerate(shards)
    ]
    counts = stage.map(lambda engine: engine.tasks(_filter_shard), tasks, "shards")
    passed, rows = sum(count["passed"] for count in counts), sum(count["rows"] for count in counts)
    stage.summary = f"{passed:,} of {rows:,} samples pass"
    return {"passed": passed, "rows": rows}


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


def _repeats(shards: Sequence[EmbeddedShard]) -> dict[str, Any]:
    """Return, by shard position, the rows whose uid occurred before: 32 bytes a row of the pool."""
    columns = [shard.rows(["uid"])["uid"] for shard in shards]
    lengths = [len(column) for column in columns]
    uids = np.concatenate([np.zeros(0, "S32"), *(uid_array(column) for column in columns)])
    rows = np.flatnonzero(later_repeats(uids))
    ends = np.cumsum(lengths)
    found: dict[str, list[int]] = {}
    for row in rows:
        at = int(np.searchsorted(ends, row, side="right"))
        found.setdefault(str(at), []).append(int(row - (ends[at] - lengths[at])))
    return {"shards": found, "repeats": len(rows)}


def _filter_shard(
    shard: EmbeddedShard, rules: Sequence[tuple[Filter, float | None]], repeats: Sequence[int], store_url: str
) -> dict[str, int]:
    rows = shard.rows(["caption", "clip_score"])
    found = _reasons(rows, rules)
    found[np.asarray(repeats, dtype=np.int64)] = DUPLICATE_UID
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
