import pytest

from filtering.core.errors import InputError
from filtering.scores.registry import SCORERS
from filtering.selection.methods import method, methods
from filtering.selection.registry import BUDGETS, SELECTORS


def test_every_part_is_listed_with_what_a_user_needs():
    listed = [(entry["kind"], entry["name"]) for entry in methods()]
    named = {"selector": SELECTORS, "budget": BUDGETS, "scorer": SCORERS}
    assert listed[0] == ("selector", "auto")
    assert listed[1:] == [(kind, name) for kind, parts in named.items() for name in parts]
    for entry in methods():
        assert entry["about"], entry["name"]
        assert all(parameter["description"] for parameter in entry["parameters"]), entry["name"]
        assert (entry["kind"] == "scorer") == bool(entry["orientation"])


def test_a_name_may_be_of_several_kinds():
    assert [entry["kind"] for entry in method("metaclip")] == ["selector", "scorer"]


def test_d2_is_listed_with_both_variants():
    (entry,) = method("d2")
    parameters = {one["name"]: one for one in entry["parameters"]}
    assert parameters["variant"]["default"] == "auto"
    assert parameters["scale"]["description"].startswith("variant paper: ")
    assert "score (auto: right), budget (auto: distinct)" in entry["inputs"]
    assert "score (auto: clip_score), budget (auto: proportional)" in entry["inputs"]


def test_what_must_be_given_has_no_default():
    (entry,) = method("norm_sim")
    assert [(one["name"], "default" in one) for one in entry["parameters"]] == [("targets", False)]


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="did you mean semdedup"):
        method("semdedupe")
