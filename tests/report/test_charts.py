import math
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

import filtering
from filtering.manifests.reasons import FAULTS, STEPS, explained
from filtering.report.charts import flow, histogram
from filtering.report.concept_map import concept_map, share_bounds
from filtering.report.data import ConceptRow, Histogram
from filtering.report.text import one_line
from filtering.selection.registry import SELECTORS

HOSTILE = "<script>alert(1)</script>\" onload='x' </style>]]>&amp;{{ 7 }}\u202e\x00"


def row(number, words=("dog",), size=100, kept=30, x=0.5, y=0.5):
    return ConceptRow(number, words, size, kept, kept, 0.3, 0.5, 0.2, 0, x, y, None)


def marks(svg):
    return [each for each in ElementTree.fromstring(svg).iter("path") if "data-tip" in each.attrib]


def test_flow_leaves_what_is_kept_and_shows_what_is_rare():
    totals = {"input": 10**6, "kept": 1, "dropped": 999_999, "quarantined": 0}
    steps = flow(totals, {"selection:d2": 900_000, "filter:caption": 99_000})
    assert [step.label for step in steps] == [
        "In the pool",
        "Could not be used",
        "Caption filter",
        "Not picked by D2",
        "Dropped",
        "Kept",
    ]
    assert [step.count for step in steps] == [10**6, 0, 99_000, 900_000, 999, 1]
    assert (steps[1].stayed, steps[1].left) == (1000, 0)
    assert steps[2].stayed == 901
    assert steps[-1].stayed > 1
    assert all(step.stayed + step.left <= 1000 for step in steps)


def test_flow_of_nothing_has_no_width():
    totals = dict.fromkeys(("input", "kept", "dropped", "quarantined"), 0)
    assert {(step.left, step.kind) for step in flow(totals, {})} == {(0, "input"), (0, "quarantined"), (0, "kept")}


def test_reasons_in_plain_words():
    assert explained("filter:clip_score")[0] == "CLIP-score filter"
    assert explained("filter:other")[0] == "Filter other"
    assert explained("selection:mine")[0] == "Not selected"
    assert explained("new shard")[0] == "New shard"
    assert explained("anything") == ("anything", "")


def test_every_selector_and_every_fault_has_plain_words():
    package = Path(filtering.__file__).parent
    source = "".join(path.read_text() for part in ("shards", "embedding") for path in (package / part).glob("*.py"))
    faults = set(re.findall(r'(?:Fault|Damaged|Refused)\("([a-z0-9_]+)"', source))
    assert len(faults) > 15
    assert faults <= set(FAULTS)
    assert set(STEPS) == set(SELECTORS)


def test_histogram_tells_every_bin():
    chart = histogram(Histogram("clip_score", "", (-0.1, 0.0, 0.1, 0.2), (0, 5, 7), (1, 2, 37), below=True))
    assert [bin.label for bin in chart.bins] == ["below 0.00", "0.00 to 0.10", "0.10 to 0.20"]
    assert [(bin.kept, bin.dropped) for bin in chart.bins] == [(0, 1), (5, 2), (7, 37)]
    assert marks(chart.svg)[1].get("data-tip") == "0.00 to 0.10: 5 kept, 2 dropped, 71.4 % kept"
    assert chart.shared


def test_counts_far_apart_have_an_axis_each():
    chart = histogram(Histogram("score", "", (0.0, 1.0, 2.0), (3, 1), (90_000, 1_000_000)))
    assert not chart.shared
    text = [each.text for each in ElementTree.fromstring(chart.svg).iter("text")]
    assert {"3", "1M"} <= set(text) or {"2", "1M"} <= set(text)


@pytest.mark.parametrize("edges", [(0.0, 0.0), (0.0, math.inf), (math.nan, 1.0)])
def test_histogram_without_a_range_is_none(edges):
    assert histogram(Histogram("score", "", edges, (1,), (1,))) is None


def test_hostile_words_do_nothing_in_a_chart():
    drawn = concept_map([row(7, (HOSTILE, HOSTILE)), row(8, x=0.1)])
    chart = histogram(Histogram(HOSTILE, HOSTILE, (0.0, 1.0), (1,), (1,)))
    for svg in (drawn.svg, chart.svg):
        root = ElementTree.fromstring(svg)
        assert {each.tag for each in root.iter()} <= {"svg", "g", "path", "line", "text", "rect"}
        assert "http" not in svg
        assert not {name for each in root.iter() for name in each.attrib} & {"style", "href", "onload", "id"}
    assert marks(drawn.svg)[0].get("data-tip").startswith("Concept 7: <script>alert(1)</script>\" onload='x' </style>")


@examples(0.1)
@given(st.text(st.characters(codec=None), max_size=30))
def test_any_word_can_be_drawn(word):
    drawn = concept_map([row(1, (word,))])
    expected = one_line(word, 60)
    assert marks(drawn.svg)[0].get("data-tip").startswith(f"Concept 1: {expected}." if expected else "Concept 1.")


def test_the_largest_concepts_are_drawn_with_their_share():
    rows = [row(at, size=at + 1, kept=at // 2, x=at / 2_000, y=0.3) for at in range(2_000)]
    drawn = concept_map(rows)
    assert drawn.shown == len(marks(drawn.svg)) == 1_500
    assert marks(drawn.svg)[0].get("data-tip") == "Concept 1999: dog. 999 of 2,000 kept (50.0 %)"
    assert len(drawn.svg) < 600_000


def test_no_map_without_places():
    assert concept_map([]) is None
    assert concept_map([row(1, x=math.nan), row(2, size=0)]) is None


@pytest.mark.parametrize(
    ("shares", "bounds"),
    [
        ([0.3, 0.3], ()),
        ([0.0, 1.0], (0.2, 0.4, 0.6, 0.8)),
        ([0.41, 0.49], (0.42, 0.44, 0.46, 0.48)),
        ([0.234, 0.95], (0.4, 0.6, 0.8)),
        ([0.1, 0.3], (0.15, 0.2, 0.25)),
    ],
)
def test_colours_change_at_round_shares(shares, bounds):
    assert share_bounds(shares) == bounds
