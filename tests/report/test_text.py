import math

import pytest

from filtering.report.charts import bar
from filtering.report.text import clean, headline, memory, number, one_line, percent


def test_clean_keeps_new_lines_and_joined_emoji():
    assert clean("a\r\nb\tc\x00\x1b[31m\u202ed\ud800\u2028e\uffff") == "a\nb\tc[31md e"
    assert clean("👩‍🚒 é שלום") == "👩‍🚒 é שלום"
    assert clean(3) == 3


def test_text_of_a_chart_is_one_short_line():
    assert one_line("a\n b\x00" + "c" * 50, 10) == "a bccccccc…"


def test_headline_of_nothing_kept():
    assert headline({"input": 5, "kept": 0}) == "Kept 0 of 5 image-text pairs (0.0 %)"


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(0, 10, "0.0 %"), (1, 10**6, "<0.1 %"), (10**6 - 1, 10**6, ">99.9 %"), (3, 3, "100.0 %"), (0, 0, "–")],
)
def test_percent(part, whole, text):
    assert percent(part, whole) == text


def test_a_bar_of_something_is_never_empty():
    assert [bar(part, 1000) for part in (0, 1, 500, 1000, math.nan)] == ["b0", "b1", "b50", "b100", "b0"]


def test_memory_and_numbers():
    assert [memory(b) for b in (0, 1, 300 << 20, 3 << 29)] == ["–", "1 MiB", "300 MiB", "1.5 GiB"]
    assert [number(v) for v in (0.25, -1e6, math.inf)] == ["0.250", "-1e+06", "–"]
