"""A step of selection: flat as it is given, parsed into the sections of its method and of its budget."""

import pytest
from small_configs import given, refusal

from filtering.config.aliases import recorded_step
from filtering.config.methods import (
    BUDGET_SECTIONS,
    METHODS,
    ComplexityBudget,
    D2Settings,
    HierarchicalBudget,
    MinimumBudget,
    NoSettings,
    RandomSettings,
    SemDedupSettings,
    StrataBudget,
    ThresholdSettings,
)
from filtering.config.run import parse_config
from filtering.config.selection import Step

# As run.json of older versions has a step: the parameters of every method and budget.
FORMER = {
    "method": "d2",
    "score": "clip_score",
    "keep": 0.2,
    "per": "night",
    "budget": "auto",
    "gamma_forward": 0.5,
    "gamma_reverse": 1.0,
    "rounds": 1,
    "distance": "squared",
    "scale": "fixed",
    "messages": "sum",
    "temperature": 0.1,
    "minimum": 2,
    "strata": 50,
    "drop_hardest": 0.0,
    "difficulty": "auto",
    "scope": "pool",
    "levels": 2,
    "epsilon": 0.05,
    "matches": "survivors",
    "split": 0.5,
    "threshold": None,
    "seed": 0,
}


def step(**keys):
    return parse_config(given(selection=keys)).selection


@pytest.mark.parametrize(
    ("keys", "settings", "budget_settings"),
    [
        ({}, D2Settings(), MinimumBudget()),
        ({"gamma_forward": 0.5, "minimum": 3}, D2Settings(gamma_forward=0.5), MinimumBudget(minimum=3)),
        (
            {"budget": "complexity", "temperature": 0.5, "minimum": 3},
            D2Settings(),
            ComplexityBudget(temperature=0.5, minimum=3),
        ),
        ({"method": "random", "seed": 4}, RandomSettings(seed=4), MinimumBudget()),
        ({"method": "ccs", "strata": 9, "seed": 4}, RandomSettings(seed=4), StrataBudget(strata=9)),
        ({"method": "hierarchical", "seed": 4}, RandomSettings(seed=4), HierarchicalBudget(seed=4)),
        ({"method": "top", "budget": "hierarchical", "seed": 4}, NoSettings(), HierarchicalBudget(seed=4)),
        ({"method": "semdedup", "matches": "all"}, SemDedupSettings(matches="all"), NoSettings()),
        ({"method": "threshold", "threshold": 0.5}, ThresholdSettings(threshold=0.5), NoSettings()),
        ({"method": "clip_powered"}, NoSettings(), NoSettings()),
        ({"method": "all"}, NoSettings(), NoSettings()),
    ],
)
def test_parameters_are_in_the_sections_of_their_method_and_budget(keys, settings, budget_settings):
    found = step(**keys)
    assert (found.settings, found.budget_settings) == (settings, budget_settings)


@pytest.mark.parametrize("budget", ["auto", *BUDGET_SECTIONS])
@pytest.mark.parametrize("method", METHODS)
def test_a_step_is_written_flat_with_the_keys_that_it_reads(method, budget):
    known = METHODS[method]
    found = step(method=method, budget="auto" if known.decides else budget)
    flat = found.model_dump(mode="json")
    common = {"method", "score"} if method in ("semdedup", "all") else {"method", "score", "keep", "per"}
    own = BUDGET_SECTIONS.get(known.budget if budget == "auto" else budget, NoSettings)
    parameters = {*known.settings.model_fields, *(() if known.decides else own.model_fields)}
    assert set(flat) == common | parameters | (set() if known.decides else {"budget"})
    assert step(**flat) == found


def test_a_threshold_takes_the_place_of_keep():
    assert step(method="threshold", threshold=0.5).model_dump(mode="json") == {
        "method": "threshold",
        "score": "auto",
        "threshold": 0.5,
    }


def test_a_list_of_steps_is_written_alone():
    steps = [{"method": "semdedup", "epsilon": 0.1}, {"all": ["a"]}, {"method": "top", "budget": "pool"}]
    config = parse_config(given(selection={"steps": steps}, selections={"a": {"method": "random", "seed": 1}}))
    assert set(config.resolved()["selection"]) == {"steps"}
    assert config.resolved()["selections"]["a"]["seed"] == 1
    assert parse_config(config.resolved()) == config


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"epsilon": 0.1}, "epsilon: method d2 with budget proportional does not read it; it is for method semdedup"),
        (
            {"method": "random", "gamma_reverse": 1.0},
            "gamma_reverse: method random with budget proportional does not read it; it is for method d2",
        ),
        (
            {"budget": "uniform", "temperature": 0.2},
            "temperature: method d2 with budget uniform does not read it; it is for budget complexity",
        ),
        (
            {"method": "semdedup", "minimum": 2},
            "minimum: method semdedup does not read it; it is for budgets proportional, uniform, complexity",
        ),
        (
            {"method": "moderate", "seed": 2},
            "seed: method moderate with budget proportional does not read it; "
            "it is for methods random, ccs, flexrand, hierarchical and budget hierarchical",
        ),
        (
            {"method": "all", "budget": "uniform"},
            "budget: method all does not read it: the method itself decides how many samples it keeps",
        ),
        ({"method": "randon"}, "method: unknown selector randon; did you mean random?"),
        ({"method": "randon", "seed": 3}, "method: unknown selector randon; did you mean random?"),
        ({"budget": "unifrom", "minimum": 3}, "budget: unknown budget unifrom; did you mean uniform?"),
        ({"budget": 3, "minimum": 3}, "budget: 3 is not valid; it must be auto or the name of a budget, such as"),
        ({"method": ["d2"]}, 'method: ["d2"] is not valid; it must be the name of a selector'),
        (
            {"budget": "strata", "difficulty": {"aum": {"table": "x", "tabel": 1}}},
            "difficulty.aum.tabel: unknown key; did you",
        ),
        ({"strata": 0, "method": "ccs"}, "strata: 0 is not valid; it must be the number of strata"),
        ({"settings": {}}, "settings: unknown key"),
        ({"budget_settings": {}}, "budget_settings: unknown key"),
    ],
)
def test_what_is_wrong_with_a_step_is_said_wherever_it_stands(keys, message):
    assert refusal(given(selection=keys)).startswith(f"selection.{message}")
    assert refusal(given(selection={"steps": [{}, keys]})).startswith(f"selection.steps.1.{message}")
    assert refusal(given(selections={"a": keys})).startswith(f"selections.a.{message}")
    assert refusal(given(selections={"a": [{}, keys]})).startswith(f"selections.a.1.{message}")


@pytest.mark.parametrize("keys", [{"keep": 0.3}, {"gamma_forward": 1.0}, {"method": "d2"}])
def test_keys_of_a_step_beside_a_list_of_steps_are_refused(keys):
    message = refusal(given(selection={**keys, "steps": [{"method": "top"}]}))
    assert message == f"selection: {next(iter(keys))} belongs to a step when selection.steps is given"


def test_a_step_that_an_older_version_recorded_is_read():
    found = recorded_step(FORMER)
    keys = {"score": "clip_score", "keep": 0.2, "per": "increment", "gamma_forward": 0.5, "minimum": 2}
    assert found == Step(**keys)
    assert recorded_step(FORMER | {"method": "semdedup", "budget": "uniform"}).model_dump() == {
        "method": "semdedup",
        "score": "clip_score",
        "epsilon": 0.05,
        "matches": "survivors",
    }
    assert recorded_step(found.model_dump(mode="json")) == found


def test_the_configuration_that_an_older_version_recorded_is_read():
    graph = {"k": 10, "recall": 0.97, "guests": 4.0, "reach": 16}
    config = parse_config(given(graph=graph, selection=FORMER | {"method": "top", "steps": []}))
    assert config.selection.model_dump(exclude={"steps"}) == recorded_step(FORMER | {"method": "top"}).model_dump()
    steps = [FORMER | {"method": "semdedup"}, FORMER]
    listed = parse_config(given(selection=FORMER | {"steps": steps}, selections={"a": FORMER, "b": steps}))
    assert list(listed.selection.steps) == [recorded_step(one) for one in steps]
    assert listed.selections["a"] == recorded_step(FORMER)


@pytest.mark.parametrize(
    ("selection", "line"),
    [
        ({"score": "clipscore"}, "selection.score: unknown scorer clipscore; did you mean clip_score?"),
        ({"score": "table"}, "selection.score: unknown scorer table; "),
        (
            {"steps": [{"method": "top"}, {"method": "d2", "score": "sd"}]},
            "selection.steps.1.score: unknown scorer sd; did",
        ),
        (
            {"budget": "strata", "difficulty": "el3n"},
            "selection.difficulty: unknown scorer el3n; did you mean el2n?",
        ),
        (
            {"score": {"combine": {"of": [{"score": "sass"}]}}},
            "selection.score.combine.of.0.score: unknown scorer sass; did you mean sas?",
        ),
    ],
)
def test_an_unknown_scorer_is_refused_where_it_stands(selection, line):
    assert refusal(given(selection=selection)).startswith(line)
