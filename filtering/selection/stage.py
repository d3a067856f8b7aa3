"""The selection stages: scores to their partitions, budgets over all concepts, then one task a partition."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from filtering.concepts.artifacts import read_concepts
from filtering.config.methods import (
    DECIDED,
    D2Settings,
    HierarchicalBudget,
    MinimumBudget,
    StrataBudget,
    ThresholdSettings,
)
from filtering.config.selection import Step
from filtering.core.csr import Int64Array
from filtering.core.radix_select import SCORE_DIGITS, order_keys, split_digits
from filtering.filters.artifacts import PassingShard
from filtering.graph.artifacts import read_adjacent
from filtering.runtime.rank_counts import COUNTS_SUFFIX, key_at_rank
from filtering.runtime.records import RowCount
from filtering.runtime.stage import StageKey, StageRun
from filtering.runtime.task_spec import TaskSpec, task
from filtering.selection import pool
from filtering.selection.artifacts import BUDGETS_NAME, SelectionResult
from filtering.selection.hierarchy import hierarchical_budgets
from filtering.selection.registry import BUDGETS, SELECTORS
from filtering.selection.scores import (
    COUNTS_NAME,
    SENT_NAME,
    SENT_SUFFIX,
    VECTORS_NAME,
    VECTORS_SUFFIX,
    collect_scores,
    send_scores,
    send_vectors,
)
from filtering.selection.tasks import combine, pass_messages, read_hierarchy, select, write_hierarchy
from filtering.storage.store import Store

VERSION = 6
NAME = "selection"
# Keys of a step that are not settings of its stage: scores are inputs, and what an increment adds to is told apart.
APART = ("score", "difficulty", "per")


@dataclass(frozen=True, slots=True)
class Pool:
    """What every step of selection reads.

    Attributes
    ----------
    shards : the pool's shards after the filters.
    concepts, graph : where those stages' objects are.
    partitions : how many there are.
    """

    shards: Sequence[PassingShard]
    concepts: str
    graph: str
    partitions: int


@dataclass(frozen=True, slots=True)
class PreviousResult:
    """What a base left of a step of selection.

    Attributes
    ----------
    url : where its picks are.
    total : how many samples it could keep.
    shards : identities of the shards that it had and that are there as they were.
    """

    url: str
    total: int
    shards: frozenset[str]


def selection_key(name: str, step: Step, inputs: Sequence[str], before: PreviousResult | None = None) -> StageKey:
    """Return the identity of one step; its inputs are the graph, the scores and the step before, if there is one."""
    settings: Any = {key: value for key, value in step.model_dump().items() if key not in APART}
    if step.per == "increment":
        # What an increment adds depends on what was there.
        settings = [settings, before.total, sorted(before.shards)] if before else [settings, 0, []]
    return StageKey(name, VERSION, settings, tuple(inputs))


def sets_key(name: str, rule: str, inputs: Sequence[str]) -> StageKey:
    """Return the identity of the stage that combines the picks of other steps."""
    return StageKey(name, VERSION, rule, tuple(inputs))


def select_coreset(
    stage: StageRun,
    step: Step,
    source: Pool,
    scores: tuple[str, str],
    before: str | None = None,
    base: PreviousResult | None = None,
) -> SelectionResult:
    """Spend the budget and write each partition's picks; return how many and what was noticed.

    Parameters
    ----------
    scores : two str
        Where the scores are, and what strata are cut by.
    before : str or None
        Where the picks of the step before are; None for the first.
    base : PreviousResult or None
        What a base left of this step.
    """
    url, numbers = stage.store.url, range(source.partitions)
    adjacent = read_adjacent(Store(source.graph))
    available, new = _collect(stage, source, scores, before, base)
    wanted = wanted_total(step.keep, available)
    if step.per == "increment":
        wanted = (base.total if base else 0) + wanted_total(step.keep, new)
    total = min(wanted, available)
    _write_budgets(stage, step, source, total, available)
    source_url = _passed_messages(stage, step, source, adjacent)
    vectors = _sent_vectors(stage, source) if SELECTORS[step.method].vectors else []
    arguments = (step, vectors, source.graph, source_url, base.url if base else None, url)
    tasks = [task(f"{number:08d}", select, number, adjacent.get(number, []), *arguments) for number in numbers]
    counts = stage.map(tasks, "partitions")
    # The scores stay, by partition: the page and `filtering explain` read them.
    for suffix in (VECTORS_SUFFIX, COUNTS_SUFFIX):
        stage.store.delete_all(suffix)
    stage.store.delete_folders("round-")
    sums = {key: sum(count[key] for count in counts) for key in ("picks", "concepts", "selected")}
    name = step.budget_name
    picked, spent = sums["picks"], f", {name} budgets" if name else ""
    summary = f"{picked:,} of {available:,} samples kept by {step.method}{spent}"
    if base:
        summary += f"; {sums['selected']:,} of {sums['concepts']:,} concepts selected again"
    return SelectionResult(
        picks=picked,
        available=available,
        wanted=picked if name in DECIDED else wanted,
        summary=summary,
        total=total,
        selected_concepts=sums["selected"],
    )


def combine_picks(stage: StageRun, rule: str, urls: Sequence[str], source: Pool) -> SelectionResult:
    """Write the picks that all of some steps have, or any; return how many."""
    tasks = [
        task(f"{number:08d}", combine, number, rule, list(urls), stage.store.url) for number in range(source.partitions)
    ]
    picked = sum(count["picks"] for count in stage.map(tasks, "partitions"))
    stage.store.write_arrays(BUDGETS_NAME, {"budgets": _surviving(stage, source)["size"].to_numpy()})
    return SelectionResult(picked, picked, picked, f"{picked:,} samples in {rule} of {len(urls)} selections")


def wanted_total(keep: float, available: int) -> int:
    """Return how many samples to keep: a fraction (a float) of those that reach selection, or a number (an int)."""
    return keep if isinstance(keep, int) else int(available * keep + 1e-9)


def _collect(
    stage: StageRun, source: Pool, scores: tuple[str, str], before: str | None, base: PreviousResult | None
) -> tuple[int, int]:
    """Bring the scores to their partitions; return how many rows are still there, and how many the base had not."""
    url = stage.store.url
    tasks = [
        task(f"send-{shard.identity}", send_scores, shard, source.concepts, *scores, url) for shard in source.shards
    ]
    sent = stage.map(tasks, "shards")
    known = base.shards if base else frozenset()
    shards = zip(source.shards, sent, strict=True)
    new = sum(count["rows"] for shard, count in shards if shard.identity not in known)
    names = [SENT_NAME.format(shard.identity) for shard in source.shards]
    tasks = [
        task(f"collect-{number:08d}", collect_scores, number, names, before, url) for number in range(source.partitions)
    ]
    counts = stage.map(tasks, "partitions collected")
    stage.store.delete_all(SENT_SUFFIX)
    return sum(count["rows"] for count in counts), new


def _sent_vectors(stage: StageRun, source: Pool) -> list[str]:
    """Send every row's vector to its partition; return the names of the objects that hold them."""
    tasks = [task(f"vectors-{s.identity}", send_vectors, s, source.concepts, stage.store.url) for s in source.shards]
    counts = stage.map(tasks, "shards of vectors")
    filled = [shard for shard, count in zip(source.shards, counts, strict=True) if count["rows"]]
    return [VECTORS_NAME.format(shard.identity) for shard in filled]


def _passed_messages(stage: StageRun, step: Step, source: Pool, adjacent: dict[int, list[int]]) -> str:
    """Run all rounds of forward messages but the last, which selecting does; return where the scores then are."""
    url = stage.store.url
    own = step.settings
    if not isinstance(own, D2Settings):
        return url
    for number in range(1, own.rounds):
        after = stage.store.child(f"round-{number}").url
        tasks = [
            task(f"round-{number}-{at:08d}", pass_messages, at, adjacent.get(at, []), own, source.graph, url, after)
            for at in range(source.partitions)
        ]
        stage.map(tasks, "partitions of messages")
        url = after
    return url


def _write_budgets(stage: StageRun, step: Step, source: Pool, total: int, available: int) -> None:
    name, settings, table = step.budget_name, step.budget_settings, _surviving(stage, source)
    sizes = table["size"].to_numpy()
    if not name:
        budgets = sizes
    elif isinstance(settings, StrataBudget) and settings.scope == "pool":
        pool.write_strata(stage.store, _strata(stage, settings, source, total, available))
        budgets = sizes
    elif name in ("pool", "threshold"):
        budgets = _counts_above(stage, source, len(sizes), _cut(stage, step, source, total, available))
    else:
        budgets = _allotted(stage, step, table, source, total)
    stage.store.write_arrays(BUDGETS_NAME, {"budgets": budgets})


def _surviving(stage: StageRun, source: Pool) -> pa.Table:
    """Return the table of concepts with the sizes that the steps before have left."""
    table = read_concepts(Store(source.concepts))
    sizes = np.zeros(len(table), dtype=np.int64)
    for number in range(source.partitions):
        counts = stage.store.read_arrays(COUNTS_NAME.format(number))
        sizes[counts["concept"]] = counts["count"]
    return table.set_column(table.column_names.index("size"), "size", pa.array(sizes))


def _allotted(stage: StageRun, step: Step, table: pa.Table, source: Pool, total: int) -> Int64Array:
    """Return what a budget allots to each concept."""
    name, settings = step.budget_name, step.budget_settings
    if isinstance(settings, HierarchicalBudget):
        stage.call("hierarchy", write_hierarchy, source.concepts, settings.levels, settings.seed, stage.store.url)
        return hierarchical_budgets(table["size"].to_numpy(), read_hierarchy(stage.store), total)
    if isinstance(settings, StrataBudget):
        # Strata inside each concept spend what the concept has in proportion to its size.
        name, settings = "proportional", MinimumBudget()
    allot = BUDGETS[name].allot
    assert allot is not None
    return allot(table, total, settings)


def _cut(stage: StageRun, step: Step, source: Pool, total: int, available: int) -> tuple[int, ...] | None:
    """Return the key at and above which rows of the whole pool are kept; none where no row is."""
    if not isinstance(step.settings, ThresholdSettings):
        return _key_at(stage, "cut", source, total - 1) if total else None
    if step.settings.threshold is not None:
        threshold = np.array([step.settings.threshold], np.float32)
        return tuple(split_digits(order_keys(threshold), SCORE_DIGITS)[0].tolist())
    # DataComp's rule: the value at int(n * fraction), and all that equal it.
    place = int(available * step.keep) if isinstance(step.keep, float) else step.keep - 1
    return _key_at(stage, "cut", source, min(place, available - 1), ties=True) if available else None


def _key_at(
    stage: StageRun, label: str, source: Pool, rank: int, ties: bool = False, column: str = "score"
) -> tuple[int, ...]:
    """Return the first digits of the key of the row at a rank: as many as separate it from the rows after it.

    Parameters
    ----------
    ties : bool
        Rows of equal scores are on the same side: the row ids in the keys do not count.
    """

    def tasks_of(name: str, prefix: tuple[int, ...]) -> list[TaskSpec[RowCount]]:
        names = [f"{name}-{number:08d}" for number in range(source.partitions)]
        return [
            task(name, pool.count_digit, number, column, prefix, name, stage.store) for number, name in enumerate(names)
        ]

    digits = SCORE_DIGITS if ties else SCORE_DIGITS + pool.ROW_DIGITS
    return key_at_rank(stage, label, tasks_of, lambda _: rank, digits, unit="partitions counted")


def _counts_above(stage: StageRun, source: Pool, concepts: int, cut: tuple[int, ...] | None) -> Int64Array:
    """Return how many rows of each concept are at or above a cut."""
    budgets = np.zeros(concepts, dtype=np.int64)
    if cut is not None:
        tasks = [
            task(f"above-{number:08d}", pool.count_above, number, cut, stage.store.url)
            for number in range(source.partitions)
        ]
        stage.map(tasks, "partitions counted")
        cell, count = pool.read_cells(stage.store, len(tasks))
        budgets[cell] = count
    return budgets


def _strata(stage: StageRun, settings: StrataBudget, source: Pool, total: int, available: int) -> pool.Strata:
    """Return the pool's difficulty strata with a budget for each of their parts in the concepts."""
    url, numbers, hardest = stage.store.url, range(source.partitions), int(available * settings.drop_hardest)
    cut = _key_at(stage, "hardest", source, hardest - 1, column="difficulty") if hardest else ()
    tasks = [task(f"range-{number:08d}", pool.score_range, number, cut, url) for number in numbers]
    ranges = stage.map(tasks, "partitions measured")
    low = min((found["low"] for found in ranges if found["low"] is not None), default=0.0)
    high = max((found["high"] for found in ranges if found["high"] is not None), default=0.0)
    nothing = np.zeros(0, dtype=np.int64)
    strata = pool.Strata(settings.strata, low, high, cut, nothing, nothing)
    counting = [task(f"cells-{number:08d}", pool.count_cells, number, strata, url) for number in numbers]
    stage.map(counting, "partitions counted")
    cell, count = pool.read_cells(stage.store, len(numbers))
    return replace(strata, cell=cell, budget=pool.cell_budgets(cell, count, settings.strata, total))
