from filtering.config.scores import Right
from filtering.scores.registry import AGREEMENTS, SCORERS, Spec, parts_of
from filtering.scores.titles import about_of, title_of


def test_scores_that_right_reads_are_told_apart():
    parts = [title_of(part) for part in parts_of(Spec("right", Right()))]
    assert parts == ["centred_score", "neighbour_agreement of images", "neighbour_agreement of captions"]
    assert [about_of(part).rpartition(" of ")[2] for part in parts[1:]] == ["similar images", "similar captions"]


def test_every_other_score_has_its_own_name_and_the_registrys_words():
    for name in SCORERS.keys() - {spec.name for spec in AGREEMENTS.values()}:
        assert title_of(Spec(name)) == name
        assert about_of(name) == about_of(f"{name} 2") == SCORERS[name].about
