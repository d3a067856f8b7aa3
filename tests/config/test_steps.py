"""A step of selection: flat as it is given, parsed into the sections of its method and of its budget."""

import hashlib
import json

import pytest
from small_configs import given, refusal, refusals

from filtering.config.aliases import recorded_step
from filtering.config.methods import (
    BUDGET_SECTIONS,
    METHODS,
    ComplexityBudget,
    D2Settings,
    HierarchicalBudget,
    MinimumBudget,
    NoSettings,
    NoveltySettings,
    RandomSettings,
    SemDedupSettings,
    StrataBudget,
    ThresholdSettings,
    method_of,
)
from filtering.config.run import UNDECISIVE, parse_config
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
        ({}, NoveltySettings(), NoSettings()),
        ({"gamma_forward": 0.5, "minimum": 3}, D2Settings(gamma_forward=0.5), MinimumBudget(minimum=3)),
        (
            {"budget": "complexity", "temperature": 0.5, "minimum": 3},
            NoveltySettings(),
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
    found = step(method=method, budget="auto" if METHODS[method].decides else budget)
    flat = found.model_dump(mode="json")
    known = method_of(method, flat.get("variant"))
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
        (
            {"epsilon": 0.1},
            "epsilon: method d2 with variant novelty and budget distinct does not read it; it is for method semdedup",
        ),
        (
            {"method": "d2", "variant": "novelty", "gamma_reverse": 2.0},
            "gamma_reverse: method d2 with variant novelty and budget distinct does not read it; "
            "it is for method d2 with variant paper",
        ),
        (
            {"method": "top", "variant": "paper"},
            "variant: method top with budget proportional does not read it; it is for method d2",
        ),
        ({"variant": "papr"}, 'variant: "papr" is not valid; it must be auto, novelty or paper; did you mean paper?'),
        (
            {"method": "d2", "variant": "novelty", "fit": "clip_score", "budget": "strata"},
            "budget: strata are cut by a second score, and so is fit; set fit to none or take another budget",
        ),
        (
            {"method": "d2", "variant": "paper", "fit": "clip_score"},
            "fit: method d2 with variant paper and budget proportional does not read it; it is for method d2 with "
            "variant novelty",
        ),
        (
            {"method": "d2", "variant": "novelty", "budget": "strata", "drop_hardest": "most"},
            'drop_hardest: "most" is not valid; it must be auto (by the share',
        ),
        (
            {"method": "random", "gamma_reverse": 1.0},
            "gamma_reverse: method random with budget proportional does not read it; "
            "it is for method d2 with variant paper",
        ),
        (
            {"budget": "uniform", "temperature": 0.2},
            "temperature: method d2 with variant novelty and budget uniform does not read it; "
            "it is for budget complexity",
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
        ({"method": ["d2"]}, 'method: ["d2"] is not valid; it must be auto or the name of a selector'),
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
    assert found.settings == D2Settings(gamma_forward=0.5)
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


def test_a_step_of_novelty_that_was_recorded_before_there_was_fit_has_none():
    recorded = {"method": "d2", "variant": "novelty", "score": "right", "keep": 0.3, "budget": "distinct"}
    assert recorded_step(recorded).settings.fit == "none"
    assert recorded_step(recorded | {"fit": FIT}).settings == step().settings


def test_scores_are_recorded_with_the_scorer_that_is_named_alone_and_read_either_way():
    score = {"combine": {"of": [{"score": {"neg_clip_loss": {"batchings": 2}}}], "by": "rank"}}
    keys = {"method": "d2", "variant": "novelty", "score": score, "fit": FIT, "budget": "uniform"}
    config = parse_config(given(selection=keys))
    short, whole = config.resolved(), config.model_dump(mode="json")
    assert short["selection"]["fit"] == FIT
    assert list(short["selection"]["score"]["combine"]["of"][0]["score"]) == ["neg_clip_loss"]
    # As older versions recorded it, and as digests have it.
    assert whole["selection"]["fit"]["norm_sim"] is None
    for plain in (short, whole):
        assert parse_config(plain) == config
        assert parse_config(plain).digest() == config.digest()
        assert recorded_step(plain["selection"]) == Step(**keys)
    decisive = {key: value for key, value in whole.items() if key not in UNDECISIVE}
    assert config.digest() == hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def test_a_step_that_was_recorded_before_there_were_variants_is_the_papers():
    found = recorded_step({"method": "d2", "score": "auto", "keep": 0.3, "budget": "uniform", "minimum": 0})
    assert (found.settings, found.budget) == (D2Settings(), "uniform")
    assert recorded_step({"keep": 0.3}).settings == D2Settings()


TABLE = {"table": "t.parquet", "column": "hardness"}
FIT = {"centred_score": {"form": "cosine"}}
NOVEL = {"method": "d2", "variant": "novelty", "score": "right", "budget": "distinct", "fit": FIT}
IN_STRATA = {
    "method": "d2",
    "variant": "paper",
    "score": "uniform",
    "budget": "strata",
    "scale": "median",
    "messages": "mean",
    "drop_hardest": "auto",
}


@pytest.mark.parametrize(
    ("keys", "plain"),
    [
        ({}, NOVEL),
        ({"score": "right", "budget": "auto", "variant": "auto"}, NOVEL),
        ({"score": {"right": {"neighbours": "images"}}}, NOVEL | {"score": {"right": {"neighbours": "images"}}}),
        ({"keep": 0.1, "per": "pool"}, NOVEL | {"keep": 0.1}),
        ({"score": TABLE}, IN_STRATA | {"difficulty": TABLE}),
        ({"score": TABLE, "keep": 9}, IN_STRATA | {"difficulty": TABLE, "keep": 9}),
        ({"score": {"aum": {"table": "t"}}}, IN_STRATA | {"difficulty": {"aum": {"table": "t"}}}),
        (
            {"score": {"el2n": {"table": "t"}}, "drop_hardest": 0.1, "strata": 9},
            IN_STRATA | {"difficulty": {"el2n": {"table": "t"}}, "drop_hardest": 0.1, "strata": 9},
        ),
        (
            {"score": TABLE, "variant": "novelty"},
            {"method": "d2", "variant": "novelty", "score": TABLE, "fit": "none"},
        ),
        ({"fit": "none"}, NOVEL | {"fit": "none"}),
        ({"fit": "clip_score"}, NOVEL | {"fit": "clip_score"}),
        ({"fit": "auto"}, NOVEL),
        (
            {"score": TABLE, "budget": "uniform"},
            {"method": "d2", "variant": "paper", "score": TABLE, "budget": "uniform"},
        ),
        ({"score": TABLE, "scale": "median"}, {"method": "d2", "variant": "paper", "score": TABLE, "scale": "median"}),
        ({"score": "clip_score"}, {"method": "d2", "variant": "paper", "score": "clip_score"}),
        ({"score": {"neg_clip_loss": {}}}, {"method": "d2", "variant": "paper", "score": {"neg_clip_loss": {}}}),
        ({"budget": "uniform"}, {"method": "d2", "variant": "novelty", "budget": "uniform", "fit": FIT}),
        ({"gamma_reverse": 2.0}, {"method": "d2", "variant": "paper", "gamma_reverse": 2.0}),
        ({"variant": "paper"}, {"method": "d2", "variant": "paper"}),
    ],
)
def test_the_method_auto_stands_for_a_plain_step(keys, plain):
    found = step(method="auto", **keys)
    assert found == step(**keys) == step(**plain)
    assert found.method == "d2"
    assert step(**found.model_dump(mode="json")) == found


@pytest.mark.parametrize(
    ("keys", "variant", "budget"),
    [
        ({}, "novelty", "distinct"),
        ({"score": "right"}, "novelty", "distinct"),
        ({"budget": "complexity"}, "novelty", "complexity"),
        ({"scale": "fixed"}, "paper", "proportional"),
        ({"rounds": 1}, "paper", "proportional"),
        ({"score": "uniform"}, "paper", "proportional"),
        ({"score": TABLE}, "paper", "proportional"),
        ({"budget": "strata"}, "paper", "strata"),
        ({"variant": "paper"}, "paper", "proportional"),
        ({"variant": "novelty", "score": "uniform", "budget": "strata"}, "novelty", "strata"),
    ],
)
def test_the_variant_of_d2_follows_from_what_is_given(keys, variant, budget):
    found = step(method="d2", **keys)
    assert (found.settings.variant, found.budget_name) == (variant, budget)
    flat = found.model_dump(mode="json")
    assert flat["variant"] == variant
    assert step(**flat) == found


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"keep": 0.1, "fit": "none"},
        {"method": "d2", "gamma_reverse": 3.0, "minimum": 2},
        {"score": {"aum": {"table": "t", "column": None}}, "strata": 9},
        {"budget": "uniform"},
    ],
)
def test_a_step_knows_which_keys_were_given(keys):
    found = step(**keys, variant="auto")
    assert {*found.given} <= {*keys}
    assert {key: found.given[key] for key in keys if key != "score"} == {
        key: keys[key] for key in keys if key != "score"
    }
    assert ("score" in found.given) == ("score" in keys)


def test_hashes_of_steps_of_the_paper_are_those_from_before_there_were_variants():
    steps = [{"method": "semdedup"}, {"method": "d2", "rounds": 0, "budget": "strata"}]
    named = {"a": {"method": "d2", "messages": "mean"}}
    config = parse_config(given(selection={"steps": steps}, selections=named))
    flat = config.resolved()
    del flat["selection"]["steps"][1]["variant"], flat["selections"]["a"]["variant"]
    decisive = {key: value for key, value in flat.items() if key not in UNDECISIVE}
    assert config.digest() == hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
    novel = parse_config(given(selection={"method": "d2"}))
    assert novel.digest() != parse_config(given(selection={"method": "d2", "variant": "paper"})).digest()


@pytest.mark.parametrize(
    ("selection", "line"),
    [
        ({"score": "clipscore"}, "selection.score: unknown scorer clipscore; did you mean clip_score?"),
        ({"score": "table"}, "selection.score: unknown scorer table; "),
        ({"score": {"table": "t.parquet"}}, "selection.score.column: is missing"),
        (
            {"steps": [{"method": "top"}, {"method": "d2", "score": "sd"}]},
            "selection.steps.1.score: unknown scorer sd; did",
        ),
        (
            {"fit": "clipscore"},
            "selection.fit: unknown scorer clipscore; did you mean clip_score?",
        ),
        (
            {"fit": {"table": "t.parquet"}},
            "selection.fit.column: is missing",
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


@pytest.mark.parametrize(
    ("keys", "wrong"),
    [
        ({"method": "d22", "fit": "clipscore"}, ["fit", "method"]),
        ({"method": "d22", "rounds": -1, "threshold": "x", "budget": "strata"}, ["method", "rounds", "threshold"]),
        ({"method": "d22", "variant": "noveltyy", "minimum": -1}, ["method", "minimum", "variant"]),
        ({"method": "d22", "gamma_revers": 3}, ["gamma_revers", "method"]),
        ({"method": ["d2"], "difficulty": "el3n"}, ["difficulty", "method"]),
        ({"variant": "noveltyy", "fit": "clipscore", "gamma_reverse": -1}, ["fit", "gamma_reverse", "variant"]),
        ({"variant": "noveltyy", "fit": "clip_score", "rounds": 0}, ["variant"]),
        ({"variant": 3, "budget": "unifrom", "temperature": 0}, ["budget", "temperature", "variant"]),
        ({"method": "top", "budget": "unifrom", "levels": 0}, ["budget", "levels"]),
        ({"method": "d2", "variant": "papr", "keep": 2.5}, ["keep", "variant"]),
    ],
)
def test_beside_an_unknown_name_every_value_is_checked_and_no_key_is_called_unread(keys, wrong):
    lines = refusals(given(selection=keys))
    assert sorted(line.split(":")[0] for line in lines) == [f"selection.{key}" for key in wrong]
    assert not any("does not read" in line for line in lines)


RIGHT = "set score to right (or variant to novelty, if scores are probabilities)"


@pytest.mark.parametrize(
    ("keys", "chose", "advice"),
    [
        ({"rounds": 0}, "rounds", "remove rounds"),
        ({"method": "d2", "scale": "median", "variant": "auto"}, "scale", "remove scale"),
        (
            {"gamma_reverse": 3, "rounds": 0, "score": "clip_score"},
            "gamma_reverse and rounds and score",
            f"remove gamma_reverse and rounds and {RIGHT}",
        ),
        ({"score": "clip_score"}, "score", RIGHT),
        ({"score": {"aum": {"table": "t"}}}, "score", RIGHT),
        ({"budget": "strata"}, "budget", "take another budget"),
    ],
)
def test_what_chose_the_papers_variant_is_said_where_fit_is_not_read(keys, chose, advice):
    assert refusal(given(selection=keys | {"fit": "clip_score"})) == (
        f"selection.fit: {chose} chose variant paper, which does not read it; "
        f"for variant novelty {advice}, for variant paper remove fit"
    )


def test_a_parameter_of_another_method_is_refused_beside_an_unknown_budget():
    lines = refusals(given(selection={"method": "d2", "variant": "novelty", "gamma_reverse": 3, "budget": "distnct"}))
    assert sorted(line.split(":")[0] for line in lines) == ["selection.budget", "selection.gamma_reverse"]
