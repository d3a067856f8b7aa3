"""What no step of selection can do, refused before any work is done, and what a step does not read."""

from filtering.config.run import Config
from filtering.config.scores import scorer_name
from filtering.config.selection import Step
from filtering.core.errors import InputError, Mistakes
from filtering.pipeline.selection_steps import every_step, model_of, placed_steps, specs_of
from filtering.scores.checks import check_spec
from filtering.scores.registry import AUTO, Spec
from filtering.selection.registry import selector_of, wants_probabilities


def check_steps(config: Config) -> None:
    """Refuse what no step can do before any work is done: InputError with the key and the nearest valid name."""
    mistakes = Mistakes()
    with mistakes.collected():
        _check_increments(config)
    with mistakes.collected():
        for place, step in placed_steps(config):
            with mistakes.collected():
                _check_scores(step, place, config)
    mistakes.refuse()


def _check_increments(config: Config) -> None:
    if not any(step.per == "increment" for step in every_step(config)):
        return
    if config.base is None:
        raise InputError("selection.per: increment needs a base; set base to latest, or per to pool")
    if config.selection.steps:
        raise InputError("selection.per: increment needs a selection of one step; in selection.steps, set per to pool")


def _check_scores(step: Step, place: str, config: Config) -> None:
    specs = specs_of(step, place)
    if wants_probabilities(step):
        _check_probable(step, specs[0])
    for spec in specs:
        check_spec(spec, model_of(config), config.input.fields)


def _check_probable(step: Step, spec: Spec) -> None:
    """Refuse a score whose values are by definition no probabilities, where a step takes probabilities."""
    if spec.scorer.values.probable:
        return
    given = scorer_name(step.score)
    name = f"auto is {spec.name}" if given == AUTO else given
    reader = "variant novelty" if selector_of(step).probable else "budget distinct"
    raise InputError(
        f"{spec.key}: {name}, with values of {spec.scorer.values}, but {reader} takes probabilities, from 0 to 1; "
        f"use score right, {{combine: {{of: [{{score: {spec.name}}}], by: rank}}}} or a table of probabilities"
    )


def unread_sizes(config: Config) -> list[str]:
    """Return a warning for each step that names a size, although its method decides how many samples it keeps."""
    return [
        f"selection.keep is set, but {step.method} itself decides how many samples it keeps"
        for step in every_step(config)
        if "keep" in step.model_fields_set and not step.reads_keep
    ]


def sizes_above(config: Config, rows: int) -> list[str]:
    """Return a warning for each step that is to keep more samples than the pool has."""
    found = (
        f"{place}.keep asks for {step.keep:,} samples, but the pool has only {rows:,}"
        for place, step in placed_steps(config)
        if step.reads_keep and isinstance(step.keep, int) and step.keep > rows
    )
    return list(dict.fromkeys(found))
