import pytest

from filtering.config.run import parse_config
from filtering.core.errors import InputError

BASE = {"input": {"metadata": "pool"}, "output": "out"}


def parsed(*filters):
    return parse_config(BASE | {"filters": list(filters)}).filters


def test_each_entry_is_one_filter():
    given = [{"image": {"min_side": 200, "max_aspect": 3}}, {"language": {"keep": ["en"]}}, {"words": {}}]
    assert [step.kind for step in parsed(*given)] == ["image", "language", "words"]


def test_what_run_json_records_can_be_given_again():
    filters = parsed({"image": {"min_side": 200}}, {"clip_score": {"keep": 0.5}})
    assert parsed(*(step.model_dump(mode="json") for step in filters)) == filters


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({}, "each entry names one filter"),
        ({"caption": None}, "each entry names one filter"),
        ({"caption": {}, "image": {}}, "each entry names one filter"),
        ({"image": {"min_side": -1}}, "min_side: -1 is not valid; it must be a whole number of pixels"),
        (
            {"image": {"max_aspect": 0.5}},
            "max_aspect: 0.5 is not valid; it must be the maximum ratio of the longer side",
        ),
        ({"language": {"keep": []}}, "keep: .* it must be a list of language codes"),
        ({"language": {"keep": "en"}}, "keep: .* it must be a list of language codes"),
        ({"language": {"keep": ["en", False]}}, r'quote "no"'),
        ({"language": {"keep": ["en"], "least": 2}}, "least: 2 is not valid; it must be the minimum probability"),
        ({"language": {}}, "language.keep: is missing"),
        ({"words": {"lst": "imagenet"}}, "lst: unknown key; did you mean list"),
        ({"langauge": {}}, "langauge: unknown key; did you mean language"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(entry, message):
    with pytest.raises(InputError, match=message) as refused:
        parsed(entry)
    assert "\n" not in str(refused.value)
