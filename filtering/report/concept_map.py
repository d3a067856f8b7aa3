"""The map of concepts: similar concepts are close, the area shows the size, the colour the kept share."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from filtering.report.data import ConceptRow
from filtering.report.text import count, one_line, percent
from filtering.report.vega import Spec, svg

WIDTH, HEIGHT = 720, 430
MOST_BUBBLES = 1_500
MOST_NAMES = 14
# Shades of the page's sequential scale, --share-0 to --share-4.
SHADES = 5
# Maximum share of the map that all bubbles together cover.
COVERED = 0.16
LARGEST_AREA, LEAST_AREA = 4_200.0, 26.0
# A letter's width and a line's height at the size of the names, with some air.
LETTER, LINE = 6.6, 15.0
LONGEST_NAME = 24
# Names must not cover this many of the largest bubbles.
OBSTACLES = 40


@dataclass(frozen=True, slots=True)
class ConceptMap:
    """The map as the report shows it."""

    svg: Markup  # the chart; its marks' `data-tip` begin with 'Concept' and the number
    legend: tuple[tuple[int, str], ...]  # the number and the meaning of each shade in use
    shown: int  # number of concepts that are drawn


def concept_map(rows: Sequence[ConceptRow]) -> ConceptMap | None:
    """Return the map of the largest concepts; None if no concept has a position."""
    placed = [row for row in rows if math.isfinite(row.x) and math.isfinite(row.y) and row.size > 0]
    drawn = sorted(placed, key=lambda row: (-row.size, row.concept))[:MOST_BUBBLES]
    if not drawn:
        return None
    bounds = share_bounds([row.kept / row.size for row in drawn])
    areas = _areas([row.size for row in drawn])
    values: list[Spec] = [
        {
            "x": min(max(row.x, 0.0), 1.0),
            "y": min(max(row.y, 0.0), 1.0),
            "area": area,
            "fill": f"var(--share-{_shade(row.kept / row.size, bounds)})",
            "about": _about(row),
        }
        for row, area in zip(drawn, areas, strict=True)
    ]
    label = f"Map of {len(drawn):,} concepts; similar concepts are close to each other"
    return ConceptMap(svg(_spec(values, _names(drawn, areas)), "map", label, role="group"), _legend(bounds), len(drawn))


def share_bounds(shares: Sequence[float]) -> tuple[float, ...]:
    """Return the shares at which the colour changes: at most four round numbers between those that occur."""
    low, high = min(shares), min(max(shares), 1.0)
    least = (high - low) / SHADES
    if least < 0.002:
        return ()
    step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.2, 0.25) if step >= least * 0.999)
    first = math.floor(low / step + 1e-9) + 1
    bounds = [round(at * step, 2) for at in range(first, first + SHADES - 1)]
    return tuple(bound for bound in bounds if bound < high - 1e-9)


def _shade(share: float, bounds: Sequence[float]) -> int:
    """Return the shade of a share; the scale always ends at the strongest."""
    return SHADES - 1 - sum(share < bound - 1e-9 for bound in bounds)


def _legend(bounds: Sequence[float]) -> tuple[tuple[int, str], ...]:
    if not bounds:
        return ()
    texts = [f"{100 * bound:.0f} %" for bound in bounds]
    middle = [f"{low.removesuffix(' %')}–{high}" for low, high in pairwise(texts)]
    labels = [f"under {texts[0]}", *middle, f"{texts[-1]} and more"]
    return tuple(enumerate(labels, SHADES - len(labels)))


def _areas(sizes: Sequence[int]) -> list[float]:
    scale = min(COVERED * WIDTH * HEIGHT / sum(sizes), LARGEST_AREA / sizes[0])
    return [max(round(scale * size, 1), LEAST_AREA) for size in sizes]


def _about(row: ConceptRow) -> str:
    words = one_line(", ".join(row.words), 60)
    name = f"Concept {row.concept}" + (f": {words}" if words else "")
    return f"{name}. {count(row.kept)} of {count(row.size)} kept ({percent(row.kept, row.size)})"


def _names(rows: Sequence[ConceptRow], areas: Sequence[float]) -> list[Spec]:
    """Return the names of the largest concepts, above or below their bubbles, where they hide no large bubble."""
    names: list[Spec] = []
    circles = [
        (row.x * WIDTH, (1 - row.y) * HEIGHT, math.sqrt(area / math.pi)) for row, area in zip(rows, areas, strict=True)
    ]
    taken = [(x - radius, y - radius, x + radius, y + radius) for x, y, radius in circles[:OBSTACLES]]
    for row, (at, y, radius) in zip(rows, circles, strict=True):
        name = one_line(", ".join(row.words[:2]), LONGEST_NAME)
        half = LETTER * len(name) / 2
        x = min(max(at, half), WIDTH - half)
        boxes = [(x - half, top, x + half, top + LINE) for top in (y - radius - LINE - 2, y + radius + 1)]
        free = [box for box in boxes if not any(_overlap(box, other) for other in taken)]
        if name and free:
            taken.append(free[0])
            names.append({"x": x / WIDTH, "y": 1 - free[0][3] / HEIGHT, "name": name})
        if len(names) == MOST_NAMES:
            break
    return names


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _spec(values: list[Spec], names: list[Spec]) -> Spec:
    scale = {"domain": [0, 1]}
    place = {name: {"field": name, "type": "quantitative", "scale": scale, "axis": None} for name in ("x", "y")}
    asis = {"scale": None, "type": "quantitative"}
    bubbles = {
        "data": {"values": values},
        "mark": {"type": "circle", "opacity": 1},
        "encoding": {
            **place,
            "size": {"field": "area", **asis},
            "fill": {"field": "fill", "type": "nominal", "scale": None},
            "description": {"field": "about"},
        },
    }
    labels = {
        "data": {"values": names},
        "mark": {"type": "text", "baseline": "bottom", "fontSize": 12, "fill": "var(--text)", "aria": False},
        "encoding": {**place, "text": {"field": "name"}},
    }
    layers = [bubbles, labels] if names else [bubbles]
    return {"width": WIDTH, "height": HEIGHT, "padding": 24, "layer": layers}
