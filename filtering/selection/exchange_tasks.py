"""The tasks of an exchange of picks: what blocks of partitions hold, rounds of picks, and the picks that are kept.

A block is some partitions that pick in one task: of few rows, each would spend a round's time with opening objects.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from filtering.config.methods import NoveltySettings
from filtering.config.selection import Step
from filtering.core.csr import Int64Array, inverse_order
from filtering.core.radix_select import Digits, at_or_above, score_digits, split_digits
from filtering.graph.sharded import positions
from filtering.runtime.rank_counts import count_keys
from filtering.runtime.records import RowCount
from filtering.runtime.shuffle import Records, packed
from filtering.selection.artifacts import BUDGETS_NAME, PICK
from filtering.selection.cuts import ROW_DIGITS, Cut, write_cells
from filtering.selection.exchange import (
    NO_LEVEL,
    Bordered,
    ConceptPicks,
    Ends,
    Exchange,
    PickTimes,
    Reached,
    bordered,
)
from filtering.selection.kernel import Float64Array
from filtering.selection.novelty import unit_of, weights_of
from filtering.selection.registry import weighs_novelty
from filtering.selection.scores import Survivors, read_collected, survivors
from filtering.selection.selectors import kernel_of, messages_of
from filtering.selection.tasks import PickCount, SelectionCount, write_picks
from filtering.storage.store import Store

BORDERED_SUFFIX = ".bordered.npz"
BORDERED_NAME = "{:08d}" + BORDERED_SUFFIX
CANDIDATES_NAME, TIMES_NAME = "{:08d}.candidates.npz", "{:08d}.times.npz"
# A key of a pick's time, the last one its own.
KEY = np.dtype([("value", "<f8"), ("row", "<i8"), ("last", "?")])
# A pick that may be kept, with what says when the pool's greedy makes it: the level, the row that reached it, and the
# place among the concept's picks at this level.
CANDIDATE = np.dtype([("partition", "<i4"), *PICK.descr, ("level", "<f8"), ("trigger", "<i8"), ("place", "<i8")])
# Digits of a candidate's key, 16 bits each: level, trigger, place, row.
LEVEL_DIGITS, PLACE_DIGITS = 4, 2
CANDIDATE_DIGITS = LEVEL_DIGITS + ROW_DIGITS + PLACE_DIGITS + ROW_DIGITS


class ExchangeCount(PickCount):
    """The result of a round in a partition: besides, whether its picks are others than in the round before."""

    changed: bool


@dataclass(frozen=True, slots=True)
class Round:
    """A round of picks: how picks reach others, whose picks are taken in, and until when they are made.

    `before` is the folder of the times of the round before, None in the first. `quotas` says whether the concepts'
    budgets count; where they do not, picks are made until the level is below `level`.
    """

    reached: Reached
    before: Store | None
    quotas: bool
    level: float = NO_LEVEL


@dataclass(frozen=True, slots=True)
class Block:
    """Some partitions, each with those that it shares edges with, and the other blocks that these are in."""

    number: int
    partitions: tuple[tuple[int, tuple[int, ...]], ...]
    adjacent: tuple[int, ...]


def write_bordered(block: Block, step: Step, graph: Store, scores: Store, store: Store) -> RowCount:
    """Write a block's samples with their edges, and their scores after forward messages from those in `scores`."""
    parts = [_part(number, near, step, graph, scores, store) for number, near in block.partitions]
    whole = Bordered.joined(parts)
    store.write_arrays(BORDERED_NAME.format(block.number), whole.arrays())
    return RowCount(rows=len(whole.row))


def _part(number: int, adjacent: Sequence[int], step: Step, graph: Store, scores: Store, store: Store) -> Bordered:
    found = survivors(number, adjacent, graph, scores)
    return _nothing() if found is None else _bordered(number, found, step, read_collected(store, number))


def _bordered(number: int, found: Survivors, step: Step, own: Records) -> Bordered:
    order = np.argsort(found.touched)
    place = inverse_order(order)
    ends = Ends(found.touched[order], found.score_of[order], place[: len(found.part.row)], place[found.edges])
    make = _novel if isinstance(step.settings, NoveltySettings) else _paper
    columns = make(found, step, own[positions(np.ascontiguousarray(own["row"]), found.part.row)])
    return bordered(number, found.part.concept, found.part.indptr, found.part.distances, ends, **columns)


def _nothing() -> Bordered:
    ends = Ends(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int64))
    columns = {name: np.zeros(0) for name in ("x", "p", "worth", "unit")}
    return bordered(0, np.zeros(0, np.int32), np.zeros(1, np.int64), np.zeros(0, np.float32), ends, **columns)


def _novel(found: Survivors, step: Step, own: Records) -> dict[str, Float64Array]:
    p = found.score_of[: len(found.part.row)]
    worth = p * weights_of(own["second"]) if weighs_novelty(step) else p
    unit = [unit_of(samples.graph.distances) for _, samples in found.concepts()]
    return {"x": worth - (1.0 - p), "p": p, "worth": worth, "unit": np.array(unit, np.float64)}


def _paper(found: Survivors, step: Step, own: Records) -> dict[str, Float64Array]:
    settings: Any = step.settings
    x, unit = [np.zeros(0)], []
    for _, samples in found.concepts():
        x.append(messages_of(samples, settings) if settings.rounds else samples.scores)
        unit.append(kernel_of(samples, settings).unit)
    return {"x": np.concatenate(x), "p": np.zeros(0), "worth": np.zeros(0), "unit": np.array(unit, np.float64)}


def reached_of(step: Step) -> Reached:
    """Return how the picks of a step reach other samples."""
    settings: Any = step.settings
    if isinstance(settings, NoveltySettings):
        return Reached(novel=True)
    return Reached(False, settings.gamma_reverse, settings.distance == "euclidean")


def pick_round(block: Block, one: Round, here: Store, store: Store) -> ExchangeCount:
    """Let the concepts of a block pick, and write the times of the picks whose edges cross a border to `here`."""
    bordered, exchange = _exchange(block, one, store)
    budgets = _budgets(bordered, one, store)
    # The first picks of all tell down to which level the next rounds pick.
    every = not (one.quotas or one.before)
    picks = sum(len(found.places) for found in exchange.picks(budgets, one.level, every=every))
    before = read_times(one.before, [block.number]) if one.before else None
    write_times(here, block.number, exchange.seen)
    return ExchangeCount(picks=picks, changed=before is None or not before.same(exchange.seen))


def _exchange(block: Block, one: Round, store: Store) -> tuple[Bordered, Exchange]:
    bordered = Bordered.of(store.read_arrays(BORDERED_NAME.format(block.number)))
    times = read_times(one.before, [block.number, *block.adjacent]) if one.before else None
    return bordered, Exchange(bordered, one.reached, times)


def _budgets(bordered: Bordered, one: Round, store: Store) -> Int64Array:
    if not one.quotas:
        return np.diff(bordered.first)
    budgets: Int64Array = store.read_arrays(BUDGETS_NAME)["budgets"][bordered.concept]
    return budgets


def pick_last(block: Block, one: Round, store: Store) -> SelectionCount:
    """Let the concepts of a block spend their budgets in the last round, and write the picks."""
    bordered, exchange = _exchange(block, one, store)
    picks = _records(block, bordered, list(exchange.picks(_budgets(bordered, one, store), one.level)), store)
    return _written(block, picks, len(bordered.concept), store)


def _written(block: Block, picks: Records, concepts: int, store: Store) -> SelectionCount:
    """Write the picks of a block's partitions."""
    for number, _ in block.partitions:
        own = picks[picks["partition"] == number]
        write_picks(store, number, packed(PICK, **{name: own[name] for name in PICK.names or ()}))
    return SelectionCount(picks=len(picks), concepts=concepts, selected=concepts)


def _records(block: Block, bordered: Bordered, found: Sequence[ConceptPicks], store: Store) -> Records:
    """Return picks, CANDIDATE (p,), with their ranks in concepts and the scores they came with; not their keys."""
    places = np.concatenate([np.zeros(0, np.int64), *(one.places for one in found)])
    own = np.concatenate([read_collected(store, number) for number, _ in block.partitions])
    own = own[positions(np.ascontiguousarray(own["row"]), bordered.row[places])]
    records = np.zeros(len(places), CANDIDATE)
    for name in ("row", "concept", "score"):
        records[name] = own[name]
    records["rank"] = np.concatenate([np.zeros(0, np.int64), *(np.arange(len(one.places)) for one in found)])
    records["partition"] = np.repeat(bordered.partition, [len(one.places) for one in found])
    return records


def write_candidates(block: Block, one: Round, here: Store, store: Store) -> PickCount:
    """Let a block's concepts pick in the last round, and write the picks to `here` with their keys in the pool."""
    bordered, exchange = _exchange(block, one, store)
    records = _records(
        block, bordered, list(exchange.picks(_budgets(bordered, one, store), one.level, every=True)), store
    )
    times = exchange.seen
    first = times.starts[:-1]
    records["level"], records["trigger"] = times.values[first], times.rows[first]
    records["place"] = _places(times.rows[first])
    here.write_arrays(CANDIDATES_NAME.format(block.number), {"candidates": records})
    return PickCount(picks=len(records))


def _places(triggers: Int64Array) -> Int64Array:
    """Return the place of each pick in its run of equal triggers, int64 (p,)."""
    starts = np.flatnonzero(np.diff(triggers, prepend=-1))
    return np.arange(len(triggers)) - np.repeat(starts, np.diff(np.append(starts, len(triggers))))


def candidate_keys(candidates: Records) -> Digits:
    """Return the keys of candidates, uint16 (p, 14): the pool's greedy picks the greatest first."""
    level = score_digits(np.ascontiguousarray(candidates["level"]))
    later = (("trigger", ROW_DIGITS), ("place", PLACE_DIGITS), ("row", ROW_DIGITS))
    others = [split_digits(~candidates[name].astype(np.uint64), digits) for name, digits in later]
    return np.concatenate([level, *others], axis=1)


def read_candidates(store: Store, block: int) -> Records:
    """Return the candidates of a block, CANDIDATE (p,)."""
    candidates: Records = store.read_arrays(CANDIDATES_NAME.format(block))["candidates"]
    return candidates


def count_candidates(block: int, prefix: Cut, task_name: str, here: Store, store: Store) -> RowCount:
    """Count a block's candidates whose keys begin with `prefix` by their next digit."""
    return count_keys(store, task_name, candidate_keys(read_candidates(here, block)), prefix)


def count_kept(block: int, cut: Cut, here: Store, store: Store) -> RowCount:
    """Count a block's candidates at or above a cut by concept."""
    candidates = read_candidates(here, block)
    concept, count = np.unique(candidates["concept"][_kept(candidates, cut)], return_counts=True)
    write_cells(store, block, concept.astype(np.int64), count)
    return RowCount(rows=int(count.sum()))


def _kept(candidates: Records, cut: Cut) -> npt.NDArray[np.bool_]:
    return at_or_above(candidate_keys(candidates), cut) if cut else np.zeros(len(candidates), dtype=bool)


def count_levels(block: int, prefix: Cut, task_name: str, here: Store, store: Store) -> RowCount:
    """Count the levels at which a block's picks were made, those that begin with `prefix` by the next digit."""
    return count_keys(store, task_name, score_digits(read_times(here, [block]).levels), prefix)


def keep_candidates(block: Block, cut: Cut, here: Store, store: Store) -> SelectionCount:
    """Write the candidates of a block at or above a cut as picks; none where the cut is empty."""
    candidates = read_candidates(here, block.number)
    chosen = candidates[_kept(candidates, cut)]
    return _written(block, chosen, len(np.unique(candidates["concept"])), store)


def write_times(store: Store, block: int, times: PickTimes) -> None:
    """Write the times of a block's picks."""
    last = np.zeros(len(times.rows), dtype=bool)
    last[times.starts[1:] - 1] = True
    # One array: a block reads those of all that it shares edges with, in every round.
    keys = packed(KEY, value=times.values, row=times.rows, last=last)
    store.write_arrays(TIMES_NAME.format(block), {"keys": keys})


def read_times(store: Store, blocks: Sequence[int]) -> PickTimes:
    """Return the times of the picks of some blocks."""
    keys = np.concatenate([store.read_arrays(TIMES_NAME.format(number))["keys"] for number in blocks])
    starts = np.append(0, np.flatnonzero(keys["last"]) + 1)
    return PickTimes(starts, np.ascontiguousarray(keys["value"]), np.ascontiguousarray(keys["row"]))
