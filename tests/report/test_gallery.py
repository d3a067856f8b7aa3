import shlex
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_pages import EMPTY, Reader, concept, jpeg, sheet_of, thumbnail, usual_page

from filtering.report.data import DuplicateGroup, QuarantineExample, ReasonExamples
from filtering.report.gallery import arranged, cards, lowest_drops, strip, tally
from filtering.report.page import render
from filtering.report.text import comparison


def test_every_sample_is_in_the_gallery_once_random_ones_first():
    first, other = thumbnail("first", "selection:d2"), thumbnail("other")
    page = replace(
        EMPTY,
        examples=(first,),
        lowest=(first,),
        duplicates=(DuplicateGroup(4, 2, 1, (other, first)),),
        concepts=(concept(9, sheet=sheet_of(("a dog", "a cat"))),),
    )
    found = cards(page)
    assert [card.sample.caption for card in found[:2]] == ["first", "other"]
    assert len(found) == len({card.anchor for card in found}) == 2 + 2 + 1
    assert [card.sample.concept for card in found] == [None, 4, 9, 9, 9]
    assert tally(found) == {"dropped": 1, "kept": 4, "selection:d2": 1}


def test_a_card_has_every_score_that_is_known():
    sample = replace(thumbnail("a dog"), score=0.75, scores={"right": 0.7, "centred_score": 0.1})
    (card,) = cards(replace(EMPTY, score_name="right", examples=(sample,)))
    assert card.scores == (("clip_score", 0.251), ("right", 0.75), ("centred_score", 0.1))


def test_quarantined_samples_with_an_image_come_last():
    faults = (
        QuarantineExample("s3://pool/0.tar", "7", "missing_caption", "no .txt member", "7", "", jpeg()),
        QuarantineExample("s3://pool/0.tar", "8.jpg", "image_undecodable", "truncated", "8"),
    )
    found = cards(replace(EMPTY, examples=(thumbnail("a dog"),), quarantine_examples=faults))
    assert [card.status for card in found] == ["kept", "quarantined"]
    assert (found[1].subject, found[1].detail) == ("0.tar/7", "no .txt member")


@given(st.text())
def test_a_key_is_one_word_of_the_command(key):
    fault = QuarantineExample("0.tar", key, "missing_caption", "", key, "", jpeg())
    (card,) = cards(replace(EMPTY, quarantine_examples=(fault,)))
    assert len(shlex.split(card.subject)) == 1


def test_drops_of_filters_and_the_lowest_scores_are_told_once_by_reason():
    samples = [replace(thumbnail(str(at), "filter:caption"), clip_score=at / 10) for at in range(3)]
    other = thumbnail("other", "selection:d2")
    page = replace(
        EMPTY,
        dropped_by_reason={"filter:caption": 9, "selection:d2": 5},
        filtered=(ReasonExamples("filter:caption", (samples[1], samples[2])),),
        lowest=(other, samples[0], samples[1]),
    )
    assert [(one.reason, one.members) for one in lowest_drops(page)] == [
        ("filter:caption", tuple(samples)),
        ("selection:d2", (other,)),
    ]


def test_the_strip_shows_some_of_both_sides_and_nothing_without_images():
    pictured = tuple(thumbnail(f"kept {at}", "", jpeg(at + 1)) for at in range(20))
    dropped = (thumbnail("dropped", "selection:d2", jpeg(90)), thumbnail("bare", "selection:d2"))
    found = cards(replace(EMPTY, examples=(*pictured, *dropped)))
    images = frozenset(each.jpeg for each in (*pictured, *dropped) if each.jpeg)
    sides = strip(found, images)
    assert [(status, len(shown)) for status, shown in sides] == [("kept", 8), ("dropped", 1)]
    assert strip(found, frozenset()) == ()


def test_random_samples_without_room_for_their_image_are_left_out():
    first, second, bare = thumbnail("1", "", jpeg(1)), thumbnail("2", "", jpeg(2)), thumbnail("3")
    found = cards(replace(EMPTY, examples=(bare, first, second), lowest=(thumbnail("4", "", jpeg(4)),)))
    assert [card.spare for card in found] == [True, True, True, False]
    left = arranged(found, frozenset((second.jpeg,)))
    assert [card.sample.caption for card in left] == ["2", "3", "4"]


def test_the_page_says_how_many_examples_there_are_and_leads_to_them():
    page = replace(usual_page(), dropped_by_reason={"filter:clip_score": 3_511})
    reader = Reader(render(page))
    text = " ".join(reader.text().split())
    assert "kept, 4 of 3,511 dropped, 3 of 61 quarantined." in text
    links = {attrs["data-reason"]: text for attrs, text in reader.all("a") if attrs.get("data-status") == "dropped"}
    assert links["filter:clip_score"] == "4 examples"
    figures = [attrs for attrs, _ in reader.all("figure") if "data-status" in attrs]
    assert sum(each["data-status"] == "dropped" for each in figures) == 4


@pytest.mark.parametrize(
    ("better", "value", "reference", "mark"),
    [
        ("lower", 0.1, 0.2, "better"),
        ("lower", 0.2, 0.1, "worse"),
        ("higher", 0.2, 0.1, "better"),
        ("higher", 0.1, 0.2, "worse"),
        ("lower", 0.1, 0.1001, "equal"),
        ("", 0.1, 0.2, ""),
        ("lower", None, 0.2, ""),
        ("lower", 0.1, None, ""),
    ],
)
def test_a_measure_is_better_or_worse_than_chance(better, value, reference, mark):
    assert comparison(better, value, reference) == mark
