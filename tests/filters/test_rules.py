import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filtering.config import CaptionFilter
from filtering.filters.rules import caption_passes, kept_fraction_threshold


def column(*captions):
    return pa.chunked_array([pa.array(captions, pa.string())])


CAPTIONS = st.lists(st.text(st.sampled_from("ab é猫 \t\n\u00a0\u3000"), max_size=12), max_size=12)


@settings(max_examples=150, deadline=None)
@given(CAPTIONS, st.integers(0, 4), st.integers(0, 6), st.none() | st.integers(1, 10))
def test_captions_pass_as_a_loop_says(captions, words, least, most):
    rule = CaptionFilter(min_words=words, min_characters=least, max_characters=most)
    expected = [
        len(text.split()) >= words and least <= len(text) and (most is None or len(text) <= most) for text in captions
    ]
    assert caption_passes(column(*captions), rule).tolist() == expected


@pytest.mark.parametrize("caption", ["", " ", "\n \t"])
def test_a_blank_caption_has_no_words(caption):
    assert caption_passes(column(caption), CaptionFilter(min_words=1)).tolist() == [False]
    assert caption_passes(column(caption), CaptionFilter()).tolist() == [True]


def test_captions_in_chunks_and_none():
    chunks = pa.chunked_array([["one two"], [], ["one", "one two three"]], pa.string())
    assert caption_passes(chunks, CaptionFilter(min_words=2)).tolist() == [True, False, True]
    assert caption_passes(pa.chunked_array([], pa.string()), CaptionFilter(min_words=2)).tolist() == []


def test_a_missing_caption_does_not_pass():
    assert caption_passes(column(None, "one"), CaptionFilter(min_words=1)).tolist() == [False, True]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=40), st.floats(0.01, 1))
def test_the_threshold_stands_at_its_place_in_the_descending_scores(scores, fraction):
    descending = sorted(scores, reverse=True)
    place = min(int(len(scores) * fraction), len(scores) - 1)
    assert kept_fraction_threshold(np.array(scores, dtype=np.float32), fraction) == descending[place]


def test_the_threshold_of_no_scores_keeps_all():
    assert kept_fraction_threshold(np.zeros(0, dtype=np.float32), 0.5) == -1.0
