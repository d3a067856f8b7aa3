"""What `auto` stands for in a step of D2, as `plan` and `run` say it."""

import pytest
from small_configs import given

from filtering.config.run import parse_config
from filtering.pipeline.step_words import auto_warnings, step_lines


def lines_of(**keys):
    return step_lines(parse_config(given(selection=keys)))


NOVEL = (
    "selection: the method auto is d2 with score right, budget distinct, variant novelty, "
    'fit {"centred_score": {"form": "cosine"}}'
)


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({}, NOVEL),
        ({"keep": 0.1, "method": "auto", "variant": "auto", "fit": "auto"}, NOVEL),
        (
            {"keep": 0.3, "gamma_reverse": 3},
            "selection: the method auto is d2 with score clip_score, budget proportional, variant paper, "
            "as gamma_reverse is given, gamma_reverse 3.0",
        ),
        (
            {"method": "d2", "rounds": 0, "scale": "median", "budget": "strata"},
            "selection: d2 with score clip_score, budget strata, variant paper, "
            "as rounds and scale and budget are given, rounds 0, scale median",
        ),
        (
            {"score": "sds"},
            "selection: the method auto is d2 with score sds, budget proportional, variant paper, as score is given",
        ),
        (
            {"method": "d2", "budget": "uniform"},
            "selection: d2 with score right, budget uniform, variant novelty, "
            'fit {"centred_score": {"form": "cosine"}}',
        ),
        (
            {"method": "d2", "variant": "paper"},
            "selection: d2 with score clip_score, budget proportional, variant paper",
        ),
        (
            {"variant": "novelty", "score": "uniform"},
            "selection: the method auto is d2 with score uniform, budget distinct, variant novelty, fit none",
        ),
        (
            {"score": {"aum": {"table": "t"}}},
            "selection: the method auto is d2 with score uniform, budget strata, variant paper, as score is given, "
            'scale median, messages mean, drop_hardest auto, difficulty {"aum": {"table": "t"}}',
        ),
    ],
    ids=str,
)
def test_a_step_of_d2_is_said_in_a_line(keys, line):
    assert lines_of(**keys) == [line]


def test_other_methods_say_nothing():
    assert lines_of(method="top") == []


def test_every_step_of_d2_is_said_with_its_place_once():
    selection = {"steps": [{"method": "semdedup"}, {"any": ["a", "b"]}, {"all": ["a"]}, {"keep": 0.3}]}
    config = parse_config(given(selection=selection, selections={"a": {}, "b": [{"method": "top"}, {"method": "d2"}]}))
    assert [line.split(":")[0] for line in step_lines(config)] == [
        "selections.a",
        "selections.b.1",
        "selection.steps.3",
    ]


@pytest.mark.parametrize(
    ("keys", "warned"),
    [
        ({"gamma_reverse": 3}, True),
        ({"method": "auto", "scale": "fixed"}, True),
        ({"method": "d2", "gamma_reverse": 3}, False),
        ({"variant": "paper", "gamma_reverse": 3}, False),
        ({"score": "clip_score"}, False),
        ({"score": {"aum": {"table": "t"}}}, False),
        ({"budget": "strata"}, False),
        ({}, False),
    ],
    ids=str,
)
def test_a_key_of_the_paper_with_the_method_auto_is_warned_of(keys, warned):
    lines = auto_warnings(parse_config(given(selection=keys)))
    assert len(lines) == warned
    assert all("the method auto is d2 with score clip_score" in line for line in lines)
