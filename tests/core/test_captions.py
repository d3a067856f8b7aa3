import unicodedata

import pyarrow as pa
import pytest

from filtering.core.captions import blank_captions, holds_text

BLANK = [
    "",
    " ",
    "\t\r\n",
    "\ufeff",
    "\u200b\u200d",
    "\u2060 \u00a0",
    "\x00\x1f",
    "\u3164",
    "\u2800",
    "\ufe0f",
    "\u00ad\u202e",
]
TEXT = ["a", ".", "\ufeffa", "猫", "고양이", "बिल्ली", "قطة", "🐈", "\u200b!", "é", "½", "\ufffd"]


@pytest.mark.parametrize("caption", BLANK)
def test_what_cannot_be_seen_is_no_text(caption):
    assert not holds_text(caption)


@pytest.mark.parametrize("caption", TEXT)
def test_a_character_that_can_be_seen_is_text(caption):
    assert holds_text(caption)


def test_columns_are_judged_as_single_captions_are():
    # Every character of the planes that are in use.
    characters = [chr(code) for code in range(0x20000) if not 0xD800 <= code < 0xE000]
    expected = [not holds_text(one) for one in characters]
    assert blank_captions(pa.array(characters)).tolist() == expected
    assert sum(expected) > 100
    seen = {unicodedata.category(one) for one, blank in zip(characters, expected, strict=True) if not blank}
    assert {"Lu", "Ll", "Lo", "Nd", "Po", "So"} <= seen


def test_a_missing_caption_is_blank():
    assert blank_captions(pa.array(["a", None, "\ufeff"])).tolist() == [False, True, True]
