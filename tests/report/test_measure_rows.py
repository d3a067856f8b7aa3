from filtering.report.data import Measure
from filtering.report.facts import MEANINGS, measure_rows


def test_figures_of_a_run_in_plain_words():
    (row,) = measure_rows({"coverage": {"selection": 0.2, "random": 0.3}})
    label, meaning, better = MEANINGS["coverage"]
    assert row == Measure(label, meaning, None, 0.2, 0.3, better)
    assert better == "lower"


def test_what_a_later_version_may_add_is_left_out():
    assert measure_rows({"novelty": {"selection": 1.0}}) == ()
