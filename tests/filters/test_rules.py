import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtering.config.filters import CaptionFilter, ImageFilter
from filtering.filters.cuts import place_of
from filtering.filters.judging import caption_passes, image_passes


def column(*captions):
    return pa.chunked_array([pa.array(captions, pa.string())])


CAPTIONS = st.lists(st.text(st.sampled_from("ab é猫 \t\n\u00a0\u3000"), max_size=12), max_size=12)


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


def sizes(*values):
    return pa.chunked_array([pa.array(values, pa.int32())])


SIDES = st.sampled_from([0, 1, 66, 67, 199, 200, 201, 600, 601, 2**31 - 1])


@given(st.lists(st.tuples(SIDES, SIDES), max_size=12), st.sampled_from([0, 1, 200]), st.none() | st.just(3.0))
def test_images_pass_as_a_loop_says(images, least, most):
    rule = ImageFilter(min_side=least, max_aspect=most)
    expected = [
        min(image) >= least and (most is None or (min(image) > 0 and max(image) / min(image) <= most))
        for image in images
    ]
    widths, heights = sizes(*(width for width, _ in images)), sizes(*(height for _, height in images))
    assert image_passes(widths, heights, rule).tolist() == expected


def test_an_image_of_unknown_size_passes():
    rule = ImageFilter(min_side=200, max_aspect=3)
    assert image_passes(sizes(None, 100, None, 100), sizes(None, None, 500, 500), rule).tolist() == [True] * 3 + [False]


@pytest.mark.parametrize(("fraction", "place"), [(0.3, 3), (0.29, 2), (0.01, 0), (1.0, 9)])
def test_the_threshold_stands_at_datacomps_place(fraction, place):
    assert place_of(10, fraction) == place
