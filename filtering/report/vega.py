"""A Vega-Lite specification as an inline SVG that is safe in the page: no link, no script, no style."""

import re
from xml.etree import ElementTree

import vl_convert
from markupsafe import Markup

VERSION = "6.1"
# A Vega-Lite specification, or a part of one.
Spec = dict[str, object]
# The elements of a chart; anything else that the converter writes is removed.
TAGS = frozenset(("svg", "g", "path", "line", "rect", "text", "circle"))
PLACES = ("d", "x", "y", "x1", "x2", "y1", "y2", "r", "cx", "cy", "width", "height", "transform")
STROKES = ("stroke", "stroke-width", "stroke-opacity", "stroke-dasharray", "stroke-linejoin")
TEXTS = ("text-anchor", "font-size", "font-weight")
ATTRIBUTES = frozenset((*PLACES, *STROKES, *TEXTS, "fill", "fill-opacity", "opacity"))
TIP = "data-tip"
FRAME = frozenset(("background", "foreground"))
LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}(?:e-\d+)?")
# The page's variables colour it, so that it follows light and dark.
CONFIG: Spec = {
    "background": None,
    "font": "Helvetica, Arial, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "aria": False,
        "labelColor": "var(--soft)",
        "titleColor": "var(--soft)",
        "gridColor": "var(--line)",
        "domainColor": "var(--soft)",
        "tickColor": "var(--soft)",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    },
}


def svg(spec: Spec, kind: str, label: str, role: str = "img") -> Markup:
    """Return the chart of a Vega-Lite specification; text in it and the label must be clean (`report.text.one_line`).

    `kind` is the chart's CSS class. The role is group where the page's script makes the marks reachable by keyboard.
    """
    drawn = vl_convert.vegalite_to_svg({"config": CONFIG, **spec}, vl_version=VERSION)
    root = ElementTree.fromstring(drawn)
    _, _, width, height = root.attrib["viewBox"].split()
    _tidy(root)
    root.attrib.clear()
    root.attrib |= {"viewBox": f"0 0 {width} {height}", "class": kind, "role": role, "aria-label": label}
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _tidy(element: ElementTree.Element) -> None:
    element.tag = element.tag.rpartition("}")[2]
    element.tail = None
    # A mark without a role may have no label; the page's script shows this, and labels the marks it makes reachable.
    about = {TIP: element.attrib["aria-label"]} if "aria-label" in element.attrib else {}
    element.attrib = {
        name: LONG_NUMBER.sub(_short, value) for name, value in element.attrib.items() if name in ATTRIBUTES
    } | about
    for child in list(element):
        if _belongs(child):
            _tidy(child)
        else:
            element.remove(child)


def _belongs(child: ElementTree.Element) -> bool:
    seen = child.get("opacity") != "0" and child.get("class") not in FRAME
    return seen and child.tag.rpartition("}")[2] in TAGS


def _short(found: re.Match[str]) -> str:
    return f"{float(found[0]):.2f}".rstrip("0").rstrip(".")
