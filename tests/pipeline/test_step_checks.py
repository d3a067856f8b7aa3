"""What no step of selection can do is refused before any work is done."""

import pytest
from pools import metadata_config

from filtering.config.run import parse_config
from filtering.core.errors import InputError
from filtering.pipeline.run import check
from filtering.scores.registry import SCORERS


@pytest.fixture
def checked(metadata_pool, tmp_path):
    """The lines in which a configuration of the pool is refused, none where it is not."""

    def lines(**sections):
        try:
            check(parse_config(metadata_config(metadata_pool, tmp_path / "run", **sections)))
        except InputError as refused:
            return str(refused).splitlines()
        return []

    return lines


NOVEL, DISTINCT = {"method": "d2", "variant": "novelty"}, {"method": "top", "budget": "distinct"}
NO_PROBABILITIES = [
    "clip_score",
    "centred_score",
    "neighbour_agreement",
    "neg_clip_loss",
    "prototypicality",
    "sas",
    "sds",
    "clip_powered",
    {"neg_clip_loss": {"batchings": 0}},
]


@pytest.mark.parametrize("score", NO_PROBABILITIES, ids=str)
@pytest.mark.parametrize("keys", [NOVEL, DISTINCT], ids=["novelty", "distinct"])
def test_a_score_that_is_no_probability_is_refused_where_probabilities_are_needed(checked, keys, score):
    (line,) = checked(selection=keys | {"score": score})
    name = score if isinstance(score, str) else next(iter(score))
    reader = "variant novelty" if keys is NOVEL else "budget distinct"
    assert line.startswith(f"selection.score: {name}, with values of ")
    assert f", but {reader} takes probabilities, from 0 to 1; use score right, " in line
    assert line.endswith(", by: rank}} or a table of probabilities")


def test_the_score_that_a_method_takes_by_itself_is_refused_too(checked):
    (line,) = checked(selection=DISTINCT)
    assert line.startswith("selection.score: auto is clip_score, with values of -1 to 1, but budget distinct takes")


def test_every_step_with_a_score_that_is_no_probability_is_named(checked):
    steps = [{"method": "top", "keep": 0.5}, NOVEL | {"score": "clip_score"}, {"all": ["a"]}]
    lines = checked(selection={"steps": steps}, selections={"a": DISTINCT | {"score": "sds"}})
    assert [line.split(",")[0] for line in lines] == [
        "selection.steps.1.score: clip_score",
        "selections.a.score: sds",
    ]


@pytest.mark.parametrize(
    "score", ["right", "uniform", {"combine": {"of": [{"score": "clip_score"}], "by": "rank"}}], ids=str
)
@pytest.mark.parametrize("keys", [NOVEL, DISTINCT], ids=["novelty", "distinct"])
def test_scores_that_can_be_probabilities_pass(checked, keys, score):
    assert checked(selection=keys | {"score": score}) == []


TABLE = {"table": "/nowhere.parquet", "column": "c"}


@pytest.mark.parametrize(
    ("sections", "start"),
    [
        ({"selection": {"fit": TABLE}}, "selection.fit: table: /nowhere.parquet cannot be read"),
        ({"selection": {"fit": {"norm_sim": {"targets": "/no.npy"}}}}, "selection.fit: targets: /no.npy is not there"),
        ({"selection": {"fit": "norm_sim"}}, "selection.fit: norm_sim needs targets; write {norm_sim: {targets: ...}}"),
        ({"selection": {"fit": "dlc"}}, "selection.fit: dlc runs a model over images"),
        (
            {"selection": {"fit": {"combine": {"of": [{"score": "aum"}]}}}},
            "selection.fit: aum needs table; write {aum: {table: ...}}",
        ),
        (
            {"selection": {"method": "top", "budget": "strata", "difficulty": TABLE}},
            "selection.difficulty: table: /nowhere.parquet cannot be read",
        ),
        ({"selection": {"score": TABLE}}, "selection.score: table: /nowhere.parquet cannot be read"),
        ({"selection": {"score": "aum"}}, "selection.score: aum needs table"),
        ({"selection": {"steps": [{"method": "top"}, {"fit": "aum"}]}}, "selection.steps.1.fit: aum needs table"),
        (
            {"selection": {"steps": [{"all": ["a"]}]}, "selections": {"a": {"fit": TABLE}}},
            "selections.a.fit: table: /nowhere.parquet cannot be read",
        ),
    ],
    ids=str,
)
def test_a_score_that_cannot_be_had_is_refused_at_the_key_that_asks_for_it(checked, sections, start):
    (line,) = checked(**sections)
    assert line.startswith(start)


def test_scores_of_any_value_pass_where_probabilities_are_not_needed(checked):
    assert checked(selection={"score": "clip_score"}) == []


def test_only_scorers_within_0_to_1_and_those_that_are_given_can_be_probabilities():
    probable = {name for name, scorer in SCORERS.items() if scorer.values.probable}
    given = {"table", "el2n", "forgetting", "aum", "combine", "column", "head"}
    assert probable == {"right", "uniform", "image_based"} | given
