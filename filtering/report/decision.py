"""How a run decided, in plain words: a sentence for each filter and each step of selection."""

from collections.abc import Sequence
from typing import Any

from filtering.config.aliases import recorded_step
from filtering.config.selection import Step
from filtering.runtime.run_record import FilterRecord, StepRecord
from filtering.selection.registry import SELECTORS

# What a step does with the samples of a concept; methods that are not here have the registry's words.
HOW = {
    "d2": "in each concept it repeatedly picks the sample with the highest score, after mixing scores with those of "
    "the neighbours; each pick lowers the scores of its neighbours, so that samples similar to kept ones come later",
    "top": "the highest scores are kept",
    "threshold": "every sample whose score reaches the threshold is kept",
    "random": "samples are drawn at random",
    "ccs": "samples are drawn at random from each stratum of difficulty",
    "moderate": "the samples at middle distances from the median are kept",
    "semdedup": "one of several samples that look the same is kept",
    "all": "everything is kept",
}
# How a budget distributes the kept samples over the concepts.
SHARES = {
    "proportional": "distributed over the concepts by their sizes",
    "uniform": "distributed equally over the concepts, as far as each concept has samples",
    "complexity": "distributed over the concepts: wide concepts far from the others get more",
    "strata": "distributed over strata of difficulty",
    "hierarchical": "distributed equally down a hierarchy of concepts",
    "pool": "taken from the whole pool, independent of the concept",
}
FILTERS = {
    "caption": "Captions must have the configured length",
    "image": "Images must have the configured size",
    "language": "Captions must be in one of the configured languages",
    "words": "Captions must contain a word of the list",
    "clip_score": "Image and caption must match: the CLIP score must be at least {threshold:.4g}",
}


def decisions(filters: Sequence[FilterRecord], steps: Sequence[StepRecord]) -> tuple[str, ...]:
    """Return a sentence for each filter and each step of selection, in order."""
    return (*map(_filter, filters), *map(_step, steps))


def judging_step(steps: Sequence[StepRecord]) -> StepRecord | None:
    """Return the last step that used a score; None if no step did."""
    return next((step for step in reversed(steps) if step["settings"]), None)


def _filter(found: FilterRecord) -> str:
    words = FILTERS[found["kind"]].format(threshold=found["threshold"])
    given = ", ".join(f"{key} {_text(value)}" for key, value in found["settings"].items())
    return f"Filter {found['kind']} ({given}): {words[0].lower()}{words[1:]}." if given else f"{words}."


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _step(found: StepRecord) -> str:
    if found["settings"] is None:
        return f"Samples that are in {found['reason'].partition(':')[2]} of the named selections go on."
    step = recorded_step(found["settings"])
    how = HOW.get(step.method, SELECTORS[step.method].about)
    judged = "" if found["score"] == "uniform" else f", by {found['score']}"
    return f"Selection by {step.method}{judged}: {how}.{_budget(step)}"


def _budget(step: Step) -> str:
    name = step.budget_name
    if name not in SHARES:
        return ""
    amount = f"{step.keep:,} samples" if isinstance(step.keep, int) else f"{100 * step.keep:g} %"
    return f" It keeps {amount}, {SHARES[name]} (budget {name})."
