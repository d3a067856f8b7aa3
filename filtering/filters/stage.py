"""The filters stage: uids that occur twice, then the configured filters in order, over the whole pool."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypedDict, TypeVar

import pyarrow as pa

from filtering.config.embedding import Embedding
from filtering.config.filters import Filter
from filtering.core import schemas
from filtering.core.errors import InputError, Mistakes, RunError, under
from filtering.core.fields import FIELD, score_column
from filtering.embedding.artifacts import EmbeddedShard
from filtering.embedding.encoders import check_scoring_encoder
from filtering.filters.artifacts import REASONS_NAME, REPEATED, FiltersResult
from filtering.filters.column_filters import check_field
from filtering.filters.cuts import judged, score_threshold
from filtering.filters.exclusion import check_exclusion, exclusion_identity, stored_exclusion
from filtering.filters.hash_duplicates import find_hash_repeats
from filtering.filters.heads import head_identity, read_head, stored_head
from filtering.filters.judging import PASSES, Judging, Rule
from filtering.filters.language import check_language, detector_identity
from filtering.filters.repeats import SPREAD_NAME, bucket_count, find_repeats, read_repeats, spread_uids
from filtering.filters.signal_filters import check_signal
from filtering.filters.words import check_list, list_identity, stored_list
from filtering.runtime.finished_run import Reusable
from filtering.runtime.shard_groups import of_shard, sent_names
from filtering.runtime.stage import StageKey, StageRun
from filtering.runtime.task_spec import task
from filtering.storage.store import Store

R = TypeVar("R")
L = TypeVar("L")
NAME = "filters"
VERSION = 6
NO_SIGNALS = Embedding()


@dataclass(frozen=True, slots=True)
class PreviousResult:
    """The base's reasons for a shard that has not changed; `judged` if the filters and thresholds are the same, too.

    Then only repeated uids can differ.
    """

    store: Store
    judged: bool


class Settings(NamedTuple):
    """By what the stage is named: the filters as configured, and the identities of what they read, in their order.

    A tuple, which JSON writes as the list that it always was: the same filters keep their fingerprint.
    """

    filters: list[dict[str, Any]]
    read: list[str]


class JudgedShard(TypedDict):
    """The result of filtering one shard: its rows, those that pass, and whether the same ones passed in the base.

    `unnamed` are how many rows lack a column that a filter reads and the pool may lack, by its name.
    """

    rows: int
    passed: int
    same: bool
    unnamed: dict[str, int]


def filters_key(filters: Sequence[Filter], embedding: str) -> StageKey:
    """Return the stage's identity."""
    read = [identity for step in filters if (identity := _read_by(step)) is not None]
    return StageKey(NAME, VERSION, Settings([step.model_dump() for step in filters], read), (embedding,))


def _read_by(step: Filter) -> str | None:
    """Return the identity of what a filter reads besides the samples, None if it reads nothing."""
    if step.words is not None:
        return list_identity(step.words)
    if step.exclude is not None:
        return exclusion_identity(step.exclude)
    if step.head is not None:
        return head_identity(step.head)
    return detector_identity() if step.language is not None else None


def check_filters(
    filters: Sequence[Filter],
    embedding: Embedding = NO_SIGNALS,
    fields: Collection[str] = (),
    pictures: bool = True,
) -> None:
    """Refuse filters whose package, list or signal is missing or whose language is unknown; InputError says what to do.

    `embedding` says what is computed of the pool's pictures, if it has pictures; `fields` are those that it brings.
    """
    mistakes = Mistakes()
    for step in filters:
        with mistakes.collected():
            if step.language is not None:
                check_language(step.language)
            if step.words is not None:
                check_list(step.words)
            if step.exclude is not None:
                check_exclusion(step.exclude)
            if step.head is not None:
                with under("filters.head"):
                    read_head(step.head)
            if step.signal is not None:
                check_signal(step.signal, f"filters.{step.kind}", embedding.signals, pictures)
            if step.field is not None:
                check_field(step.field, f"filters.{step.kind}", fields)
            if step.clip_score is not None and step.clip_score.of is not None:
                with under("filters.clip_score"):
                    check_scoring_encoder(step.clip_score.of, embedding if pictures else None)
    mistakes.refuse()


def apply_filters(
    stage: StageRun,
    filters: Sequence[Filter],
    shards: Sequence[EmbeddedShard],
    rows: int,
    reusable: Reusable | None = None,
) -> FiltersResult:
    """Decide for each of all shards' `rows` whether it passes; return how many do, and which shards pass as before."""
    buckets = _find_repeats(stage, shards, rows)
    judging = _judging(stage, filters, shards, rows, buckets)
    thresholds = tuple(rule.threshold for rule in judging.rules)
    previous = _previous_results(reusable, stage.key.settings, thresholds)
    tasks = [
        of_shard(task(s.identity, _filter_shard, s, judging, at, buckets, previous.get(s.identity), stage.store), s)
        for at, s in enumerate(shards)
    ]
    counts = stage.map(tasks, "shards")
    unnamed = _summed([count["unnamed"] for count in counts])
    _check_there(filters, unnamed, rows)
    return FiltersResult(
        passed=sum(count["passed"] for count in counts),
        rows=rows,
        same=tuple(shard.shard.identity for shard, count in zip(shards, counts, strict=True) if count["same"]),
        settings=stage.key.settings,
        thresholds=thresholds,
        unnamed=unnamed,
    )


def _check_there(filters: Sequence[Filter], unnamed: Mapping[str, int], rows: int) -> None:
    """Refuse a filter by a number that no sample of the pool has: a name that is not the pool's, by an InputError."""
    for step in filters:
        if step.column is not None and rows and unnamed.get(FIELD.format(step.column.name)) == rows:
            raise InputError(
                f"filters.column: none of {rows:,} samples has a number as {step.column.name}; correct the name here "
                "and in input.fields"
            )


def _summed(parts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Return the sums of counts, by name."""
    return {name: sum(part[name] for part in parts) for name in (parts[0] if parts else {})}


def _find_repeats(stage: StageRun, shards: Sequence[EmbeddedShard], rows: int) -> int:
    """Find the rows whose uid occurred before; return the number of buckets that hold them."""
    buckets, store = bucket_count(rows), stage.store
    spreading = [
        of_shard(task(f"uids-{s.identity}", spread_uids, s, at, buckets, store), s) for at, s in enumerate(shards)
    ]
    stage.map(spreading, "shards of uids")
    names = sent_names(SPREAD_NAME.format, shards)
    finding = [task(f"repeats-{bucket:08d}", find_repeats, bucket, names, store) for bucket in range(buckets)]
    stage.map(finding, "buckets of uids")
    return buckets


def _judging(
    stage: StageRun, filters: Sequence[Filter], shards: Sequence[EmbeddedShard], rows: int, uid_buckets: int
) -> Judging:
    """Return the filters as rules; a fraction is of the rows that the filters before it let pass."""
    settings: Settings = stage.key.settings
    judging, read = Judging(), iter(settings.read)
    for step in filters:
        number, cut = len(judging.rules), step.clip_score
        if step.words is not None:
            rule = Rule(step, words=_kept_list(stage, stored_list, step.words, number, next(read)))
        elif step.exclude is not None:
            rule = Rule(step, exclusion=_kept_list(stage, stored_exclusion, step.exclude, number, next(read)))
        elif step.head is not None:
            rule = Rule(step, head=_kept_list(stage, stored_head, step.head, number, next(read)))
        elif step.language is not None:
            rule = Rule(step, detector=next(read))
        elif (near := step.hash_duplicates) is not None:
            rule = Rule(step, repeats=find_hash_repeats(stage, shards, judging, near, rows, uid_buckets))
            judging = judging.known_to(number)
        elif cut is None:
            rule = Rule(step)
        elif cut.threshold is not None:
            rule = Rule(step, cut.threshold)
        else:
            rule = Rule(step, score_threshold(stage, shards, judging, cut.keep or 1.0, score_column(cut.of)))
            judging = judging.known_to(number)
        judging = judging.followed_by(rule)
    return judging


def _kept_list(stage: StageRun, stored: Callable[[R, int, str, Store], L], rule: R, number: int, identity: str) -> L:
    try:
        return stored(rule, number, identity, stage.store)
    except RunError:
        # An older version may have judged shards by another list.
        stage.forget()
        raise


def _previous_results(
    reusable: Reusable | None, settings: Any, thresholds: Sequence[float]
) -> dict[str, PreviousResult]:
    """Return the base's decisions about the shards that have not changed, by identity."""
    if reusable is None or not reusable.has_whole(NAME):
        return {}
    found = reusable.base.result(NAME, FiltersResult)
    # Through JSON, as the base's were: it has no tuples.
    judged = [found.settings, list(found.thresholds)] == json.loads(json.dumps([settings, list(thresholds)]))
    # Which row is the first with a hash changes with the pool.
    judged &= not any("hash_duplicates" in step for step in settings.filters)
    return dict.fromkeys(reusable.identities(NAME), PreviousResult(reusable.base.store(NAME), judged))


def _filter_shard(
    shard: EmbeddedShard, judging: Judging, at: int, buckets: int, previous: PreviousResult | None, store: Store
) -> JudgedShard:
    name, repeats = REASONS_NAME.format(shard.shard.identity), read_repeats(store, buckets, at)
    earlier = previous.store.read_table(name)["reason"].to_pylist() if previous else []
    repeated = {row: reason for row, reason in enumerate(earlier) if reason in REPEATED}
    if previous and previous.judged and repeated == repeats:
        reasons = earlier
    else:
        reasons = _reasons(judged(shard, judging, store).tolist(), judging.rules, repeats)
    store.write_table(name, pa.table([pa.array(reasons, pa.string())], schema=schemas.REASONS))
    same = previous is not None and [one is None for one in reasons] == [one is None for one in earlier]
    columns = {name for rule in judging.rules for name in rule.unnamed()}
    unnamed = {name: shard.rows([name])[name].null_count for name in sorted(columns)}
    return JudgedShard(rows=len(reasons), passed=reasons.count(None), same=same, unnamed=unnamed)


def _reasons(failed: Sequence[int], rules: Sequence[Rule], repeats: Mapping[int, str]) -> list[str | None]:
    reasons = [None if number == PASSES else f"filter:{rules[number].step.kind}" for number in failed]
    for row, reason in repeats.items():
        reasons[row] = reason
    return reasons
