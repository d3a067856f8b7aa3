from filtering.config.scores import Right, ScoreOf
from filtering.scores.registry import AGREEMENTS, SCORERS, Spec, parts_of, spec_of
from filtering.scores.titles import about_of, title_of


def test_scores_that_right_reads_are_told_apart():
    parts = [title_of(part) for part in parts_of(Spec("right", Right()))]
    assert parts == ["centred_score", "neighbour_agreement of images", "neighbour_agreement of captions"]
    assert [about_of(part).rpartition(" of ")[2] for part in parts[1:]] == ["similar images", "similar captions"]


def test_every_other_score_has_its_own_name_and_the_registrys_words():
    for name in SCORERS.keys() - {spec.name for spec in AGREEMENTS.values()}:
        assert title_of(Spec(name)) == name
        assert about_of(name) == about_of(f"{name} 2") == SCORERS[name].about


def test_a_field_of_the_pool_is_named():
    spec = spec_of(ScoreOf.model_validate({"column": {"name": "punsafe"}}), "clip_score")
    assert title_of(spec) == "column punsafe"
    assert about_of(title_of(spec)) == "a number that the pool has for each sample, such as pwatermark"
