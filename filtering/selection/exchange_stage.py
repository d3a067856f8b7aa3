"""Rounds in which concepts exchange the picks at their borders, and the picks after the last one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from filtering.concepts.packing import MOST_ROWS
from filtering.config.methods import exchanges_of
from filtering.config.selection import Step
from filtering.core.radix_select import WIDE_DIGITS, join_digits, wide_score_of
from filtering.runtime.rank_counts import key_at_rank
from filtering.runtime.records import RowCount
from filtering.runtime.stage import StageRun
from filtering.runtime.stage_objects import consume, consume_folder
from filtering.runtime.task_spec import TaskSpec, task
from filtering.selection.artifacts import BUDGETS_NAME, Pool
from filtering.selection.cuts import Cut, read_cells
from filtering.selection.exchange import NO_LEVEL
from filtering.selection.exchange_tasks import (
    BORDERED_SUFFIX,
    CANDIDATE_DIGITS,
    Block,
    Round,
    count_candidates,
    count_kept,
    count_levels,
    keep_candidates,
    pick_last,
    pick_round,
    reached_of,
    write_bordered,
    write_candidates,
)
from filtering.selection.tasks import SelectionCount
from filtering.storage.store import Store

# Pools have at least this many blocks, where they have as many partitions, so that as many workers have work.
BLOCKS = 8
EXCHANGE, CANDIDATES, WHOLE = "exchange-", "candidates", "candidates-whole"
# Of a budget for the pool, how much further than the budget reached the concepts pick before the last round, and with
# how many digits that level is found.
SPARE, COARSE = 0.6, 2


def exchanges_picks(step: Step) -> bool:
    """Return whether concepts exchange picks in a step."""
    return exchanges_of(step.settings) > 0


def spends_pool(step: Step) -> bool:
    """Return whether a step has one budget for the pool, spent on the first picks of all concepts together."""
    return exchanges_picks(step) and step.budget_name == "pool"


def blocks_of(adjacent: Mapping[int, Sequence[int]], partitions: int, rows: int) -> list[Block]:
    """Return blocks of partitions that lie side by side, of a pool of so many rows; a large partition is one alone."""
    most = MOST_ROWS * partitions // max(rows, 1)
    size = max(1, min(-(-partitions // BLOCKS), most))
    spans = [range(start, min(start + size, partitions)) for start in range(0, partitions, size)]
    near = [{other // size for at in span for other in adjacent.get(at, [])} for span in spans]
    return [
        Block(number, tuple((at, tuple(adjacent.get(at, []))) for at in span), tuple(sorted(others - {number})))
        for number, (span, others) in enumerate(zip(spans, near, strict=True))
    ]


@dataclass(frozen=True, slots=True)
class Exchanging:
    """The rounds of a step: its stage, its pool, and the blocks of partitions that pick in one task."""

    stage: StageRun
    step: Step
    pool: Pool
    blocks: Sequence[Block]

    def select(self, scores: Store, total: int, concepts: int) -> tuple[list[SelectionCount], int]:
        """Pick in every partition, `total` samples where the budget is the pool's; return the counts, and the rounds.

        `scores` has the scores after all rounds of forward messages but the last.
        """
        store, step = self.stage.store, self.step
        self.stage.map(
            [
                task(f"borders-{one.number:08d}", write_bordered, one, step, self.pool.graph, scores, store)
                for one in self.blocks
            ],
            "blocks of partitions",
        )
        last, rounds = self._rounds(total)
        counts = self._pool_picks(last, total, concepts) if spends_pool(step) else self._quota_picks(last)
        consume(store, BORDERED_SUFFIX)
        for number in range(rounds):
            consume_folder(store, f"{EXCHANGE}{number}")
        return counts, rounds

    def _rounds(self, total: int) -> tuple[Round, int]:
        """Take all rounds but the last; return the last one, and how many there are beside it."""
        one = Round(reached_of(self.step), None, not spends_pool(self.step))
        for number in range(exchanges_of(self.step.settings)):
            name = f"{EXCHANGE}{number}"
            here = self.stage.store.child(name)
            tasks = [
                task(f"{name}-{block.number:08d}", pick_round, block, one, here, self.stage.store)
                for block in self.blocks
            ]
            counts = self.stage.map(tasks, "blocks that exchange picks")
            if number == 0 and not one.quotas:
                one = replace(one, level=self._level(here, total))
            one = replace(one, before=here)
            if not any(count["changed"] for count in counts):
                return one, number + 1
        return one, exchanges_of(self.step.settings)

    def _level(self, here: Store, total: int) -> float:
        """Return a level that the picks of the first round are at or above, the budget and some more of them."""

        def tasks_of(name: str, prefix: Cut) -> list[TaskSpec[RowCount]]:
            names = [f"{name}-{at:08d}" for at in range(len(self.blocks))]
            store = self.stage.store
            return [task(one, count_levels, at, prefix, one, here, store) for at, one in enumerate(names)]

        digits = key_at_rank(
            *(self.stage, "level", tasks_of, lambda rows: min(int(total * (1 + SPARE)), rows - 1), COARSE),
            unit="blocks counted",
            whole=True,
        )
        if not digits:
            return NO_LEVEL
        return wide_score_of(join_digits([*digits, *[0] * (WIDE_DIGITS - COARSE)]))

    def _quota_picks(self, last: Round) -> list[SelectionCount]:
        tasks = [task(f"{block.number:08d}", pick_last, block, last, self.stage.store) for block in self.blocks]
        return self.stage.map(tasks, "partitions")

    def _pool_picks(self, last: Round, total: int, concepts: int) -> list[SelectionCount]:
        """Keep the first picks of all concepts together, and write how many each has as its budget."""
        store, here = self.stage.store, self._candidates(last, total)
        cut = self._cut(here, total) if total else ()
        numbers = range(len(self.blocks))
        self.stage.map(
            [task(f"kept-{at:08d}", count_kept, at, cut, here, store) for at in numbers], "partitions counted"
        )
        cell, count = read_cells(store, len(self.blocks))
        budgets = np.zeros(concepts, dtype=np.int64)
        budgets[cell] = count
        store.write_arrays(BUDGETS_NAME, {"budgets": budgets})
        counts = self.stage.map(
            [task(f"{one.number:08d}", keep_candidates, one, cut, here, store) for one in self.blocks], "partitions"
        )
        for name in (CANDIDATES, WHOLE):
            consume_folder(store, name)
        return counts

    def _candidates(self, last: Round, total: int) -> Store:
        """Write the picks of the last round down to its level, or all where those are fewer than the budget."""
        for name, one in ((CANDIDATES, last), (WHOLE, replace(last, level=NO_LEVEL))):
            here = self.stage.store.child(name)
            tasks = [
                task(f"{name}-{block.number:08d}", write_candidates, block, one, here, self.stage.store)
                for block in self.blocks
            ]
            if sum(count["picks"] for count in self.stage.map(tasks, "blocks that pick")) >= total:
                break
        return here

    def _cut(self, here: Store, total: int) -> Cut:
        """Return the cut below the last candidate that the budget reaches."""

        def tasks_of(name: str, prefix: Cut) -> list[TaskSpec[RowCount]]:
            names = [f"{name}-{at:08d}" for at in range(len(self.blocks))]
            store = self.stage.store
            return [task(one, count_candidates, at, prefix, one, here, store) for at, one in enumerate(names)]

        return key_at_rank(self.stage, "cut", tasks_of, lambda _: total - 1, CANDIDATE_DIGITS, unit="blocks counted")
