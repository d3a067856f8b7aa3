import pytest

from filtering.config.filters import Filter
from filtering.config.selection import Step
from filtering.manifests.reasons import FILTERS, STEPS, explained, reasons_of_novelty
from filtering.report.facts import FILTERS as SENTENCES
from filtering.runtime.run_record import StepRecord

PAPER, NOVELTY, TOP = {"method": "d2", "variant": "paper"}, {"method": "d2", "variant": "novelty"}, {"method": "top"}


def record(settings):
    step = Step.model_validate(settings) if settings else None
    reason, plain = f"selection:{step.method if step else 'all'}", step.model_dump(mode="json") if step else None
    return StepRecord(stage="selection", folder="", reason=reason, score="right", settings=plain)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], ()),
        ([None, TOP, NOVELTY], ("selection:d2",)),
        ([PAPER], ()),
        ([NOVELTY, PAPER], ()),
        ([PAPER, NOVELTY], ()),
    ],
)
def test_a_reason_means_expected_novelty_where_no_other_step_gives_it(steps, expected):
    assert reasons_of_novelty([record(settings) for settings in steps]) == expected


def test_what_expected_novelty_left_out_has_three_ways():
    label, meaning = explained("selection:d2", ["selection:d2"])
    assert label == STEPS["d2"][0]
    for way in ("probably mismatched", "already covers it", "gain is below that of the last pick"):
        assert way in meaning
    assert explained("selection:d2") == STEPS["d2"]
    assert explained("selection:top", ["selection:d2"]) == STEPS["top"]


def test_every_filter_has_words_for_its_reason_and_for_what_it_asks():
    assert set(Filter.model_fields) == set(FILTERS) == set(SENTENCES)
