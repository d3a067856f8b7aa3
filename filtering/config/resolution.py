"""What `auto` stands for in a step of selection: its method, D2's variant, `fit`; resolved before validation."""

from collections.abc import Mapping, Sequence
from typing import Any

from filtering.config.methods import AUTO, D2, FIT, FIT_KEY, PAPER_KEYS, VARIANT_KEY
from filtering.config.scores import MEASURED, NONE, scorer_name

NOVELTY, PAPER, RIGHT, STRATA = "novelty", "paper", "right", "strata"
# What the method auto stands for: with a score that was measured on the samples, and otherwise.
IN_STRATA = {
    "method": D2,
    VARIANT_KEY: PAPER,
    "score": "uniform",
    "budget": STRATA,
    "scale": "median",
    "messages": "mean",
}
NOVEL = {"method": D2, VARIANT_KEY: NOVELTY, "score": RIGHT, "budget": "distinct"}
# Scorers by which auto is expected novelty.
JUDGES = (AUTO, RIGHT)
# Keys that say more of a step than its score; with one of them auto is D2 as it is given.
SAID = (VARIANT_KEY, "budget", "difficulty", *sorted(PAPER_KEYS))


def resolved(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a flat step in which neither the method nor D2's variant nor `fit` is auto; nothing is validated."""
    step = dict(given)
    if step.get("method", AUTO) == AUTO:
        step |= _auto(step)
    if step["method"] == D2 and step.get(VARIANT_KEY, AUTO) == AUTO:
        step[VARIANT_KEY] = PAPER if deciders(step) else NOVELTY
    if step["method"] == D2 and step[VARIANT_KEY] == NOVELTY and step.get(FIT_KEY, AUTO) == AUTO:
        judged = scorer_name(step.get("score", AUTO)) in JUDGES
        step[FIT_KEY] = FIT if judged and step.get("budget", AUTO) != STRATA else NONE
    return step


def without_paper(value: Any) -> Any:
    """Return plain data without each `variant: paper`: versions that had no variants hashed steps without it."""
    if isinstance(value, Mapping):
        return {key: without_paper(inner) for key, inner in value.items() if (key, inner) != (VARIANT_KEY, PAPER)}
    return [without_paper(one) for one in value] if isinstance(value, list | tuple) else value


def _auto(step: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys that the method auto stands for, in place of those that are given."""
    score = step.get("score", AUTO)
    scorer = scorer_name(score)
    if any(step.get(key, AUTO) != AUTO for key in SAID):
        return {"method": D2}
    if scorer in MEASURED:
        return IN_STRATA | {"difficulty": score, "drop_hardest": step.get("drop_hardest", AUTO)}
    if scorer in JUDGES:
        return NOVEL | ({} if scorer == AUTO else {"score": score})
    return {"method": D2}


def deciders(given: Mapping[str, Any]) -> list[str]:
    """Return the keys of a flat step of D2 by which its variant is the paper's; none if `variant` names one."""
    if given.get(VARIANT_KEY, AUTO) != AUTO:
        return []
    scorer, budget = scorer_name(given.get("score", AUTO)), given.get("budget", AUTO)
    own = [key for key in given if key in PAPER_KEYS]
    return [*own, *["score"] * (scorer not in JUDGES), *["budget"] * (budget == STRATA)]


def as_novelty(keys: Sequence[str]) -> str:
    """Return what to do with the keys that `deciders` found for the variant to be novelty."""
    others = {
        "score": "set score to right (or variant to novelty, if scores are probabilities)",
        "budget": "take another budget",
    }
    own = [key for key in keys if key not in others]
    removed = [f"remove {' and '.join(own)}"] if own else []
    return " and ".join([*removed, *(others[key] for key in keys if key in others)])
