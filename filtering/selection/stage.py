"""The selection stages: scores to their partitions, budgets over all concepts, then one task a partition."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from filtering.concepts.artifacts import read_concepts
from filtering.config.methods import DECIDED, D2Settings
from filtering.config.resolution import without_paper
from filtering.config.selection import Step
from filtering.core.formatting import counted
from filtering.graph.artifacts import read_adjacent
from filtering.runtime.rank_counts import COUNTS_SUFFIX
from filtering.runtime.shard_groups import sent_names
from filtering.runtime.stage import StageKey, StageRun
from filtering.runtime.stage_objects import consume, consume_folder
from filtering.runtime.task_spec import task
from filtering.selection.allotment import surviving_concepts, write_budgets
from filtering.selection.artifacts import BUDGETS_NAME, Pool, PreviousResult, ScoreStores, SelectionResult
from filtering.selection.exchange_stage import Exchanging, blocks_of, exchanges_picks
from filtering.selection.registry import selector_of
from filtering.selection.scores import (
    SENT_NAME,
    SENT_SUFFIX,
    VECTORS_NAME,
    VECTORS_SUFFIX,
    collect_scores,
    send_scores,
    send_vectors,
)
from filtering.selection.tasks import SelectionCount, Sources, combine, pass_messages, select
from filtering.storage.store import Store

VERSION = 11
NAME = "selection"
# Keys of a step that are not settings of its stage: scores are inputs, and `selection_key` itself reads `per`.
APART = ("score", "difficulty", "fit", "per")
ROUND = "round-"
SELECTED_AGAIN = "; "
BELOW_0 = (
    "selection.score: {} with a score below 0: D2's variant paper needs scores above 0, as a pick with one below 0 "
    "raises its neighbours, which it should lower; use {{combine: {{of: [{{score: NAME}}], by: rank}}}}"
)


def selection_key(name: str, step: Step, inputs: Sequence[str], previous: PreviousResult | None = None) -> StageKey:
    """Return the identity of one step; its inputs are the graph, the scores and the step before, if there is one."""
    settings: Any = without_paper({key: value for key, value in step.model_dump().items() if key not in APART})
    if step.per == "increment":
        # The samples that an increment adds depend on the base.
        settings = [settings, previous.total, sorted(previous.shards)] if previous else [settings, 0, []]
    return StageKey(name, VERSION, settings, tuple(inputs))


def unchanged_result(base: SelectionResult) -> SelectionResult:
    """Return the result of a step whose picks are a base's."""
    summary = base.summary.partition(SELECTED_AGAIN)[0]
    return replace(base, selected_concepts=0, summary=f"{summary}{SELECTED_AGAIN}no concept selected again")


def sets_key(name: str, rule: str, inputs: Sequence[str]) -> StageKey:
    """Return the identity of the stage that combines the picks of other steps."""
    return StageKey(name, VERSION, rule, tuple(inputs))


def select_coreset(
    stage: StageRun,
    step: Step,
    pool: Pool,
    scores: ScoreStores,
    before: Store | None = None,
    previous: PreviousResult | None = None,
) -> SelectionResult:
    """Spend the budget and write each partition's picks; return how many samples were kept.

    `before` has the picks of the step before, None for the first step; `previous` is the base's result of this one.
    """
    adjacent = read_adjacent(pool.graph)
    available, below_0, new = _collect(stage, pool, scores, before, previous)
    wanted = wanted_total(step.keep, available)
    if step.per == "increment":
        wanted = (previous.total if previous else 0) + wanted_total(step.keep, new)
    total = min(wanted, available)
    write_budgets(stage, step, pool, total, available, wide=scores.wide)
    counts, exchanged = _select(stage, step, pool, adjacent, previous, total, available)
    # The scores stay, by partition: the report and `filtering explain` read them.
    for suffix in (VECTORS_SUFFIX, COUNTS_SUFFIX):
        consume(stage.store, suffix)
    for name in rounds(step):
        consume_folder(stage.store, name)
    picks = sum(count["picks"] for count in counts)
    return SelectionResult(
        picks=picks,
        available=available,
        wanted=picks if step.budget_name in DECIDED else wanted,
        summary=_summary(step, counts, available, previous is not None) + exchanged,
        total=total,
        selected_concepts=sum(count["selected"] for count in counts),
        warnings=_warnings(step, below_0),
    )


def _warnings(step: Step, below_0: int) -> tuple[str, ...]:
    """Return a line for the scores below 0 of a step whose picks lower other scores by a share of their own."""
    return (BELOW_0.format(counted(below_0, "sample")),) if below_0 and isinstance(step.settings, D2Settings) else ()


def combine_picks(stage: StageRun, rule: str, parts: Sequence[Store], pool: Pool) -> SelectionResult:
    """Write the picks that all of some steps have, or any; return how many."""
    numbers = range(pool.partitions)
    tasks = [task(f"{number:08d}", combine, number, rule, list(parts), stage.store) for number in numbers]
    picked = sum(count["picks"] for count in stage.map(tasks, "partitions"))
    stage.store.write_arrays(BUDGETS_NAME, {"budgets": surviving_concepts(stage, pool)["size"].to_numpy()})
    return SelectionResult(picked, picked, picked, f"{picked:,} samples in {rule} of {len(parts)} selections")


def wanted_total(keep: float, available: int) -> int:
    """Return how many samples to keep: a fraction (a float) of those that reach selection, or a number (an int)."""
    return keep if isinstance(keep, int) else int(available * keep + 1e-9)


def _collect(
    stage: StageRun, pool: Pool, scores: ScoreStores, before: Store | None, previous: PreviousResult | None
) -> tuple[int, int, int]:
    """Bring the scores to their partitions.

    Return how many rows are still there, how many of them have a score below 0, and how many rows the base had not.
    """
    store = stage.store
    counts = stage.over_shards("send", "shards", pool.shards, send_scores, pool.concepts, scores, store)
    sent = zip(pool.shards, counts, strict=True)
    known = previous.shards if previous else frozenset()
    new = sum(count["rows"] for shard, count in sent if shard.identity not in known)
    names = sent_names(SENT_NAME.format, pool.shards)
    collecting = [
        task(f"collect-{number:08d}", collect_scores, number, names, before, store, scores.wide)
        for number in range(pool.partitions)
    ]
    collected = stage.map(collecting, "partitions collected")
    consume(store, SENT_SUFFIX)
    return sum(count["rows"] for count in collected), sum(count["below_0"] for count in collected), new


def _select(
    stage: StageRun,
    step: Step,
    pool: Pool,
    adjacent: Mapping[int, Sequence[int]],
    previous: PreviousResult | None,
    total: int,
    available: int,
) -> tuple[list[SelectionCount], str]:
    """Select in every partition; return the counts, and in words how often concepts exchanged picks."""
    scores = _pass_messages(stage, step, pool, adjacent)
    if exchanges_picks(step):
        blocks = blocks_of(adjacent, pool.partitions, available)
        concepts = len(read_concepts(pool.concepts))
        counts, done = Exchanging(stage, step, pool, blocks).select(scores, total, concepts)
        return counts, f", {counted(done, 'exchange')} of picks"
    vectors = _send_vectors(stage, pool) if selector_of(step).vectors else ()
    sources = Sources(pool.graph, scores, previous.store if previous else None, vectors)
    tasks = [
        task(f"{number:08d}", select, number, adjacent.get(number, []), step, sources, stage.store)
        for number in range(pool.partitions)
    ]
    return stage.map(tasks, "partitions"), ""


def _pass_messages(stage: StageRun, step: Step, pool: Pool, adjacent: Mapping[int, Sequence[int]]) -> Store:
    """Run all rounds of forward messages but the last, which selecting runs; return the folder of the scores then."""
    scores, settings = stage.store, step.settings
    for name in rounds(step):
        assert isinstance(settings, D2Settings)
        after = stage.store.child(name)
        tasks = [
            task(f"{name}-{at:08d}", pass_messages, at, adjacent.get(at, []), settings, pool.graph, scores, after)
            for at in range(pool.partitions)
        ]
        stage.map(tasks, "partitions of messages")
        scores = after
    return scores


def rounds(step: Step) -> list[str]:
    """Return the folders of the scores after each round of forward messages but the last."""
    settings = step.settings
    return [f"{ROUND}{number}" for number in range(1, settings.rounds)] if isinstance(settings, D2Settings) else []


def _send_vectors(stage: StageRun, pool: Pool) -> tuple[str, ...]:
    """Send every row's vector to its partition; return the names of the objects that hold them."""
    counts = stage.over_shards("vectors", "shards of vectors", pool.shards, send_vectors, pool.concepts, stage.store)
    return tuple(sent_names(VECTORS_NAME.format, pool.shards, [count["rows"] for count in counts]))


def _summary(step: Step, counts: Sequence[SelectionCount], available: int, based: bool) -> str:
    picks, spent = sum(count["picks"] for count in counts), f", {step.budget_name} budgets" if step.budget_name else ""
    summary = f"{picks:,} of {available:,} samples kept by {step.method}{spent}"
    if not based:
        return summary
    concepts, selected = (sum(count["concepts"] for count in counts), sum(count["selected"] for count in counts))
    return f"{summary}{SELECTED_AGAIN}{selected:,} of {concepts:,} concepts selected again"
