import pytest

from filtering.config.selection import Step
from filtering.report.decision import SHARES, decisions
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
    told = decisions({"filters": filters, "steps": []})
    assert told[0] == "Filter caption (min_words 3): captions must be as long as asked."
    assert "the CLIP score is at least 0.21" in told[1]
    assert "(keep en, de)" in told[2]


@pytest.mark.parametrize("method", SELECTORS)
def test_every_selector_is_told(method):
    (told,) = decisions({"filters": [], "steps": [step(method)]})
    assert told.startswith(f"Selection by {method}, judging by clip_score: ")
    assert told.endswith(".")


def test_every_budget_is_told():
    assert set(SHARES) == set(BUDGETS)
    (told,) = decisions({"filters": [], "steps": [step(keep=0.25, budget="uniform")]})
    assert "It keeps 25 %, shared equally among the concepts" in told
    (told,) = decisions({"filters": [], "steps": [step(keep=1200, budget="proportional")]})
    assert "It keeps 1,200 samples" in told


def test_named_selections_are_told():
    steps = [step("top"), {"reason": "selection:any", "score": "", "settings": None}]
    assert "what is in any of them goes on" in decisions({"filters": [], "steps": steps})[1]
