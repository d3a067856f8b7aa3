"""The charts of the report: numbers in, what the template shows out; Vega-Lite draws everything beyond bars."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from markupsafe import Markup

from filtering.manifests.reasons import explained
from filtering.report.data import Histogram
from filtering.report.text import count, hundredths, one_line, percent, score_name
from filtering.report.vega import Spec, svg

# The length of a flow bar, and the minimum length of a part that is not empty.
FLOW_WIDTH = 1000.0
LEAST_WIDTH = 4.0
# A histogram's plots, in pixels of its view box.
WIDTH, HEIGHT, SHARE_HEIGHT = 300, 84, 30
# If the ratio of their highest bins is larger, kept and dropped have separate axes.
COMPARABLE = 8
# Counts on an axis in few characters: 950, 12k, 1.5M.
SHORT_COUNT = "format(datum.value, datum.value >= 10000 ? '~s' : ',')"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the flow: the samples that left and those that stayed."""

    label: str  # the outcome of these samples, in plain words
    meaning: str  # its reason, in plain words; may be empty
    code: str  # the reason as in the manifests; may be empty
    count: int
    kind: str  # input, quarantined, dropped or kept
    # stayed, left: lengths on the bar, of `FLOW_WIDTH`: the samples that stayed after it, and those that left
    stayed: float = 0.0
    left: float = 0.0


@dataclass(frozen=True, slots=True)
class Bin:
    """One bin of a histogram: its range as text, and its samples."""

    label: str
    kept: int
    dropped: int


@dataclass(frozen=True, slots=True)
class HistogramChart:
    """A histogram as the report shows it."""

    svg: Markup  # the chart
    bins: tuple[Bin, ...]  # the numbers behind it
    shared: bool  # whether kept and dropped have the same scale


def flow(
    totals: Mapping[str, int], dropped_by_reason: Mapping[str, int], novelty: Collection[str] = ()
) -> tuple[Step, ...]:
    """Return the steps in the order of the run: input, quarantined, filters, selection, kept.

    `novelty` are the reasons that stand for expected novelty.
    """
    taken = [
        Step("Could not be used", "damaged, incomplete or repeated", "", totals["quarantined"], "quarantined"),
        *_dropped(dropped_by_reason, totals["dropped"], novelty),
    ]
    whole, there = max(totals["input"], 1), totals["input"]
    steps = [Step("In the pool", "all pairs of the input", "", there, "input", FLOW_WIDTH if there else 0.0)]
    for step in taken:
        there = max(there - step.count, 0)
        steps.append(_placed(step, FLOW_WIDTH * there / whole, FLOW_WIDTH * step.count / whole))
    kept = Step("Kept", "in the manifest to train on", "", totals["kept"], "kept")
    return (*steps, _placed(kept, FLOW_WIDTH * totals["kept"] / whole, 0.0))


def _placed(step: Step, stayed: float, left: float) -> Step:
    # A part that is not empty is always visible.
    left = max(left, LEAST_WIDTH) if step.count and step.kind != "kept" else left
    stayed = max(stayed, LEAST_WIDTH) if step.count and step.kind == "kept" else stayed
    stayed = min(stayed, FLOW_WIDTH - left)
    return replace(step, stayed=round(stayed, 1), left=round(left, 1))


def _dropped(by_reason: Mapping[str, int], total: int, novelty: Collection[str]) -> list[Step]:
    # The order of the run: filters first, whatever order the reasons come in.
    ordered = sorted(by_reason, key=lambda reason: not reason.startswith("filter:"))
    parts = [Step(*explained(reason, novelty), reason, by_reason[reason], "dropped") for reason in ordered]
    unexplained = total - sum(by_reason.values())
    if unexplained > 0:
        parts.append(Step("Dropped", "no reason was recorded", "", unexplained, "dropped"))
    return parts


def histogram(given: Histogram) -> HistogramChart | None:
    """Return the chart of kept and dropped samples on one score axis; None if there is nothing to draw."""
    edges, most = given.edges, max([*given.kept, *given.dropped], default=0)
    if most == 0 or not all(map(math.isfinite, edges)) or edges[-1] <= edges[0]:
        return None
    bins = _bins(given)
    tops = [max(max(counts), 1) for counts in (given.kept, given.dropped)]
    shared = max(tops) <= COMPARABLE * min(tops)
    tops = [max(tops)] * 2 if shared else tops
    values: list[Spec] = [
        {
            "low": low,
            "high": high,
            "kept": each.kept,
            "dropped": each.dropped,
            "share": each.kept / max(each.kept + each.dropped, 1),
            "open": (given.below and at == 0) or (given.above and at == len(bins) - 1),
            "about": _about(each),
        }
        for at, (low, high, each) in enumerate(zip(edges, edges[1:], bins, strict=False))
    ]
    return HistogramChart(svg(_histogram_spec(values, edges, tops), "plot", _summary(given, bins)), bins, shared)


def _summary(given: Histogram, bins: Sequence[Bin]) -> str:
    name = one_line(score_name(given.name), 80)
    return (
        f"Histogram of {name}, from {bins[0].label} to {bins[-1].label}: "
        f"{count(sum(given.kept))} kept and {count(sum(given.dropped))} dropped samples"
    )


def _about(each: Bin) -> str:
    share = f", {percent(each.kept, each.kept + each.dropped)} kept" if each.kept + each.dropped else ""
    return f"{each.label}: {count(each.kept)} kept, {count(each.dropped)} dropped{share}"


def _bins(given: Histogram) -> tuple[Bin, ...]:
    number = len(given.kept)
    step = (given.edges[-1] - given.edges[0]) / max(number, 1)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9)) + 1
    edges = [f"{edge + 0.0:,.{decimals}f}" for edge in given.edges]
    labels = [f"{low} to {high}" for low, high in pairwise(edges)]
    if given.below:
        labels[0] = f"below {edges[1]}"
    if given.above:
        labels[-1] = f"above {edges[-2]}"
    return tuple(Bin(*each) for each in zip(labels, given.kept, given.dropped, strict=True))


def _histogram_spec(values: list[Spec], edges: Sequence[float], tops: Sequence[float]) -> Spec:
    """Kept grows up and dropped grows down from one score axis; below them is the share that was kept."""
    domain = [edges[0], edges[-1]]
    plots = [
        plot("kept", "Kept", "var(--kept)", tops[0], domain, HEIGHT),
        plot("dropped", "Dropped", "var(--dropped)", tops[1], domain, HEIGHT, down=True),
        plot("share", "Share", "var(--kept)", 1.0, domain, SHARE_HEIGHT),
    ]
    return {"data": {"values": values}, "vconcat": plots, "spacing": 6}


def plot(
    field: str, title: str, colour: str, top: float, domain: Sequence[float], height: int, down: bool = False
) -> Spec:
    """Return a plot of one field of bins, `share` from 0 to 1, others up to `top`; the first one labels its axis."""
    share = field == "share"
    # The score's axis is between the first two plots, so that both grow from it.
    first = not (share or down)
    axis: Spec = {"title": None, "labels": first, "ticks": first, "grid": False, "tickCount": 5}
    x = {"field": "low", "type": "quantitative", "scale": {"domain": domain, "nice": False}, "axis": axis}
    if down:
        axis |= {"orient": "top", "domain": False}
    ticks: Spec = {"values": [0, 1], "format": ".0%"} if share else {"tickCount": 3, "labelExpr": SHORT_COUNT}
    y = {
        "field": field,
        "type": "quantitative",
        "title": title,
        "scale": {"domain": [0, top], "nice": not share, "reverse": down},
        "axis": {**ticks, "domain": False, "ticks": False, "minExtent": 44, "maxExtent": 44},
    }
    bar = {"type": "rect", "aria": False, "fill": colour}
    # An open bin, which also counts values beyond the axis, is paler.
    paler = {"condition": {"test": "datum.open", "value": 0.55}, "value": 1}
    return {
        "width": WIDTH,
        "height": height,
        "encoding": {"x": x, "x2": {"field": "high"}},
        "layer": [
            {"mark": bar, "encoding": {"y": y, "y2": {"datum": 0}, "fillOpacity": paler}},
            {"mark": {"type": "rect", "fill": "transparent"}, "encoding": {"description": {"field": "about"}}},
        ],
    }


def bar(part: float, whole: float) -> Markup:
    """Return the CSS class of a bar that fills a part of its cell."""
    return Markup(f"b{hundredths(part, whole)}")
