"""The steps of selection in order: each sees what the one before it kept; named selections are joined as sets."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from filtering.config.run import Config
from filtering.config.selection import Sets, Step, Steps
from filtering.config.validation import nearest
from filtering.core.errors import InputError
from filtering.pipeline.context import Way
from filtering.scores.checks import check_spec
from filtering.scores.registry import AUTO, Spec, parts_of, spec_of
from filtering.scores.stage import INPUTS, Sources, score, scores_stage
from filtering.selection.artifacts import Sieve
from filtering.selection.registry import DECIDED, budget, budget_name, selector, unread_keys
from filtering.selection.stage import NAME, Before, Pool, combine_picks, select_coreset, selection_stage, sets_stage
from filtering.storage.store import digest


@dataclass(frozen=True, slots=True)
class Selected:
    """What is left after some steps.

    Attributes
    ----------
    sieves : what a sample must have been picked by, in order; its reason is that of the first that lacks it.
    url : where the picks are; None before the first step.
    prints : the fingerprint of the step that made them.
    """

    sieves: tuple[Sieve, ...] = ()
    url: str | None = None
    prints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Taken:
    """A step as it was taken.

    Attributes
    ----------
    stage : the name of its stage.
    step : its settings; None where named selections were joined.
    reason : why a sample that it left out is dropped, as the manifest spells it.
    url : where its picks are.
    score : the score it judged by; empty where selections were joined.
    """

    stage: str
    step: Step | None
    reason: str
    url: str
    score: str = ""


@dataclass(slots=True)
class Selecting:
    """Takes a run through the steps of its configuration, and scores what they ask for on the way.

    Attributes
    ----------
    taken : the steps so far, in order.
    scores : where each score is, by name; a name that comes again with other parameters has a number.
    """

    way: Way
    pool: Pool
    rows: int
    taken: list[Taken] = field(default_factory=list)
    scores: dict[str, str] = field(default_factory=dict)
    _scored: dict[str, tuple[str, str]] = field(default_factory=dict)

    def run(self) -> tuple[Sieve, ...]:
        """Take every step and return what a sample must have been picked by to be kept."""
        config = self.way.config
        return self._all(config.selection.steps or (config.selection,), NAME, Selected()).sieves

    def plain(self) -> list[dict[str, Any]]:
        """Return the steps as run.json has them, with the folders of their stages."""
        return [
            {
                "stage": one.stage,
                "folder": self.way.folder(one.url),
                "reason": one.reason,
                "score": one.score,
                "settings": one.step.model_dump(mode="json", exclude={"steps"}) if one.step else None,
            }
            for one in self.taken
        ]

    def _all(self, steps: Sequence[Step | Sets], name: str, before: Selected) -> Selected:
        for number, step in enumerate(steps, 1):
            here = name if number == len(steps) else f"{name}-{number}"
            before = self._join(step, here, before) if isinstance(step, Sets) else self._step(step, here, before)
        return before

    def _step(self, step: Step, name: str, before: Selected) -> Selected:
        (scores_print, scores_url), (mark, difficulty) = map(self._score, specs_of(step))
        inputs = (self.way.fingerprints["graph"], scores_print, mark, *before.prints)
        base, scores = self._base(name), (scores_url, difficulty)
        stage = selection_stage(self.way.runtime, name, step, inputs, base)
        self.way.take(stage, lambda stage: select_coreset(stage, step, self.pool, scores, before.url, base))
        sieve = Sieve(f"selection:{step.method}", stage.store.url)
        name_of = {url: name for name, url in self.scores.items()}
        self.taken.append(Taken(name, step, sieve.reason, sieve.url, name_of[scores_url]))
        return Selected((*before.sieves, sieve), stage.store.url, (stage.fingerprint,))

    def _base(self, name: str) -> Before | None:
        """Return what a base left of a step."""
        carried = self.way.carried
        if carried is None or not carried.base.has(name):
            return None
        found = carried.base.result(name)
        if "total" not in found:
            return None
        return Before(carried.base.store(name).url, found["total"], frozenset(carried.identities()))

    def _join(self, sets: Sets, name: str, before: Selected) -> Selected:
        rule, names = ("all", sets.all) if sets.all else ("any", sets.any or ())
        parts = [self._all(_as_steps(self.way.config.selections[one]), f"{NAME}-{one}", before) for one in names]
        stage = sets_stage(self.way.runtime, name, rule, [mark for part in parts for mark in part.prints])
        urls = [part.url for part in parts if part.url]
        self.way.take(stage, lambda stage: combine_picks(stage, rule, urls, self.pool))
        # Of an intersection the selection that lacks a sample is the reason; of a union no single one is.
        sieves = [Sieve(f"selection:{one}", url) for one, url in zip(names, urls, strict=True) if rule == "all"]
        joined = Sieve(f"selection:{rule}", stage.store.url)
        self.taken.append(Taken(name, None, joined.reason, joined.url))
        here = (*before.sieves, *sieves, joined)
        return Selected(here, stage.store.url, (stage.fingerprint,))

    def _score(self, spec: Spec) -> tuple[str, str]:
        """Return the fingerprint of a score and where it is."""
        mark = digest(spec.plain())
        if mark not in self._scored:
            parts = [self._score(part) for part in parts_of(spec)]
            inputs = (self.way.fingerprints[INPUTS[spec.scorer.kind]], *(part for part, _ in parts))
            stage = scores_stage(self.way.runtime, spec, inputs)
            sources = self._sources([url for _, url in parts])
            self.way.take(stage, lambda stage: score(stage, spec, sources))
            self._scored[mark] = (stage.fingerprint, stage.store.url)
            again = sum(1 for known in self.scores if known.partition(" ")[0] == spec.name)
            self.scores[f"{spec.name} {again + 1}" if again else spec.name] = stage.store.url
        return self._scored[mark]

    def _sources(self, parts: Sequence[str]) -> Sources:
        dimension = self.way.results["concepts"]["dimension"]
        where = (self.pool.concepts, self.pool.graph, self.pool.partitions)
        return Sources(self.way.config, self.pool.shards, self.rows, dimension, *where, parts)


def check_steps(config: Config) -> None:
    """Refuse what no step can do before any work is done.

    Raises
    ------
    InputError
        One line: the key, what is wrong, the nearest valid name.
    """
    _check_increments(config)
    for step in every_step(config):
        if (name := budget_name(step)) not in DECIDED:
            budget(name)
        for score_of in (step.score, step.difficulty):
            check_spec(spec_of(score_of, selector(step.method).score), config)


def _check_increments(config: Config) -> None:
    if not any(step.per == "increment" for step in every_step(config)):
        return
    if config.base is None:
        raise InputError("selection.per: increment needs a base; set base to latest, or per to pool")
    if config.selection.steps:
        raise InputError("selection.per: increment needs a selection of one step; in selection.steps, set per to pool")


def every_step(config: Config) -> Iterator[Step]:
    """Yield every step that a configuration takes, those of named selections where they are named.

    Raises
    ------
    InputError
        If a selection is unknown or refers to itself.
    """
    return _every_step(config.selection.steps or (config.selection,), config.selections, ())


def specs_of(step: Step) -> tuple[Spec, Spec]:
    """Return the score that a step judges by, and what its strata are cut by: the same where it has none of its own."""
    own = spec_of(step.score, selector(step.method).score)
    if budget_name(step) != "strata" or step.difficulty == AUTO:
        return own, own
    return own, spec_of(step.difficulty, own.name)


def unread(config: Config) -> list[str]:
    """Return a warning for each key that was changed in a step and that nothing in it reads."""
    return [
        f"selection.{key} is set, but neither {step.method} nor its budget reads it"
        for step in every_step(config)
        for key in unread_keys(step)
    ]


def _every_step(steps: Sequence[Step | Sets], known: Mapping[str, Steps], inside: tuple[str, ...]) -> Iterator[Step]:
    for step in steps:
        if isinstance(step, Step):
            yield step
            continue
        for name in step.all or step.any or ():
            if name not in known:
                raise InputError(f"selection.steps: unknown selection {name}{nearest(name, known)}")
            if name in inside:
                raise InputError(f"selections.{name}: refers to itself")
            yield from _every_step(_as_steps(known[name]), known, (*inside, name))


def _as_steps(steps: Steps) -> Sequence[Step | Sets]:
    return steps if isinstance(steps, tuple) else (steps,)
