"""The filters stage: uids that occur twice, then the configured filters in order, over the whole pool."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from filtering.config.filters import Filter
from filtering.config.run import Config
from filtering.core import schemas
from filtering.core.radix_select import SCORE_DIGITS, join_digits, score_of
from filtering.embedding.artifacts import EmbeddedShard
from filtering.filters.artifacts import DUPLICATE_UID, REASONS_NAME
from filtering.filters.cuts import COUNTS_NAME, count_scores, judged
from filtering.filters.judging import PASSES, Rule
from filtering.filters.repeats import SPREAD_NAME, bucket_count, find_repeats, read_repeats, spread_uids
from filtering.filters.rules import place_of
from filtering.filters.words import hand_out, list_identity
from filtering.runtime.finished_run import Carried
from filtering.runtime.rank_counts import next_digit
from filtering.runtime.stage import Runtime, Stage
from filtering.runtime.worker import Task
from filtering.storage.store import Store

NAME = "filters"
VERSION = 3


@dataclass(frozen=True, slots=True)
class Before:
    """What a base decided about the samples of a shard that is there as it was.

    Attributes
    ----------
    url : where its reasons are.
    judged : the filters are the same, their thresholds included, so that only repeated uids can differ.
    """

    url: str
    judged: bool


@dataclass(slots=True)
class Judging:
    """How far the filters are: the rules that are known, and up to which of them every shard was judged."""

    rules: list[Rule] = field(default_factory=list)
    known: int = 0


def filters_stage(runtime: Runtime, config: Config, embedding: str) -> Stage:
    """Return the stage."""
    lists = [list_identity(step.words) for step in config.filters if step.words is not None]
    settings = [step.model_dump() for step in config.filters]
    return Stage(runtime, NAME, VERSION, [settings, lists], (embedding,))


def apply_filters(
    stage: Stage, config: Config, shards: Sequence[EmbeddedShard], rows: int, carried: Carried | None = None
) -> dict[str, Any]:
    """Decide for every row whether it goes on; return how many do, and which shards' rows do as they did in the base.

    Parameters
    ----------
    rows : int
        Rows of all shards.
    """
    buckets, url = _find_repeats(stage, shards, rows), stage.store.url
    judging = Judging()
    for step in config.filters:
        judging.rules.append(_rule(stage, shards, judging, step))
    rules, known = judging.rules, judging.known
    decided = {"settings": stage.settings, "thresholds": [rule.threshold for rule in rules]}
    before = _before(carried, decided)
    tasks = [
        Task(s.shard.identity, (s, rules, known, at, buckets, before.get(s.shard.identity), url))
        for at, s in enumerate(shards)
    ]
    counts = stage.map(lambda engine: engine.tasks(_filter_shard), tasks, "shards")
    passed = sum(count["passed"] for count in counts)
    stage.summary = f"{passed:,} of {rows:,} samples pass"
    same = [shard.shard.identity for shard, count in zip(shards, counts, strict=True) if count["same"]]
    return {"passed": passed, "rows": rows, "same": same, **decided}


def _before(carried: Carried | None, decided: dict[str, Any]) -> dict[str, Before]:
    """Return what a base decided about the shards that are there as they were, by identity."""
    if carried is None:
        return {}
    found = carried.base.result(NAME)
    # Through JSON, as the base's was: it has no tuples.
    judged = [found.get(name) for name in decided] == json.loads(json.dumps(list(decided.values())))
    return dict.fromkeys(carried.identities(), Before(carried.base.store(NAME).url, judged))


def _find_repeats(stage: Stage, shards: Sequence[EmbeddedShard], rows: int) -> int:
    """Find the rows whose uid occurred before; return in how many buckets they are."""
    buckets, url = bucket_count(rows), stage.store.url
    tasks = [Task(f"uids-{s.shard.identity}", (s, at, buckets, url)) for at, s in enumerate(shards)]
    stage.map(lambda engine: engine.tasks(spread_uids), tasks, "shards of uids")
    names = [SPREAD_NAME.format(shard.shard.identity) for shard in shards]
    tasks = [Task(f"repeats-{bucket:08d}", (bucket, names, url)) for bucket in range(buckets)]
    stage.map(lambda engine: engine.tasks(find_repeats), tasks, "buckets of uids")
    return buckets


def _rule(stage: Stage, shards: Sequence[EmbeddedShard], judging: Judging, step: Filter) -> Rule:
    """Return a filter with all that it needs; a fraction is of what the filters before it let through."""
    if step.words is not None:
        return Rule(step, list_url=hand_out(step.words, len(judging.rules), stage.store))
    if step.clip_score is None:
        return Rule(step)
    if step.clip_score.threshold is not None:
        return Rule(step, step.clip_score.threshold)
    return Rule(step, _threshold(stage, shards, judging, step.clip_score.keep or 1.0))


def _threshold(stage: Stage, shards: Sequence[EmbeddedShard], judging: Judging, fraction: float) -> float:
    """Return the score at DataComp's place among those that are left, -1.0 if none is."""
    cut, url = len(judging.rules), stage.store.url
    prefix: list[int] = []
    rank = 0
    for number in range(SCORE_DIGITS):
        rules, known = list(judging.rules), judging.known
        tasks = [
            Task(f"counts-{cut}-{number}-{s.shard.identity}", (s, rules, known, tuple(prefix), url)) for s in shards
        ]
        counts = stage.map(lambda engine: engine.tasks(count_scores), tasks, "shards of scores")
        rows = sum(count["rows"] for count in counts)
        if rows == 0:
            break
        rank = rank if prefix else place_of(rows, fraction)
        names = [COUNTS_NAME.format(shard.shard.identity, cut, number) for shard in shards]
        found = stage.call(next_digit, f"digit-{cut}-{number}", names, rank, url)
        prefix.append(found["digit"])
        rank = found["rank"]
    judging.known = cut
    return score_of(join_digits(prefix)) if prefix else -1.0


def _filter_shard(
    shard: EmbeddedShard,
    rules: Sequence[Rule],
    known: int,
    at: int,
    buckets: int,
    before: Before | None,
    store_url: str,
) -> dict[str, int]:
    store, name = Store(store_url), REASONS_NAME.format(shard.shard.identity)
    repeats = read_repeats(store, buckets, at)
    earlier = Store(before.url).read_table(name)["reason"].to_pylist() if before else []
    if before and before.judged and np.array_equal(_repeated(earlier), np.sort(repeats)):
        reasons = earlier
    else:
        failed = judged(shard, rules, known, store)
        reasons = [None if number == PASSES else f"filter:{rules[number].step.kind}" for number in failed.tolist()]
        for row in repeats.tolist():
            reasons[row] = DUPLICATE_UID
    store.write_table(name, pa.table([pa.array(reasons, pa.string())], schema=schemas.REASONS))
    same = before is not None and [one is None for one in reasons] == [one is None for one in earlier]
    return {"rows": len(reasons), "passed": reasons.count(None), "same": same}


def _repeated(reasons: Sequence[str | None]) -> Any:
    return np.flatnonzero([reason == DUPLICATE_UID for reason in reasons])
