from dataclasses import replace
from xml.etree import ElementTree

from sample_pages import EMPTY, HOSTILE, right_figures

from filtering.report.data import parse_report, report_bytes
from filtering.report.page import render
from filtering.report.reliability import right_charts


def tips(svg):
    return [each.get("data-tip") for each in ElementTree.fromstring(svg).iter() if each.get("data-tip")]


def test_bins_tell_both_kinds_of_pairs_and_the_diagram_what_was_predicted():
    shown = right_charts("right", right_figures())
    assert shown.mismatched == "28.4 %"
    assert "-2.00 to 0.00: 40 observed, 110 shuffled" in tips(shown.histogram)
    assert tips(shown.diagram) == [
        "predicted 0.10, observed 0.20, 150 pairs",
        "predicted 0.90, observed 0.95, 90 pairs",
    ]
    assert [each.pairs for each in shown.bins] == [150, 90]


def test_a_histogram_without_a_range_is_left_out():
    shown = right_charts("right", replace(right_figures(), edges=[1.0, 1.0, 1.0]))
    assert shown.histogram is None
    assert "Observed and shuffled pairs" not in render(
        replace(EMPTY, right={"right": replace(right_figures(), edges=[1.0] * 3)})
    )


def test_hostile_names_do_nothing():
    for text in HOSTILE:
        shown = right_charts(text, right_figures())
        for svg in (shown.histogram, shown.diagram):
            root = ElementTree.fromstring(svg)
            assert not {name for each in root.iter() for name in each.attrib} & {"style", "href", "onload", "id"}


def test_the_page_says_how_many_pairs_look_mismatched_and_is_stored_whole():
    page = replace(EMPTY, right={"right": right_figures()})
    html = render(parse_report(report_bytes(page)))
    assert "<strong>28.4 %</strong> of the pool's pairs look mismatched" in html
    assert 'href="#right-1"' in html


def test_a_report_of_an_older_version_has_none():
    data = report_bytes(EMPTY).replace(b',"right":{}', b"")
    assert b'"right"' not in data
    assert parse_report(data).right == {}
