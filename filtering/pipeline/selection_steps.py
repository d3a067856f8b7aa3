"""The steps of selection in order: each sees what the one before it kept; named selections are joined as sets."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from filtering.config.embedding import Embedding
from filtering.config.methods import FIT_KEY, StrataBudget, fit_of
from filtering.config.run import Config
from filtering.config.scores import NONE, Combine, ScoreTable, Weighted
from filtering.config.selection import Sets, Step, Steps
from filtering.config.types import FOR_PEOPLE
from filtering.config.validation import nearest
from filtering.core.errors import InputError
from filtering.embedding.encoders import encoder_settings
from filtering.pipeline.context import RunContext, SelectionInputs
from filtering.runtime.run_record import StepRecord
from filtering.runtime.stage import Finished
from filtering.scores.artifacts import ScoresResult
from filtering.scores.registry import AUTO, Spec, files_of, parts_of, side_of, spec_of, with_parts
from filtering.scores.sources import Sources
from filtering.scores.stage import score, scores_key
from filtering.scores.titles import title_of
from filtering.selection.artifacts import PickFilter, PreviousResult, ScoreStores, SelectionResult
from filtering.selection.registry import selector_of, wants_probabilities, weighs_novelty
from filtering.selection.stage import NAME, combine_picks, select_coreset, selection_key, sets_key, unchanged_result
from filtering.storage.store import Store, digest
from filtering.storage.versions import versions_of


@dataclass(frozen=True, slots=True)
class TakenStep:
    """A step as it was taken."""

    stage: Finished[SelectionResult]
    settings: Step | None  # none where named selections were joined
    reason: str  # of a sample that it left out, as the manifest spells it
    score: str = ""  # the score that picked; empty where selections were joined

    def record(self) -> StepRecord:
        """Return the step as it is in run.json."""
        return StepRecord(
            stage=self.stage.key.name,
            folder=self.stage.key.folder,
            reason=self.reason,
            score=self.score,
            settings=self.settings.model_dump(mode="json", context=FOR_PEOPLE) if self.settings else None,
        )


@dataclass(frozen=True, slots=True)
class Selected:
    """The whole selection."""

    last: Finished[SelectionResult]  # the stage whose picks are kept
    # The stages that must have picked a sample, in order; its reason is that of the first that did not
    pick_filters: tuple[PickFilter, ...]
    steps: tuple[TakenStep, ...]
    # The stage of each listed score by its name; a name that comes again with other parameters has a number
    scores: Mapping[str, Finished[ScoresResult]]


@dataclass(frozen=True, slots=True)
class _Left:
    """What some steps have left: the stages that must have picked a sample, and the last stage."""

    pick_filters: tuple[PickFilter, ...] = ()
    last: Finished[SelectionResult] | None = None

    @property
    def store(self) -> Store | None:
        return self.last.store if self.last else None

    @property
    def prints(self) -> tuple[str, ...]:
        return (self.last.fingerprint,) if self.last else ()


class Selecting:
    """Takes a run through the steps of its configuration, and scores what they ask for on the way."""

    def __init__(self, context: RunContext, inputs: SelectionInputs) -> None:
        self.context, self.inputs = context, inputs
        self.pool = inputs.pool()
        self._taken: list[TakenStep] = []
        self._scores: dict[str, Finished[ScoresResult]] = {}
        self._scored: dict[str, Finished[ScoresResult]] = {}
        self._listed: set[str] = set()

    def run(self) -> Selected:
        """Take every step and return the selection."""
        selection = self.context.config.selection
        left = self._all(selection.steps or (selection,), NAME, _Left())
        assert left.last is not None
        return Selected(left.last, left.pick_filters, tuple(self._taken), dict(self._scores))

    def _all(self, steps: Sequence[Step | Sets], name: str, before: _Left) -> _Left:
        for number, step in enumerate(steps, 1):
            here = name if number == len(steps) else f"{name}-{number}"
            before = self._join(step, here, before) if isinstance(step, Sets) else self._step(step, here, before)
        return before

    def _step(self, step: Step, name: str, before: _Left) -> _Left:
        specs = specs_of(step)
        # Ranks that weigh novelty tell a reader nothing that the score that they are ranks of does not.
        score, second = self._score(specs[0]), self._score(specs[1], purpose="fit" if weighs_novelty(step) else "")
        inputs = (self.inputs.graph.fingerprint, score.fingerprint, second.fingerprint, *before.prints)
        wide, probable = any(spec.wide for spec in specs), _told(specs[0]) if wants_probabilities(step) else ""
        previous, scores = self._previous(step, name), ScoreStores(score.store, second.store, wide, probable)
        stage = self.context.take_unchanged(
            selection_key(name, step, inputs, previous),
            SelectionResult,
            lambda stage: select_coreset(stage, step, self.pool, scores, before.store, previous),
            unchanged_result,
        )
        pick_filter = PickFilter(f"selection:{step.method}", stage.store)
        name_of = {one.fingerprint: name for name, one in self._scores.items()}
        self._taken.append(TakenStep(stage, step, pick_filter.reason, name_of[score.fingerprint]))
        return _Left((*before.pick_filters, pick_filter), stage)

    def _previous(self, step: Step, name: str) -> PreviousResult | None:
        """Return the base's result of a step; of damaged picks only what an increment adds to."""
        reusable = self.context.reusable
        if reusable is None or not reusable.base.has(name):
            return None
        picks = reusable.base.store(name) if reusable.has_whole(name) else None
        if picks is None and step.per != "increment":
            return None
        found = reusable.base.result(name, SelectionResult)
        if found.total is None:
            return None
        return PreviousResult(picks, found.total, frozenset(reusable.identities()))

    def _join(self, sets: Sets, name: str, before: _Left) -> _Left:
        rule, names = ("all", sets.all) if sets.all else ("any", sets.any or ())
        parts = [self._all(_as_steps(self.context.config.selections[one]), f"{NAME}-{one}", before) for one in names]
        stores = [part.store for part in parts if part.store]
        stage = self.context.take_unchanged(
            sets_key(name, rule, [mark for part in parts for mark in part.prints]),
            SelectionResult,
            lambda stage: combine_picks(stage, rule, stores, self.pool),
        )
        # Of an intersection the selection that lacks a sample is the reason; of a union no single one is.
        each = [
            PickFilter(f"selection:{one}", store) for one, store in zip(names, stores, strict=True) if rule == "all"
        ]
        joined = PickFilter(f"selection:{rule}", stage.store)
        self._taken.append(TakenStep(stage, None, joined.reason))
        return _Left((*before.pick_filters, *each, joined), stage)

    def _score(self, spec: Spec, *, purpose: str = "") -> Finished[ScoresResult]:
        """Return the finished stage of a score, which run.json lists after those of its parts.

        One that serves a `purpose` inside a step, the ranks of another score, is not listed.
        """
        mark = digest(spec.plain())
        if mark not in self._scored:
            parts = [self._score(part) for part in parts_of(spec)]
            inputs = (*self.inputs.fingerprints_of(spec), *(part.fingerprint for part in parts))
            sources = self._sources([part.store for part in parts])
            # As they are now: what is read later must still be this.
            files = versions_of(files_of(spec))
            key = scores_key(spec, inputs, files)
            stage = self.context.take_unchanged(
                key, ScoresResult, lambda stage: score(stage, spec, sources, files, purpose)
            )
            self._scored[mark] = stage
        if not purpose and mark not in self._listed:
            self._listed.add(mark)
            title = title_of(spec)
            again = sum(1 for known in self._scores if title in (known, known.rpartition(" ")[0]))
            self._scores[f"{title} {again + 1}" if again else title] = self._scored[mark]
        return self._scored[mark]

    def _sources(self, parts: Sequence[Store]) -> Sources:
        config, inputs = self.context.config, self.inputs
        return Sources(
            model=model_of(config),
            uid_rule=config.input.uid_rule,
            workers=config.ray,
            k=config.graph.k,
            shards=self.pool.shards,
            rows=inputs.filters.result.passed,
            dimension=inputs.dimension,
            of_concepts=(_model_of_concepts(config), inputs.concepts.result.dimension),
            concepts=inputs.concepts.store,
            graphs=inputs.graphs(),
            parts=parts,
        )


def model_of(config: Config) -> Embedding | None:
    """Return what embeds images, the `embedding` section; None for rows that come with vectors."""
    return config.embedding if config.input.has_pictures else None


def _model_of_concepts(config: Config) -> Embedding | None:
    """Return what embeds images for concepts and graph; None for rows that come with vectors."""
    model, name = model_of(config), config.concepts.embedding
    return model if model is None or name is None else encoder_settings(model, name)


def every_step(config: Config) -> Iterator[Step]:
    """Yield every step, those of named selections where they are named; InputError for unknown and circular names."""
    return (step for _, step in placed_steps(config))


def placed_steps(config: Config) -> Iterator[tuple[str, Step]]:
    """Yield what `every_step` does, each step after its place in the configuration, such as selection.steps.0."""
    steps: Steps = config.selection.steps or config.selection
    return _every_step(steps, "selection.steps" if config.selection.steps else NAME, config.selections, ())


def specs_of(step: Step, place: str = NAME) -> tuple[Spec, Spec]:
    """Return the score that picks in a step, and its second one, the same unless the step reads another.

    Strata are cut by a score, and expected novelty is weighed by the ranks of one. `place` is the step's in the
    configuration.
    """
    # A score that the method auto cuts strata by was given as the step's own.
    strata, fit, difficulty = step.budget_settings, fit_of(step.settings), f"{place}.{_difficulty_key(step)}"
    own = spec_of(step.score, selector_of(step).score, f"{place}.score")
    if isinstance(strata, StrataBudget) and strata.difficulty != AUTO:
        return own, spec_of(strata.difficulty, own.name, difficulty)
    if fit != NONE:
        return own, Spec("combine", Combine(of=(Weighted(score=fit),), by="rank"), f"{place}.{FIT_KEY}")
    return own, own


def _difficulty_key(step: Step) -> str:
    return "difficulty" if "difficulty" in step.given else "score"


def every_spec(config: Config) -> Iterator[Spec]:
    """Yield every score that some step asks for, each after the scores that it is made of; some come again."""
    for step in every_step(config):
        for one in specs_of(step):
            yield from with_parts(one)


def _told(spec: Spec) -> str:
    """Return a score as a message names it."""
    settings = spec.settings
    return f"{settings.column} of {settings.table}" if isinstance(settings, ScoreTable) else spec.name


def reads_texts(config: Config) -> bool:
    """Return whether some score reads the captions' neighbours."""
    return any(side_of(spec) == "text" for spec in every_spec(config))


def _every_step(
    steps: Steps, place: str, known: Mapping[str, Steps], inside: tuple[str, ...]
) -> Iterator[tuple[str, Step]]:
    for number, step in enumerate(_as_steps(steps)):
        if isinstance(step, Step):
            yield f"{place}.{number}" if isinstance(steps, tuple) else place, step
            continue
        for name in step.all or step.any or ():
            if name not in known:
                raise InputError(f"selection.steps: unknown selection {name}{nearest(name, known)}")
            if name in inside:
                raise InputError(f"selections.{name}: refers to itself")
            yield from _every_step(known[name], f"selections.{name}", known, (*inside, name))


def _as_steps(steps: Steps) -> Sequence[Step | Sets]:
    return steps if isinstance(steps, tuple) else (steps,)
