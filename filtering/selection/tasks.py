"""The tasks of selection: a partition's graph, scores and budgets in, picks out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from filtering.concepts.partition import shard_and_row
from filtering.config.methods import D2Settings, StrataBudget
from filtering.config.selection import Step
from filtering.graph.sharded import positions
from filtering.runtime.records import RowCount
from filtering.runtime.shuffle import Records, packed, runs, write_groups
from filtering.selection.allotment import read_strata
from filtering.selection.artifacts import BUDGETS_NAME, PICK, PICKS_NAME, partition_picks
from filtering.selection.novelty import weights_of
from filtering.selection.orders import Picking, read_orders, write_orders
from filtering.selection.registry import weighs_novelty
from filtering.selection.scores import (
    Survivors,
    read_collected,
    survivors,
    vectors_of,
    write_collected,
    write_concept_counts,
)
from filtering.selection.selectors import messages_of
from filtering.storage.store import Store


class PickCount(TypedDict):
    """The result of a task that writes picks: how many."""

    picks: int


class SelectionCount(PickCount):
    """The result of selecting in a partition: besides, its concepts, and those that were not taken from a base."""

    concepts: int
    selected: int


@dataclass(frozen=True, slots=True)
class Sources:
    """The inputs of selecting in a partition beside the stage's own store.

    `scores` are those after earlier rounds of messages, in the stage's own store where there were none; `base` has a
    base's orders, `vectors` names the objects in which shards sent vectors, none where the method reads none.
    """

    graph: Store
    scores: Store
    base: Store | None
    vectors: tuple[str, ...]


def select(partition: int, adjacent: Sequence[int], step: Step, sources: Sources, store: Store) -> SelectionCount:
    """Pick among a partition's rows and write the picks."""
    found = survivors(partition, adjacent, sources.graph, sources.scores)
    if found is None:
        return SelectionCount(picks=0, concepts=0, selected=0)
    own = read_collected(store, partition)
    # In the order of the graph's rows.
    own = own[positions(np.ascontiguousarray(own["row"]), found.part.row)]
    known = read_orders(sources.base, partition) if sources.base else {}
    budgets = store.read_arrays(BUDGETS_NAME)["budgets"]
    in_pool = isinstance(step.budget_settings, StrataBudget) and step.budget_settings.scope == "pool"
    picking = Picking(step, budgets, own, read_strata(store) if in_pool else None, known)
    vectors = vectors_of(found.part.row, sources.vectors, partition, store) if sources.vectors else None
    picks = _picks(found, own, picking, vectors)
    write_picks(store, partition, picks)
    write_orders(store, partition, picking.orders)
    return SelectionCount(picks=len(picks), concepts=len(picking.orders), selected=picking.selected)


def _picks(found: Survivors, own: Records, picking: Picking, vectors: npt.NDArray[np.float32] | None) -> Records:
    """Return the picks of all concepts, PICK (n,)."""
    picks, ranks = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for members, samples in found.concepts():
        if vectors is not None:
            samples = replace(samples, vectors=vectors[members])
        if weighs_novelty(picking.step):
            samples = replace(samples, weights=weights_of(own["second"][members]))
        chosen = picking.chosen(int(found.part.concept[members.start]), members, samples)
        picks.append(chosen + members.start)
        ranks.append(np.arange(len(chosen)))
    chosen = np.concatenate(picks)
    columns = {name: own[name][chosen] for name in ("row", "concept", "score")}
    return packed(PICK, **columns, rank=np.concatenate(ranks))


def write_picks(store: Store, partition: int, picks: Records) -> None:
    """Write a partition's picks, PICK (n,), grouped by shard."""
    shards = shard_and_row(np.ascontiguousarray(picks["row"]))[0]
    write_groups(store, PICKS_NAME.format(partition), shards, PICK, picks.__getitem__)


def pass_messages(
    partition: int, adjacent: Sequence[int], settings: D2Settings, graph: Store, scores: Store, store: Store
) -> RowCount:
    """Write a partition's scores to `store` after one more round of forward messages from those in `scores`."""
    found = survivors(partition, adjacent, graph, scores)
    dtype = read_collected(scores, partition).dtype
    records = np.zeros(0, dtype)
    if found is not None:
        messages = [np.zeros(0)] + [messages_of(samples, settings) for _, samples in found.concepts()]
        part = found.part
        score = np.concatenate(messages)
        records = packed(dtype, row=part.row, concept=part.concept, score=score, second=score)
    write_collected(store, partition, records)
    return RowCount(rows=len(records))


def combine(partition: int, rule: str, parts: Sequence[Store], store: Store) -> PickCount:
    """Write a partition's rows that all steps picked (rule `all`) or any; in a concept the first step's come first."""
    picks = combined_picks([partition_picks(part, partition) for part in parts], rule)
    write_concept_counts(store, partition, picks["concept"])
    write_picks(store, partition, picks)
    return PickCount(picks=len(picks))


def combined_picks(parts: Sequence[Records], rule: str) -> Records:
    """Return the picks, PICK (n,), that are in all of some parts, or in any, ranked anew inside each concept."""
    every = np.concatenate(parts)
    part_of = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    # Ordered by row and then by the step's place: the first of equal rows is the earliest step's.
    order = np.lexsort((part_of, every["row"]))
    every, part_of = every[order], part_of[order]
    _, first, times = np.unique(every["row"], return_index=True, return_counts=True)
    chosen = first[times == len(parts)] if rule == "all" else first
    picks, part_of = every[chosen], part_of[chosen]
    picks = picks[np.lexsort((picks["row"], picks["rank"], part_of, picks["concept"]))]
    for members in runs(np.ascontiguousarray(picks["concept"])):
        picks["rank"][members] = np.arange(members.stop - members.start)
    return picks
