import pytest

from filtering.config.selection import Step
from filtering.report.facts import SHARES, decisions
from filtering.selection.registry import BUDGETS, SELECTORS


def step(method="d2", score="clip_score", **settings):
    plain = Step(method=method, **settings).model_dump(mode="json")
    return {"reason": f"selection:{method}", "score": score, "settings": plain}


def test_filters_come_with_what_they_ask_for():
    filters = [
        {"kind": "caption", "settings": {"min_words": 3}, "threshold": None},
        {"kind": "clip_score", "settings": {"keep": 0.8}, "threshold": 0.21},
        {"kind": "language", "settings": {"keep": ["en", "de"]}, "threshold": None},
    ]
    told = decisions(filters, [])
    assert told[0] == "Filter caption (min_words 3): captions must have the configured length."
    assert "the CLIP score must be at least 0.21" in told[1]
    assert "(keep en, de)" in told[2]


@pytest.mark.parametrize("method", SELECTORS)
def test_every_selector_is_told(method):
    (told,) = decisions([], [step(method, **({"variant": "paper"} if method == "d2" else {}))])
    assert told.startswith(f"Selection by {method}, by clip_score: ")
    assert told.endswith(".")


def test_expected_novelty_is_told():
    (told,) = decisions([], [step(score="right")])
    assert told.startswith("Selection by d2 with expected novelty, by right: in each concept it repeatedly picks ")
    assert "30 %, distributed over the concepts by the distinct right pairs" in told


def test_a_step_that_was_recorded_before_there_were_variants_is_told_as_the_papers():
    recorded = step(variant="paper")
    del recorded["settings"]["variant"]
    assert decisions([], [recorded]) == decisions([], [step(variant="paper")])


def test_every_budget_is_told():
    assert set(SHARES) == set(BUDGETS)
    (told,) = decisions([], [step(keep=0.25, budget="uniform")])
    assert "It keeps 25 %, distributed equally over the concepts" in told
    (told,) = decisions([], [step(keep=1200, budget="proportional")])
    assert "It keeps 1,200 samples" in told


def test_named_selections_are_told():
    steps = [step("top"), {"reason": "selection:any", "score": "", "settings": None}]
    assert "in any of the named selections go on" in decisions([], steps)[1]
