"""What the step of selection that decided did with a sample, and, of D2, which picks pushed it down or cover it."""

from dataclasses import replace

import numpy as np

from filtering.config.aliases import recorded_step
from filtering.config.methods import D2Settings, NoveltySettings, exchanges_of
from filtering.config.selection import Step
from filtering.core.csr import Int64Array
from filtering.core.errors import DamagedError, InputError
from filtering.explanations.explanation import Cover, Messages, Novelty, Push, StepFacts
from filtering.explanations.sources import Sources
from filtering.graph.artifacts import GRAPH_NAME, read_adjacent
from filtering.graph.sharded import ShardGraph, positions
from filtering.runtime.run_record import StepRecord
from filtering.selection.artifacts import BUDGETS_NAME, partition_picks
from filtering.selection.concept import ConceptSamples
from filtering.selection.novelty import gain_of, weights_of
from filtering.selection.registry import weighs_novelty
from filtering.selection.replay import replay, replay_novelty
from filtering.selection.scores import Survivors, read_collected
from filtering.selection.selectors import kernel_of, messages_of
from filtering.storage.store import Store

# Of the picks that pushed a sample down or cover it, those that took most.
PUSHES = 5


def deciding_step(sources: Sources, reason: str, partition: int, row: int) -> StepRecord:
    """Return the step that left out a sample (global id `row`) for a reason, or, if there is none, that picked it."""
    steps: list[StepRecord] = [step for step in sources.record["steps"] if step["settings"]]
    if not reason:
        # Of a union, a selection that picked it.
        return next(step for step in reversed(steps) if _picked(sources, step, partition, row))
    named = f"selection-{reason.partition(':')[2]}"
    meant = [s for s in steps if s["reason"] == reason or s["stage"] == named or s["stage"].startswith(f"{named}-")]
    out = [step for step in meant if not _picked(sources, step, partition, row)]
    # A union leaves out what none of its selections picked: any of them tells.
    return (out or steps[-1:])[0]


def _picked(sources: Sources, step: StepRecord, partition: int, row: int) -> bool:
    return bool(np.isin(row, partition_picks(sources.run.child(step["folder"]), partition)["row"]))


def of_step(sources: Sources, found: StepRecord, part: ShardGraph, partition: int, at: int) -> StepFacts:
    """Return what a step did with the sample that stands at a place of a partition's part of the graph."""
    assert found["settings"] is not None, "where selections are joined, one of them decided"
    store, step = sources.run.child(found["folder"]), recorded_step(found["settings"])
    samples, rows = _samples(sources, store, part, partition, int(part.concept[at]))
    if weighs_novelty(step):
        own = read_collected(store, partition)
        places = positions(np.ascontiguousarray(own["row"]), rows)
        samples = replace(samples, weights=weights_of(own["second"][places]))
    node = int(positions(rows, part.row[[at]])[0])
    picks = partition_picks(store, partition)
    picks = picks[picks["concept"] == part.concept[at]]
    picks = picks[np.argsort(picks["rank"], kind="stable")]
    order = positions(rows, np.ascontiguousarray(picks["row"]))
    budgets = store.read_arrays(BUDGETS_NAME)["budgets"]
    ranks = np.flatnonzero(order == node)
    scores = samples.scores
    return StepFacts(
        stage=found["stage"],
        method=step.method,
        score=found["score"],
        value=float(scores[node]),
        candidates=len(scores),
        higher=int((scores > scores[node]).sum()),
        budget=int(budgets[part.concept[at]]),
        picked=len(order),
        rank=int(ranks[0]) if len(ranks) else None,
        least_picked=float(scores[order].min()) if len(order) else None,
        messages=_messages(sources, step, samples, rows, order, node),
        novelty=_novelty(sources, step, samples, rows, order, node),
    )


def _samples(
    sources: Sources, store: Store, part: ShardGraph, partition: int, concept: int
) -> tuple[ConceptSamples, Int64Array]:
    """Return the samples of a concept that reached a step, and their global ids."""
    graph = sources.folder("graph")
    found = Survivors(part, [partition, *read_adjacent(graph).get(partition, [])], store)
    try:
        members, samples = next(
            (members, samples) for members, samples in found.concepts() if found.part.concept[members.start] == concept
        )
    except InputError as error:
        # What edges cannot be: other checks have been passed.
        raise DamagedError(graph.path(GRAPH_NAME.format(partition)), f"is damaged: {error}") from None
    return samples, found.part.row[members]


def _apart(step: Step) -> bool:
    """Return whether the picks of a concept are not one greedy of its own: of strata, and where picks are exchanged."""
    return step.budget_name == "strata" or exchanges_of(step.settings) > 0


def _messages(
    sources: Sources, step: Step, samples: ConceptSamples, rows: Int64Array, order: Int64Array, node: int
) -> Messages | None:
    settings = step.settings
    # More rounds need the scores of rows further away.
    if not isinstance(settings, D2Settings) or settings.rounds > 1 or _apart(step):
        return None
    heard = messages_of(samples, settings) if settings.rounds else samples.scores
    kernel = kernel_of(samples, settings)
    found = replay(samples.graph, heard, order, node, settings.gamma_reverse, kernel)
    # The picks that took most, the most first.
    most = sorted(found.pushes, key=lambda push: (-push.amount, push.rank))[:PUSHES]
    seen = sources.samples(rows[[push.pick for push in most]].tolist()) if most else []
    pushes: list[Push] = [
        {**one, "picked_as": push.rank, "took": push.amount} for one, push in zip(seen, most, strict=True)
    ]
    taken = sum(push.amount for push in found.pushes)
    return Messages(heard=found.initial, left=found.left, last_pick=found.last, taken=taken, pushes=pushes)


def _novelty(
    sources: Sources, step: Step, samples: ConceptSamples, rows: Int64Array, order: Int64Array, node: int
) -> Novelty | None:
    if not isinstance(step.settings, NoveltySettings) or _apart(step):
        return None
    found, p = replay_novelty(samples.graph, samples.scores, order, node, samples.weights), float(samples.scores[node])
    weight = 1.0 if samples.weights is None else float(samples.weights[node])
    most = sorted(found.covers, key=lambda cover: (cover.factor, cover.rank))[:PUSHES]
    seen = sources.samples(rows[[cover.pick for cover in most]].tolist()) if most else []
    covers: list[Cover] = [
        {**one, "picked_as": cover.rank, "factor": cover.factor} for one, cover in zip(seen, most, strict=True)
    ]
    return Novelty(
        probability=p,
        weight=weight,
        novelty=found.novelty,
        gain=gain_of(p, found.novelty, weight),
        last_gain=found.last_gain,
        covers=covers,
    )
