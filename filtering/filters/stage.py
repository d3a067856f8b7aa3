"""The filters stage: uids that occur twice, then the configured filters in order, over the whole pool."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

import numpy as np
import pyarrow as pa

from filtering.config.filters import Filter
from filtering.core import schemas
from filtering.core.radix_select import SCORE_DIGITS, join_digits, score_of
from filtering.embedding.artifacts import EmbeddedShard
from filtering.filters.artifacts import DUPLICATE_UID, REASONS_NAME, FiltersResult
from filtering.filters.cuts import COUNTS_NAME, count_scores, judged
from filtering.filters.judging import PASSES, Rule
from filtering.filters.repeats import SPREAD_NAME, bucket_count, find_repeats, read_repeats, spread_uids
from filtering.filters.rules import place_of
from filtering.filters.words import hand_out, list_identity
from filtering.runtime.finished_run import Reusable
from filtering.runtime.rank_counts import next_digit
from filtering.runtime.stage import StageKey, StageRun
from filtering.runtime.task_spec import task
from filtering.storage.store import Store

NAME = "filters"
VERSION = 3


@dataclass(frozen=True, slots=True)
class PreviousResult:
    """What a base decided about the samples of a shard that is there as it was.

    Attributes
    ----------
    url : where its reasons are.
    judged : the filters are the same, their thresholds included, so that only repeated uids can differ.
    """

    url: str
    judged: bool


class JudgedShard(TypedDict):
    """The result of filtering one shard: its rows, those that pass, and whether the same ones passed in the base."""

    rows: int
    passed: int
    same: bool


@dataclass(slots=True)
class Judging:
    """How far the filters are: the rules that are known, and up to which of them every shard was judged."""

    rules: list[Rule] = field(default_factory=list)
    known: int = 0


def filters_key(filters: Sequence[Filter], embedding: str) -> StageKey:
    """Return the stage's identity."""
    lists = [list_identity(step.words) for step in filters if step.words is not None]
    settings = [step.model_dump() for step in filters]
    return StageKey(NAME, VERSION, [settings, lists], (embedding,))


def apply_filters(
    stage: StageRun,
    filters: Sequence[Filter],
    shards: Sequence[EmbeddedShard],
    rows: int,
    reusable: Reusable | None = None,
) -> FiltersResult:
    """Decide for every row whether it goes on; return how many do, and which shards' rows do as they did in the base.

    Parameters
    ----------
    rows : int
        Rows of all shards.
    """
    buckets, url = _find_repeats(stage, shards, rows), stage.store.url
    judging = Judging()
    for step in filters:
        judging.rules.append(_rule(stage, shards, judging, step))
    rules, known = judging.rules, judging.known
    before = _before(reusable, stage.key.settings, [rule.threshold for rule in rules])
    tasks = [
        task(s.shard.identity, _filter_shard, s, rules, known, at, buckets, before.get(s.shard.identity), url)
        for at, s in enumerate(shards)
    ]
    counts = stage.map(tasks, "shards")
    return FiltersResult(
        passed=sum(count["passed"] for count in counts),
        rows=rows,
        same=tuple(shard.shard.identity for shard, count in zip(shards, counts, strict=True) if count["same"]),
        settings=stage.key.settings,
        thresholds=tuple(rule.threshold for rule in rules),
    )


def _before(reusable: Reusable | None, settings: Any, thresholds: Sequence[float]) -> dict[str, PreviousResult]:
    """Return what a base decided about the shards that are there as they were, by identity."""
    if reusable is None:
        return {}
    found = reusable.base.result(NAME, FiltersResult)
    # Through JSON, as the base's were: it has no tuples.
    judged = [found.settings, list(found.thresholds)] == json.loads(json.dumps([settings, list(thresholds)]))
    return dict.fromkeys(reusable.identities(), PreviousResult(reusable.base.store(NAME).url, judged))


def _find_repeats(stage: StageRun, shards: Sequence[EmbeddedShard], rows: int) -> int:
    """Find the rows whose uid occurred before; return in how many buckets they are."""
    buckets, url = bucket_count(rows), stage.store.url
    tasks = [task(f"uids-{s.shard.identity}", spread_uids, s, at, buckets, url) for at, s in enumerate(shards)]
    stage.map(tasks, "shards of uids")
    names = [SPREAD_NAME.format(shard.shard.identity) for shard in shards]
    tasks = [task(f"repeats-{bucket:08d}", find_repeats, bucket, names, url) for bucket in range(buckets)]
    stage.map(tasks, "buckets of uids")
    return buckets


def _rule(stage: StageRun, shards: Sequence[EmbeddedShard], judging: Judging, step: Filter) -> Rule:
    """Return a filter with all that it needs; a fraction is of what the filters before it let through."""
    if step.words is not None:
        return Rule(step, list_url=hand_out(step.words, len(judging.rules), stage.store))
    if step.clip_score is None:
        return Rule(step)
    if step.clip_score.threshold is not None:
        return Rule(step, step.clip_score.threshold)
    return Rule(step, _threshold(stage, shards, judging, step.clip_score.keep or 1.0))


def _threshold(stage: StageRun, shards: Sequence[EmbeddedShard], judging: Judging, fraction: float) -> float:
    """Return the score at DataComp's place among those that are left, -1.0 if none is."""
    cut, url = len(judging.rules), stage.store.url
    prefix: list[int] = []
    rank = 0
    for number in range(SCORE_DIGITS):
        rules, known = list(judging.rules), judging.known
        tasks = [
            task(f"counts-{cut}-{number}-{s.shard.identity}", count_scores, s, rules, known, tuple(prefix), url)
            for s in shards
        ]
        counts = stage.map(tasks, "shards of scores")
        rows = sum(count["rows"] for count in counts)
        if rows == 0:
            break
        rank = rank if prefix else place_of(rows, fraction)
        names = [COUNTS_NAME.format(shard.shard.identity, cut, number) for shard in shards]
        found = stage.call(f"digit-{cut}-{number}", next_digit, names, rank, url)
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
    before: PreviousResult | None,
    store_url: str,
) -> JudgedShard:
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
    return JudgedShard(rows=len(reasons), passed=reasons.count(None), same=same)


def _repeated(reasons: Sequence[str | None]) -> Any:
    return np.flatnonzero([reason == DUPLICATE_UID for reason in reasons])
