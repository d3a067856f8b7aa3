"""The charts of P(right): how observed pairs differ from shuffled ones, and how reliable the probabilities are."""

import math
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from filtering.report.charts import HEIGHT, plot
from filtering.report.text import count, one_line, percent
from filtering.report.vega import Spec, svg
from filtering.scores.artifacts import RightFigures

# The reliability diagram, in pixels of its view box.
SIDE = 200


@dataclass(frozen=True, slots=True)
class Bin:
    """One bin of the predicted probabilities: its mean, the share of observed pairs, and its pairs of both kinds."""

    predicted: float
    observed: float
    pairs: int


@dataclass(frozen=True, slots=True)
class RightCharts:
    """What the report shows of a P(right)."""

    mismatched: str  # the estimated share of mismatched pairs, as text
    pairs: int  # sampled
    histogram: Markup | None  # log odds of observed and of shuffled pairs; None if there is nothing to draw
    diagram: Markup
    bins: tuple[Bin, ...]  # the numbers behind the diagram
    table: tuple[tuple[float, float], ...]  # log odds and P(right)


def right_charts(name: str, figures: RightFigures) -> RightCharts:
    """Return the charts of a P(right) by its score's name."""
    found = zip(figures.predicted, figures.share_observed, figures.sizes, strict=True)
    bins = tuple(Bin(*each) for each in found if each[2])
    return RightCharts(
        mismatched=percent(figures.mismatched, 1.0),
        pairs=figures.pairs,
        histogram=_histogram(one_line(name, 80), figures),
        diagram=svg(_diagram(bins), "plot", f"Reliability diagram of {one_line(name, 80)}"),
        bins=bins,
        table=tuple(zip(figures.log_odds, figures.probabilities, strict=True)),
    )


def _histogram(name: str, figures: RightFigures) -> Markup | None:
    edges, most = figures.edges, max([*figures.observed, *figures.shuffled], default=0)
    if not most or not all(map(math.isfinite, edges)) or edges[-1] <= edges[0]:
        return None
    values: list[Spec] = [
        {"low": low, "high": high, "observed": observed, "shuffled": shuffled, "open": False, "about": about}
        for (low, high), observed, shuffled in zip(pairwise(edges), figures.observed, figures.shuffled, strict=True)
        for about in [f"{low:.2f} to {high:.2f}: {count(observed)} observed, {count(shuffled)} shuffled"]
    ]
    domain = [edges[0], edges[-1]]
    plots = [
        plot("observed", "Observed", "var(--kept)", most, domain, HEIGHT),
        plot("shuffled", "Shuffled", "var(--dropped)", most, domain, HEIGHT, down=True),
    ]
    label = f"Histogram of the log odds of {name}, of observed and of shuffled pairs"
    return svg({"data": {"values": values}, "vconcat": plots, "spacing": 6}, "plot", label)


def _diagram(bins: tuple[Bin, ...]) -> Spec:
    """Return the share of observed pairs by what was predicted; on the diagonal both are equal."""
    values: list[Spec] = [
        {
            "predicted": each.predicted,
            "observed": each.observed,
            "about": f"predicted {each.predicted:.2f}, observed {each.observed:.2f}, {count(each.pairs)} pairs",
        }
        for each in bins
    ]
    scale: Spec = {"domain": [0, 1], "nice": False}
    axis: Spec = {"values": [0, 0.5, 1], "grid": False}
    x: Spec = {"field": "predicted", "type": "quantitative", "title": "Predicted", "scale": scale, "axis": axis}
    y: Spec = {"field": "observed", "type": "quantitative", "title": "Observed", "scale": scale, "axis": axis}
    diagonal: Spec = {
        "data": {"values": [{"predicted": 0, "observed": 0}, {"predicted": 1, "observed": 1}]},
        "mark": {"type": "line", "aria": False, "stroke": "var(--line)"},
    }
    points: Spec = {
        "mark": {"type": "circle", "size": 60, "opacity": 1, "fill": "var(--kept)"},
        "encoding": {"description": {"field": "about"}},
    }
    return {
        "data": {"values": values},
        "width": SIDE,
        "height": SIDE,
        "encoding": {"x": x, "y": y},
        "layer": [diagonal, points],
    }
