"""What the steps of D2 are in full, in words: what `auto` stands for in them, and by which key."""

import json
from collections.abc import Mapping, Sequence

from filtering.config.methods import D2, FIT_KEY, PAPER_KEYS, VARIANT_KEY
from filtering.config.resolution import deciders
from filtering.config.run import Config
from filtering.config.selection import Step
from filtering.pipeline.selection_steps import placed_steps
from filtering.scores.registry import AUTO
from filtering.selection.registry import selector_of


def step_lines(config: Config) -> list[str]:
    """Return a line for each step of D2: its score, budget and variant, and what else is not its default."""
    found = (f"{place}: {_words(step)}" for place, step in placed_steps(config) if step.method == D2)
    return list(dict.fromkeys(found))


def auto_warnings(config: Config) -> list[str]:
    """Return the lines of `step_lines` in which a parameter of the paper's D2 makes the default method another one."""
    found = (
        f"{place}: {_words(step)}; if that is meant, set method to d2, else remove what is given"
        for place, step in placed_steps(config)
        if "method" not in step.given and PAPER_KEYS & {*deciders(step.given)}
    )
    return list(dict.fromkeys(found))


def _words(step: Step) -> str:
    flat, keys = step.model_dump(mode="json", exclude_none=True), deciders(step.given)
    told = {
        "score": selector_of(step).score if step.score == AUTO else flat["score"],
        "budget": step.budget_name,
        VARIANT_KEY: f"{flat[VARIANT_KEY]}{_reason(keys)}",
    }
    told |= {FIT_KEY: flat[FIT_KEY]} if FIT_KEY in flat else {}
    for section in (step.settings, step.budget_settings):
        told |= section.model_dump(mode="json", exclude={FIT_KEY}, exclude_defaults=True, exclude_none=True)
    method = step.method if "method" in step.given else f"the method auto is {step.method}"
    return f"{method} with {', '.join(f'{key} {_word(value)}' for key, value in told.items())}"


def _reason(keys: Sequence[str]) -> str:
    return f", as {' and '.join(keys)} {'is' if len(keys) == 1 else 'are'} given" if keys else ""


def _word(value: object) -> str:
    return json.dumps(value) if isinstance(value, Mapping) else str(value)
