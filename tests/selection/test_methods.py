import pytest
import yaml
from small_configs import given as smallest

from filtering.config.filters import Filter
from filtering.config.run import parse_config
from filtering.core.errors import InputError
from filtering.scores.registry import SCORERS
from filtering.selection.methods import method, methods
from filtering.selection.registry import BUDGETS, SELECTORS


def test_every_part_is_listed_with_what_a_user_needs():
    listed = [(entry["kind"], entry["name"]) for entry in methods()]
    named = {"selector": SELECTORS, "budget": BUDGETS, "scorer": SCORERS, "filter": Filter.model_fields}
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


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("fit", "fit is a key of d2: filtering methods d2"),
        ("variant", "variant is a key of d2: filtering methods d2"),
        ("gamma_reverse", "gamma_reverse is a key of d2: filtering methods d2"),
        ("novelty", "novelty is a value of variant of d2: filtering methods d2"),
        ("squared", "squared is a value of distance of d2: filtering methods d2"),
        ("batchings", "batchings is a key of neg_clip_loss: filtering methods neg_clip_loss"),
        ("temperature", "temperature is a key of complexity, neg_clip_loss: filtering methods complexity"),
        ("difficulty", "difficulty is a key of strata: filtering methods strata"),
        ("captions", "captions is a value of of of neighbour_agreement: filtering methods neighbour_agreement"),
        ("keep", "keep is a key of every step: a fraction above 0 and at most 1, or a number of samples"),
        ("budget", "budget is a key of every step: auto or the name of a budget, such as proportional"),
        ("score", "score is a key of every step: auto, the name of a scorer, "),
    ],
)
def test_a_key_or_a_value_is_pointed_to_where_it_belongs(name, line):
    with pytest.raises(InputError) as refused:
        method(name)
    assert str(refused.value).startswith(f"methods: {line}")


def test_auto_is_listed_with_the_step_that_it_stands_for():
    (entry,) = method("auto")
    novel, strata, _ = entry["step"].split("; ")
    assert novel == (
        "{method: d2, variant: novelty, score: right, budget: distinct, fit: {centred_score: {form: cosine}}}"
    )
    given = {"score": {"table": "t", "column": "c"}}
    assert parse_config(smallest(selection=yaml.safe_load(novel))).selection == parse_config(smallest()).selection
    step = yaml.safe_load(strata[strata.index("{") :]) | {"difficulty": given["score"]}
    assert parse_config(smallest(selection=step)).selection == parse_config(smallest(selection=given)).selection


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="did you mean semdedup"):
        method("semdedupe")
