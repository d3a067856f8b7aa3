"""Where the page's charts draw their marks: numbers in, coordinates out, so that the template only places them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# The flow bar is drawn on a unit of 1,000 and stretched to the page; a part that exists is never invisible.
FLOW_WIDTH = 1000.0
LEAST_WIDTH = 5.0

# A histogram's view box, and the plot's four sides in it.
WIDTH, HEIGHT = 460.0, 250.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 448.0, 12.0, 204.0

FILTER_SHADES = 4

# The package's own filters in plain words: a label, and what it means that a sample failed it.
FILTERS: Mapping[str, tuple[str, str]] = {
    "caption": ("Caption filter", "the caption is shorter or longer than the configuration allows"),
    "clip_score": ("CLIP-score filter", "picture and caption agree less than the configuration asks"),
    "image": ("Image filter", "the picture is smaller or longer than the configuration allows"),
    "language": ("Language filter", "the caption is in another language than the configuration asks"),
    "words": ("Word filter", "the caption holds no word of the configured list"),
}
# Steps of selection that have no budget: what it means that one did not pick a sample.
STEPS: Mapping[str, tuple[str, str]] = {
    "semdedup": ("Near-duplicate", "another sample of its concept looks the same"),
    "threshold": ("Below the threshold", "its score is lower than what the configuration keeps"),
}
UNSELECTED = "passed every filter, but the budget of its concept went to others"


@dataclass(frozen=True, slots=True)
class Segment:
    """One part of the flow bar.

    Attributes
    ----------
    label : what happened to these samples, in plain words
    meaning : why, in plain words; may be empty
    code : the reason as the manifests spell it; may be empty
    count : samples
    style : the CSS class that colours it
    x, width : place on the bar, in thousandths of its length
    """

    label: str
    meaning: str
    code: str
    count: int
    style: str
    x: float = 0.0
    width: float = 0.0


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled place on an axis, in units of the view box."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Bin:
    """One bin of a histogram.

    Attributes
    ----------
    x, width : its place in the view box
    low, high : its edges, as text
    kept, dropped : samples
    """

    x: float
    width: float
    low: str
    high: str
    kept: int
    dropped: int


@dataclass(frozen=True, slots=True)
class HistogramChart:
    """A histogram as the template draws it.

    Attributes
    ----------
    kept_path, dropped_path : SVG outlines of the two series
    x_ticks, y_ticks : the axes
    bins : the numbers behind them
    """

    kept_path: str
    dropped_path: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    bins: tuple[Bin, ...]


def flow(totals: Mapping[str, int], dropped_by_reason: Mapping[str, int]) -> tuple[Segment, ...]:
    """Return the parts of the flow bar in the order of the run: quarantined, filters, not selected, kept."""
    quarantined = Segment(
        "Quarantined", "could not be used: damaged, incomplete or repeated", "", totals["quarantined"], "quarantined"
    )
    kept = Segment("Kept", "in the manifest to train on", "", totals["kept"], "kept")
    dropped = _dropped(dropped_by_reason, totals["dropped"])
    return _placed([quarantined, *dropped, kept])


def _dropped(by_reason: Mapping[str, int], total: int) -> list[Segment]:
    filters = [reason for reason in by_reason if reason.startswith("filter:")]
    others = [reason for reason in by_reason if not reason.startswith("filter:")]
    parts = [_reason(reason, by_reason[reason], f"filter-{at % FILTER_SHADES}") for at, reason in enumerate(filters)]
    parts += [_reason(reason, by_reason[reason], "unselected") for reason in others]
    unexplained = total - sum(by_reason.values())
    if unexplained > 0:
        parts.append(Segment("Dropped", "no reason was recorded", "", unexplained, "unselected"))
    return parts


def _reason(reason: str, count: int, style: str) -> Segment:
    label, meaning = explained(reason)
    return Segment(label, meaning, reason, count, style)


def explained(reason: str) -> tuple[str, str]:
    """Return a reason of the manifests in plain words: a label, and what it means (may be empty)."""
    kind, _, name = reason.partition(":")
    if kind == "filter":
        return FILTERS.get(name, (f"Filter {name}", ""))
    return STEPS.get(name, ("Not selected", UNSELECTED)) if kind == "selection" else (reason, "")


def _placed(parts: Sequence[Segment]) -> tuple[Segment, ...]:
    whole = sum(part.count for part in parts)
    widths = [max(FLOW_WIDTH * part.count / whole, LEAST_WIDTH) if part.count else 0.0 for part in parts]
    squeeze, x, placed = FLOW_WIDTH / max(sum(widths), 1.0), 0.0, []
    for part, width in zip(parts, widths, strict=True):
        squeezed = width * squeeze
        placed.append(
            Segment(part.label, part.meaning, part.code, part.count, part.style, round(x, 2), round(squeezed, 2))
        )
        x += squeezed
    return tuple(placed)


def histogram(edges: Sequence[float], kept: Sequence[int], dropped: Sequence[int]) -> HistogramChart | None:
    """Return the chart of two series on shared axes, None where there is nothing to draw.

    Parameters
    ----------
    edges : float (n + 1,)
        Bounds of the bins, ascending.
    kept, dropped : int (n,)
        Samples in each bin.
    """
    most = max([*kept, *dropped], default=0)
    if most == 0 or not all(map(math.isfinite, edges)) or edges[-1] <= edges[0]:
        return None
    xs = [LEFT + (RIGHT - LEFT) * (edge - edges[0]) / (edges[-1] - edges[0]) for edge in edges]
    y_step = max(_nice_step(most / 4), 1.0)
    top = math.ceil(most / y_step) * y_step
    return HistogramChart(
        _outline(xs, kept, top),
        _outline(xs, dropped, top),
        _x_ticks(edges[0], edges[-1]),
        tuple(Tick(_height(at * y_step, top), short_count(at * y_step)) for at in range(round(top / y_step) + 1)),
        _bins(edges, xs, kept, dropped),
    )


def _height(count: float, top: float) -> float:
    return round(BOTTOM - (BOTTOM - TOP) * count / top, 2)


def _outline(xs: Sequence[float], counts: Sequence[int], top: float) -> str:
    steps = "".join(f"V{_height(count, top):g}H{right:.1f}" for count, right in zip(counts, xs[1:], strict=True))
    return f"M{xs[0]:.1f} {BOTTOM:g}{steps}V{BOTTOM:g}Z"


def _x_ticks(low: float, high: float) -> tuple[Tick, ...]:
    step = _nice_step((high - low) / 5)
    decimals = _decimals(step)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    scale = (RIGHT - LEFT) / (high - low)
    # Adding zero turns -0.0 into 0.0, which would else be labelled "-0".
    values = [round(at * step, decimals) + 0.0 for at in range(first, last + 1)]
    return tuple(Tick(round(LEFT + (value - low) * scale, 2), f"{value:,.{decimals}f}") for value in values)


def _bins(edges: Sequence[float], xs: Sequence[float], kept: Sequence[int], dropped: Sequence[int]) -> tuple[Bin, ...]:
    decimals = _decimals((edges[-1] - edges[0]) / max(len(kept), 1)) + 1
    labels = [f"{edge:,.{decimals}f}" for edge in edges]
    return tuple(
        Bin(round(xs[at], 1), round(xs[at + 1] - xs[at], 1), labels[at], labels[at + 1], kept[at], dropped[at])
        for at in range(len(kept))
    )


def _nice_step(least: float) -> float:
    """Return the smallest of 1, 2 and 5 times a power of ten that is at least `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * (1 - 1e-9))


def _decimals(step: float) -> int:
    return max(0, -math.floor(math.log10(step) + 1e-9))


def short_count(count: float) -> str:
    """Return a count in few characters: 950, 12k, 1.5M."""
    if count >= 1e6:
        return f"{count / 1e6:g}M"
    return f"{count / 1e3:g}k" if count >= 1e4 else f"{count:,.0f}"
