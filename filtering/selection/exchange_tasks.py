"""The tasks of an exchange of picks: what each partition holds, rounds of picks, and the picks that are kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from filtering.config.methods import NoveltySettings
from filtering.config.selection import Step
from filtering.core.csr import Int64Array
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
CANDIDATE = np.dtype([*PICK.descr, ("level", "<f8"), ("trigger", "<i8"), ("place", "<i8")])
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


def write_bordered(
    partition: int, adjacent: Sequence[int], step: Step, graph: Store, scores: Store, store: Store
) -> RowCount:
    """Write a partition's samples with their edges, and their scores after forward messages from those in `scores`."""
    found = survivors(partition, adjacent, graph, scores)
    one = _nothing() if found is None else _bordered(found, step, read_collected(store, partition))
    store.write_arrays(BORDERED_NAME.format(partition), one.arrays())
    return RowCount(rows=len(one.row))


def _bordered(found: Survivors, step: Step, own: Records) -> Bordered:
    ends = Ends(found.touched, found.score_of, found.own, found.edges)
    make = _novel if isinstance(step.settings, NoveltySettings) else _paper
    columns = make(found, step, own[positions(np.ascontiguousarray(own["row"]), found.part.row)])
    return bordered(found.part.concept, found.part.indptr, found.part.distances, ends, **columns)


def _nothing() -> Bordered:
    ends = Ends(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int64))
    columns = {name: np.zeros(0) for name in ("x", "p", "worth", "unit")}
    return bordered(np.zeros(0, np.int32), np.zeros(1, np.int64), np.zeros(0, np.float32), ends, **columns)


def _novel(found: Survivors, step: Step, own: Records) -> dict[str, Float64Array]:
    p = found.score_of[found.own]
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


def pick_round(partition: int, adjacent: Sequence[int], one: Round, here: Store, store: Store) -> ExchangeCount:
    """Let the concepts of a partition pick, and write the times of the picks whose edges cross a border to `here`."""
    bordered, exchange = _exchange(partition, adjacent, one, store)
    budgets = _budgets(bordered, one, store)
    # The first picks of all tell down to which level the next rounds pick.
    every = not (one.quotas or one.before)
    picks = sum(len(found.places) for found in exchange.picks(budgets, one.level, every=every))
    before = read_times(one.before, [partition]) if one.before else None
    write_times(here, partition, exchange.seen)
    return ExchangeCount(picks=picks, changed=before is None or not before.same(exchange.seen))


def _exchange(partition: int, adjacent: Sequence[int], one: Round, store: Store) -> tuple[Bordered, Exchange]:
    bordered = Bordered.of(store.read_arrays(BORDERED_NAME.format(partition)))
    times = read_times(one.before, [partition, *adjacent]) if one.before else None
    return bordered, Exchange(bordered, one.reached, times)


def _budgets(bordered: Bordered, one: Round, store: Store) -> Int64Array:
    if not one.quotas:
        return np.diff(bordered.first)
    budgets: Int64Array = store.read_arrays(BUDGETS_NAME)["budgets"][bordered.concept]
    return budgets


def pick_last(partition: int, adjacent: Sequence[int], one: Round, store: Store) -> SelectionCount:
    """Let the concepts of a partition spend their budgets in the last round, and write the picks."""
    bordered, exchange = _exchange(partition, adjacent, one, store)
    found = list(exchange.picks(_budgets(bordered, one, store), one.level))
    picks = _records(bordered, found, read_collected(store, partition), PICK)
    write_picks(store, partition, picks)
    concepts = len(bordered.concept)
    return SelectionCount(picks=len(picks), concepts=concepts, selected=concepts)


def _records(
    bordered: Bordered, found: Sequence[ConceptPicks], own: Records, dtype: np.dtype[Any], **columns: npt.NDArray[Any]
) -> Records:
    """Return picks with their rank in the concept and the scores, `own`, that they came with."""
    places = np.concatenate([np.zeros(0, np.int64), *(one.places for one in found)])
    ranks = np.concatenate([np.zeros(0, np.int64), *(np.arange(len(one.places)) for one in found)])
    of_row = own[positions(np.ascontiguousarray(own["row"]), bordered.row[places])]
    return packed(dtype, **{name: of_row[name] for name in ("row", "concept", "score")}, rank=ranks, **columns)


def write_candidates(partition: int, adjacent: Sequence[int], one: Round, here: Store, store: Store) -> PickCount:
    """Let a partition's concepts pick in the last round, and write the picks to `here` with their keys in the pool."""
    bordered, exchange = _exchange(partition, adjacent, one, store)
    found = list(exchange.picks(_budgets(bordered, one, store), one.level, every=True))
    times = exchange.seen
    first = times.starts[:-1]
    trigger = times.rows[first]
    columns = {"level": times.values[first], "trigger": trigger, "place": _places(trigger)}
    records = _records(bordered, found, read_collected(store, partition), CANDIDATE, **columns)
    here.write_arrays(CANDIDATES_NAME.format(partition), {"candidates": records})
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


def read_candidates(store: Store, partition: int) -> Records:
    """Return the candidates of a partition, CANDIDATE (p,)."""
    candidates: Records = store.read_arrays(CANDIDATES_NAME.format(partition))["candidates"]
    return candidates


def count_candidates(partition: int, prefix: Cut, task_name: str, here: Store, store: Store) -> RowCount:
    """Count a partition's candidates whose keys begin with `prefix` by their next digit."""
    return count_keys(store, task_name, candidate_keys(read_candidates(here, partition)), prefix)


def count_kept(partition: int, cut: Cut, here: Store, store: Store) -> RowCount:
    """Count a partition's candidates at or above a cut by concept."""
    candidates = read_candidates(here, partition)
    concept, count = np.unique(candidates["concept"][_kept(candidates, cut)], return_counts=True)
    write_cells(store, partition, concept.astype(np.int64), count)
    return RowCount(rows=int(count.sum()))


def _kept(candidates: Records, cut: Cut) -> npt.NDArray[np.bool_]:
    return at_or_above(candidate_keys(candidates), cut) if cut else np.zeros(len(candidates), dtype=bool)


def count_levels(partition: int, prefix: Cut, task_name: str, here: Store, store: Store) -> RowCount:
    """Count the levels at which a partition's picks were made, those that begin with `prefix` by the next digit."""
    return count_keys(store, task_name, score_digits(read_times(here, [partition]).levels), prefix)


def keep_candidates(partition: int, cut: Cut, here: Store, store: Store) -> SelectionCount:
    """Write the candidates of a partition at or above a cut as picks; none where the cut is empty."""
    candidates = read_candidates(here, partition)
    chosen = candidates[_kept(candidates, cut)]
    write_picks(store, partition, packed(PICK, **{name: chosen[name] for name in PICK.names or ()}))
    concepts = len(np.unique(candidates["concept"]))
    return SelectionCount(picks=len(chosen), concepts=concepts, selected=concepts)


def write_times(store: Store, partition: int, times: PickTimes) -> None:
    """Write the times of a partition's picks."""
    last = np.zeros(len(times.rows), dtype=bool)
    last[times.starts[1:] - 1] = True
    # One array: a partition reads those of all that it shares edges with, in every round.
    keys = packed(KEY, value=times.values, row=times.rows, last=last)
    store.write_arrays(TIMES_NAME.format(partition), {"keys": keys})


def read_times(store: Store, partitions: Sequence[int]) -> PickTimes:
    """Return the times of the picks of some partitions."""
    keys = np.concatenate([store.read_arrays(TIMES_NAME.format(number))["keys"] for number in partitions])
    starts = np.append(0, np.flatnonzero(keys["last"]) + 1)
    return PickTimes(starts, np.ascontiguousarray(keys["value"]), np.ascontiguousarray(keys["row"]))
