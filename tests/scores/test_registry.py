import numpy as np
import open_clip
import pyarrow as pa
import pytest
from pydantic import TypeAdapter

from filtering.config.scores import NAMES, Score, ScoreTable
from filtering.core.errors import InputError
from filtering.scores.registry import AUTO, SCORERS, spec_of
from filtering.scores.scorer import Kind
from filtering.scores.stage import scores_key

SETTINGS = TypeAdapter(Score)


def spec(score, default="clip_score"):
    return spec_of(SETTINGS.validate_python(score), default)


def test_auto_is_what_the_method_judges_by():
    assert spec("auto", "prototypicality").name == "prototypicality"
    assert spec("clip_score", "prototypicality").name == "clip_score"


def test_scores_of_rows():
    rows = pa.table({"uid": ["a", "b"], "clip_score": np.array([0.1, 0.2], dtype=np.float32)})
    assert np.allclose(spec("clip_score").scorer.of_rows(rows, None, {}), [0.1, 0.2])
    assert spec("uniform").scorer.of_rows(rows, None, {}).tolist() == [1.0, 1.0]


@pytest.mark.parametrize(("name", "keep"), [("el2n", "higher"), ("forgetting", "higher"), ("aum", "lower")])
def test_training_dynamics_know_their_column_and_orientation(name, keep):
    assert spec({name: {"table": "t.parquet"}}).settings == ScoreTable(table="t.parquet", column=name, keep=keep)
    assert spec({name: {"table": "t.parquet", "column": "x"}}).settings.column == "x"


def test_a_scorer_with_parameters():
    found = spec({"neg_clip_loss": {"batchings": 2}})
    assert (found.name, found.settings.batchings, found.settings.batch_size) == ("neg_clip_loss", 2, 32_768)
    assert spec("neg_clip_loss").settings.batchings == 5


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("norm_sim", "norm_sim needs targets; write {norm_sim: {targets: ...}}"),
        ("aum", "aum needs table"),
        ("combine", "combine needs of"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_one_line(name, message):
    with pytest.raises(InputError) as refused:
        spec(name)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_every_scorer_says_what_it_is():
    for name, scorer in SCORERS.items():
        assert scorer.about, name
        assert (scorer.of_rows is not None) == (scorer.kind is Kind.ROWS), name
        assert (scorer.of_images is not None) == (scorer.context is not None) == (scorer.kind is Kind.IMAGES), name
        assert (scorer.context is not None) == (scorer.kind is Kind.IMAGES), name


def test_the_configuration_knows_the_name_of_each_scorer():
    assert set(NAMES) == {AUTO, *SCORERS} - {"table"}


def test_another_list_of_a_package_is_another_score(monkeypatch):
    def fingerprints():
        return [scores_key(spec(name), (), {}).fingerprint for name in ("metaclip", "clip_score")]

    before = fingerprints()
    assert fingerprints() == before
    monkeypatch.setattr(open_clip, "IMAGENET_CLASSNAMES", ["goldfish"])
    metaclip, clip_score = fingerprints()
    assert metaclip != before[0]
    assert clip_score == before[1]
