import base64
import hashlib
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from filtering.report.charts import explained, flow, histogram, short_count
from filtering.report.data import (
    ConceptRow,
    Histogram,
    Measure,
    Page,
    QuarantineExample,
    Sheet,
    StageCost,
    Thumbnail,
)
from filtering.report.page import (
    clean,
    headline,
    memory,
    number,
    percent,
    render,
)

HOSTILE = (
    "<script>alert(1)</script>",
    '" onmouseover="alert(1)" x="',
    "' onload='alert(1)",
    "javascript:alert(1)",
    "<img src=https://evil.example/x onerror=alert(1)>",
    "</title></style></script></summary></details><svg onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}<!-- -->",
    "x" * 3_000,
)
VOID = {"meta", "link", "img", "input", "br"}
EMPTY = Page(
    run_id="run",
    output="out",
    created="now",
    totals={"input": 0, "kept": 0, "dropped": 0, "quarantined": 0},
    dropped_by_reason={},
    quarantined_by_reason={},
    quarantine_examples=(),
    recall=math.nan,
    k=10,
    manifest_hash="0" * 64,
    measures=(),
    histograms=(),
    concepts=(),
    lowest=(),
    stages=(),
    warnings=(),
    config_yaml="",
    versions={},
    commands=(),
)


class Reader(HTMLParser):
    """Collects the elements, with the text each one holds itself."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append([tag, dict(attrs), ""])
        if tag not in VOID:
            self.open.append(self.elements[-1])

    def handle_startendtag(self, tag, attrs):
        self.elements.append([tag, dict(attrs), ""])

    def handle_endtag(self, tag):
        # The rows of the table of concepts leave out the end tags that HTML lets them leave out.
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        if self.open:
            self.open[-1][2] += data

    def all(self, tag):
        return [(attrs, text) for name, attrs, text in self.elements if name == tag]

    def text(self):
        return " ".join(text for tag, _, text in self.elements if tag not in ("script", "style"))


def jpeg(width=32, height=24):
    buffer = BytesIO()
    Image.new("RGB", (width, height), "teal").save(buffer, "JPEG")
    return buffer.getvalue()


def thumbnail(caption, reason="", picture=None):
    return Thumbnail(key=caption[:40], caption=caption, score=0.25, reason=reason, jpeg=picture)


def full_page(texts=HOSTILE):
    first = texts[0]
    kept = tuple(thumbnail(text, "", jpeg()) for text in texts)
    dropped = tuple(thumbnail(text, text, jpeg()) for text in texts)
    concepts = (
        ConceptRow(7, tuple(texts[:-1]), 1_234, 617, 601, 0.321, 0.654, 0.275, Sheet(kept, dropped)),
        ConceptRow(8, ("dog",), 55, 5, 5, math.nan, 0.2, math.nan, None),
    )
    return Page(
        run_id=first,
        output=first,
        created=first,
        totals={"input": 4_812, "kept": 1_240, "dropped": 3_511, "quarantined": 61},
        dropped_by_reason={"filter:caption": 312, f"filter:{first}": 1_600, "selection:d2": 1_598, first: 1},
        quarantined_by_reason={first: 51, "duplicate_uid": 10},
        quarantine_examples=tuple(QuarantineExample(text, text, first, text) for text in texts),
        recall=0.9871,
        k=10,
        manifest_hash=first,
        measures=(Measure(first, first, None, 0.123456, 12.0),),
        histograms=(Histogram(first, (0.0, 0.1, 0.2), (3, 40), (500, 6)),),
        concepts=concepts,
        lowest=(thumbnail("no picture at hand", "filter:clip_score"),),
        stages=(StageCost(first, 192.3, 3 << 30, first), StageCost("filters", 2.0, 0, "")),
        warnings=texts,
        config_yaml=f"input:\n  shards: {first}\n",
        versions={first: first},
        commands=texts,
    )


@pytest.fixture(scope="module")
def html():
    return render(full_page())


@pytest.fixture(scope="module")
def reader(html):
    return Reader(html)


def test_hostile_text_adds_no_element_and_no_attribute(reader):
    harmless = Reader(render(full_page(tuple("harmless" if len(text) < 1_000 else text for text in HOSTILE))))
    assert {tag for tag, _, _ in reader.elements} == {tag for tag, _, _ in harmless.elements}
    assert {name for _, attrs, _ in reader.elements for name in attrs} == {
        name for _, attrs, _ in harmless.elements for name in attrs
    }
    assert not [name for _, attrs, _ in reader.elements for name in attrs if name.startswith("on")]
    assert len(reader.all("script")) == len(reader.all("style")) == 1


def test_hostile_text_is_shown_as_it_is(reader):
    captions = [text for _, text in reader.all("p")] + [text for _, text in reader.all("summary")]
    assert set(HOSTILE[:-1]) <= set(captions)


def test_policy_allows_only_the_pages_own_script_and_style(reader):
    policy = next(attrs["content"] for attrs, _ in reader.all("meta") if "http-equiv" in attrs)
    assert policy.startswith("default-src 'none'; img-src data:; ")
    for tag in ("script", "style"):
        digest = hashlib.sha256(reader.all(tag)[0][1].encode()).digest()
        assert f"{tag}-src 'sha256-{base64.b64encode(digest).decode()}'" in policy
    assert not [attrs for _, attrs, _ in reader.elements if "style" in attrs]


def test_nothing_is_fetched_from_anywhere(reader):
    links = [
        attrs[name] for _, attrs, _ in reader.elements for name in ("src", "href", "action", "data") if name in attrs
    ]
    assert links
    assert all(link.startswith(("data:", "#")) for link in links)
    css = reader.all("style")[0][1]
    assert "url(" not in css
    assert "@import" not in css
    assert re.search(r"fetch|XMLHttpRequest|import\(|innerHTML|eval", reader.all("script")[0][1]) is None


def test_images_are_data_uris_with_size_and_alt(reader):
    images = [attrs for attrs, _ in reader.all("img")]
    assert len(images) == 2 * len(HOSTILE)
    for attrs in images:
        assert attrs["src"].startswith("data:image/jpeg;base64,")
        assert (attrs["width"], attrs["height"], attrs["loading"]) == ("32", "24", "lazy")
    assert {attrs["alt"] for attrs in images} >= set(HOSTILE[:-1])


@pytest.mark.parametrize("picture", [None, b"", b"not a picture", b"<svg onload=alert(1)>"])
def test_what_is_no_jpeg_shows_the_caption_alone(picture):
    reader = Reader(render(replace(EMPTY, lowest=(thumbnail("a lonely caption", "selection:d2", picture),))))
    assert not reader.all("img")
    assert "a lonely caption" in reader.text()


def test_numbers_of_the_outcome_appear(html, reader):
    assert reader.all("h1")[0][1] == "Kept 1,240 of 4,812 image-text pairs (25.8 %)"
    assert "61 could not be used, 1,912 failed a filter, and 1,599 passed" in " ".join(html.split())
    cells = [text for _, text in reader.all("td")]
    assert {"4,812", "1,240", "312", "1,600", "1,598", "61", "25.8 %", "1.3 %"} <= set(cells)


def test_concepts_and_their_sheets_appear(reader):
    cells = [text.strip() for _, text in reader.all("td")]
    assert {"1,234", "617", "601", "48.7 %", "0.321", "0.654", "0.275", "dog", "–"} <= set(cells)
    buttons = [attrs for attrs, _ in reader.all("button") if "aria-controls" in attrs]
    sheets = [attrs["id"] for attrs, _ in reader.all("tr") if "id" in attrs]
    assert [attrs["aria-controls"] for attrs in buttons] == sheets == ["sheet-7"]


def test_warnings_stand_before_the_headline(html):
    assert html.index("Warnings</h2>") < html.index("<h1>")


def test_recall_cost_and_configuration_appear(reader):
    text = reader.text()
    for expected in ("98.7 %", "recall@10", "3 min 12 s", "3.0 GiB", "3 min 14 s", "input:\n  shards:"):
        assert expected in text


def test_measures_appear_beside_chance(reader):
    text = reader.text()
    assert "against chance" in text
    assert "0.1235" in text


def test_empty_page_renders():
    reader = Reader(render(EMPTY))
    assert reader.all("h1")[0][1] == "Kept nothing: the input held no image-text pairs"
    assert "No sample reached the concepts." in reader.text()
    assert not reader.all("img")


def test_histogram_without_counts_renders():
    page = replace(EMPTY, histograms=(Histogram("clip_score", (0.0, 1.0), (0,), (0,)),))
    assert "No samples to draw." in Reader(render(page)).text()


def test_ids_are_unique(reader):
    ids = [attrs["id"] for _, attrs, _ in reader.elements if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_ten_thousand_concepts_stay_small():
    rows = tuple(ConceptRow(i, ("dog", "cat"), 100, 30, 30, 0.3, 0.5, 0.25, None) for i in range(10_000))
    assert len(render(replace(EMPTY, concepts=rows))) < 3_000_000


@given(st.text(st.characters(codec=None)))
def test_any_caption_makes_a_page_that_can_be_written(caption):
    html = render(replace(EMPTY, lowest=(thumbnail(caption, "selection:d2"),), warnings=(caption,)))
    html.encode("utf-8")
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", html)


def test_clean_keeps_new_lines_and_joined_emoji():
    assert clean("a\r\nb\tc\x00\x1b[31m\u202ed\ud800\u2028e") == "a\nb\tc[31md e"
    assert clean("👩‍🚒 é שלום") == "👩‍🚒 é שלום"
    assert clean(3) == 3


def test_headline_of_nothing_kept():
    assert headline({"input": 5, "kept": 0}) == "Kept 0 of 5 image-text pairs (0.0 %)"


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(0, 10, "0.0 %"), (1, 10**6, "<0.1 %"), (10**6 - 1, 10**6, ">99.9 %"), (3, 3, "100.0 %"), (0, 0, "–")],
)
def test_percent(part, whole, text):
    assert percent(part, whole) == text


def test_memory_and_numbers():
    assert [memory(b) for b in (0, 1, 300 << 20, 3 << 29)] == ["–", "1 MiB", "300 MiB", "1.5 GiB"]
    assert [number(v) for v in (0.25, -1e6, math.inf)] == ["0.250", "-1e+06", "–"]


def test_flow_fills_the_bar_and_shows_what_is_rare():
    totals = {"input": 10**6, "kept": 1, "dropped": 999_999, "quarantined": 0}
    parts = flow(totals, {"selection:d2": 900_000, "filter:caption": 99_000})
    assert [part.label for part in parts] == ["Quarantined", "Caption filter", "Not selected", "Dropped", "Kept"]
    assert [part.count for part in parts] == [0, 99_000, 900_000, 999, 1]
    assert parts[-1].width > 1
    assert parts[0].width == 0
    assert sum(part.width for part in parts) == pytest.approx(1000, abs=0.1)


def test_flow_of_nothing_has_no_width():
    assert {part.width for part in flow(EMPTY.totals, {})} == {0.0}


def test_reasons_in_plain_words():
    assert explained("filter:clip_score")[0] == "CLIP-score filter"
    assert explained("filter:other")[0] == "Filter other"
    assert explained("selection:random")[0] == "Not selected"
    assert explained("anything") == ("anything", "")


def test_histogram_axes():
    chart = histogram((-0.1, 0.0, 0.1, 0.2, 0.3), (0, 5, 7, 0), (1, 2, 37, 4))
    assert [tick.label for tick in chart.x_ticks] == ["-0.1", "0.0", "0.1", "0.2", "0.3"]
    assert [tick.label for tick in chart.y_ticks] == ["0", "10", "20", "30", "40"]
    assert [(bin.kept, bin.dropped) for bin in chart.bins] == [(0, 1), (5, 2), (7, 37), (0, 4)]
    assert (chart.bins[0].low, chart.bins[-1].high) == ("-0.10", "0.30")


@pytest.mark.parametrize("edges", [(0.0, 0.0), (0.0, math.inf), (math.nan, 1.0)])
def test_histogram_without_a_range_is_none(edges):
    assert histogram(edges, (1,), (1,)) is None


def test_short_counts():
    assert [short_count(n) for n in (950, 5_000, 12_000, 1_500_000)] == ["950", "5,000", "12k", "1.5M"]
