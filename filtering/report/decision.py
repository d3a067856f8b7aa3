"""How a run decided, in plain words: a sentence for each filter and each step of selection, from run.json."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from filtering.config.selection import Step
from filtering.selection.registry import budget_name, selector

Record = Mapping[str, Any]

# What a step does to the samples of a concept; the registry's words for methods that are not here.
HOW = {
    "d2": "of each concept it picks, again and again, the sample whose score, mixed with its neighbours', is highest; "
    "each pick lowers its neighbours, so that what looks like a sample that is already kept comes later",
    "top": "the highest scores are kept",
    "threshold": "every sample whose score reaches the threshold is kept",
    "random": "samples are drawn at random",
    "ccs": "samples are drawn at random in each stratum of difficulty",
    "moderate": "the samples at middle distances from the median are kept",
    "semdedup": "of samples that look the same one is kept",
    "all": "everything is kept",
}
# How a budget shares what may be kept among the concepts.
SHARES = {
    "proportional": "shared among the concepts by their sizes",
    "uniform": "shared equally among the concepts, as far as each reaches",
    "complexity": "shared among the concepts: the wider one is and the farther from others, the more",
    "strata": "shared among strata of difficulty",
    "hierarchical": "shared equally down a hierarchy of concepts",
    "pool": "taken from the whole pool, whatever the concept",
}
FILTERS = {
    "caption": "Captions must be as long as asked",
    "image": "Pictures must be as large as asked",
    "language": "Captions must be in one of the languages",
    "words": "Captions must hold a word of the list",
    "clip_score": "Picture and caption must agree: the CLIP score is at least {threshold:.4g}",
}


def decisions(run: Record) -> tuple[str, ...]:
    """Return how a run decided, a sentence for each filter and each step that was taken.

    Parameters
    ----------
    run : mapping
        Its run.json, with `filters` and `steps`.
    """
    return (*map(_filter, run["filters"]), *_steps(run["steps"]))


def judging_step(run: Record) -> Record | None:
    """Return the last step that judged samples by a score, as run.json has it; None where none did."""
    return next((step for step in reversed(run["steps"]) if step["settings"]), None)


def _filter(found: Record) -> str:
    words = FILTERS[found["kind"]].format(threshold=found["threshold"])
    given = ", ".join(f"{key} {_text(value)}" for key, value in found["settings"].items())
    return f"Filter {found['kind']} ({given}): {words[0].lower()}{words[1:]}." if given else f"{words}."


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _steps(steps: Sequence[Record]) -> Iterator[str]:
    for one in steps:
        if one["settings"] is None:
            yield f"Of the named selections, what is in {one['reason'].partition(':')[2]} of them goes on."
        else:
            yield _step(Step(**one["settings"]), one["score"])


def _step(step: Step, score: str) -> str:
    how = HOW.get(step.method, selector(step.method).about)
    judged = "" if score == "uniform" else f", judging by {score}"
    return f"Selection by {step.method}{judged}: {how}.{_shared(step)}"


def _shared(step: Step) -> str:
    name = budget_name(step)
    if name not in SHARES:
        return ""
    amount = f"{step.keep:,} samples" if isinstance(step.keep, int) else f"{100 * step.keep:g} %"
    return f" It keeps {amount}, {SHARES[name]} (budget {name})."
