"""The run's page: one self-contained HTML file, rendered from plain data.

Captions, keys and names come from the open web, so nothing of them may act: every value that the template prints
is cleaned and escaped, and the page's Content-Security-Policy allows no request and no script but its own.
"""

import base64
import hashlib
import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup
from PIL import Image, UnidentifiedImageError

from filtering.report.charts import explained, flow, histogram
from filtering.report.data import Page, QuarantineExample
from filtering.units import duration

TEMPLATE = "page.html.j2"
# The web has captions of many megabytes; no reader wants more than this of one.
LONGEST_TEXT = 2_000
# A caption that may not fit into a thumbnail's three lines can be opened.
SHORT_CAPTION = 48
BREAKS = "\u2028\u2029\x0b\x0c\x85"
# These reorder the text around them, so that a caption could disguise what stands beside it.
REORDERING = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
UNKNOWN = "–"
SCORE_NAMES: Mapping[str, str] = {"clip_score": "CLIP score", "score": "Selection score"}


@dataclass(frozen=True, slots=True)
class _Picture:
    uri: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class _Fault:
    reason: str
    count: int
    examples: tuple[QuarantineExample, ...]


def render(page: Page) -> str:
    """Return the page as HTML: no external request, nothing of the samples' text can act."""
    html = _template().render(
        page=page,
        headline=headline(page.totals),
        segments=flow(page.totals, page.dropped_by_reason),
        filtered=sum(count for reason, count in page.dropped_by_reason.items() if reason.startswith("filter:")),
        charts=[(each.name, histogram(each.edges, each.kept, each.dropped)) for each in page.histograms],
        faults=_faults(page),
        sheets=sum(row.sheet is not None for row in page.concepts),
        slowest=max((stage.seconds for stage in page.stages), default=0.0),
    )
    # Surrogates in a caption were cleaned away, so the page can always be written as UTF-8.
    return html + "\n"


def headline(totals: Mapping[str, int]) -> str:
    """Return the outcome in one sentence, such as 'Kept 1,240 of 4,812 image-text pairs (25.8 %)'."""
    kept, whole = totals["kept"], totals["input"]
    if whole == 0:
        return "Kept nothing: the input held no image-text pairs"
    return f"Kept {kept:,} of {whole:,} image-text pairs ({percent(kept, whole)})"


def percent(part: float, whole: float) -> str:
    """Return a share as text; what is neither nothing nor all is never rounded to it."""
    if not whole or not math.isfinite(part):
        return UNKNOWN
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "<0.1 %"
    return ">99.9 %" if 99.9 < share < 100 else f"{share:.1f} %"


def number(value: float) -> str:
    """Return a score or distance as text."""
    if not math.isfinite(value):
        return UNKNOWN
    return f"{value:.4g}" if abs(value) >= 1000 else f"{value:.3f}"


def figure(value: float | None) -> str:
    """Return a measure as text, to four digits."""
    return UNKNOWN if value is None else f"{value:,.4g}"


def memory(count: int) -> str:
    """Return bytes in MiB or GiB."""
    if count <= 0:
        return UNKNOWN
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{max(round(count / 2**20), 1)} MiB"


def clean(value: Any) -> Any:
    """Return text without control characters, lone surrogates and marks that reorder it; other values as they are.

    New lines and tabs stay: the configuration needs them, and elsewhere HTML shows them as a space.
    """
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    if value.isascii() and value.isprintable():
        return value
    return "".join(_clean_character(each) for each in value.replace("\r\n", "\n"))


def _clean_character(each: str) -> str:
    if each in "\n\t":
        return each
    if each in BREAKS or each == "\r":
        return " "
    return "" if each in REORDERING or unicodedata.category(each) in ("Cc", "Cs") else each


def _brief(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "…"


def _reason_label(reason: str) -> str:
    return explained(reason)[0]


def _score_name(name: str) -> str:
    return SCORE_NAMES.get(name, name)


def _picture(jpeg: bytes | None) -> _Picture | None:
    """Return a picture as a data URI with its size, None where it is missing or not a JPEG."""
    if jpeg is None:
        return None
    try:
        with Image.open(BytesIO(jpeg), formats=["JPEG"]) as image:
            width, height = image.size
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError):
        return None
    return _Picture("data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii"), width, height)


def _faults(page: Page) -> list[_Fault]:
    examples: dict[str, list[QuarantineExample]] = {reason: [] for reason in page.quarantined_by_reason}
    for example in page.quarantine_examples:
        examples.setdefault(example.reason, []).append(example)
    counts = page.quarantined_by_reason
    faults = [_Fault(reason, counts.get(reason, len(shown)), tuple(shown)) for reason, shown in examples.items()]
    return sorted(faults, key=lambda fault: -fault.count)


def _policy_hash(block: str) -> Markup:
    """Return what a Content-Security-Policy calls an inline block by."""
    digest = hashlib.sha256(block.encode("utf-8")).digest()
    return Markup(f"'sha256-{base64.b64encode(digest).decode('ascii')}'")


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        # Every value printed passes here, so that no place in the template can forget to clean.
        finalize=clean,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "brief": _brief,
        "duration": duration,
        "figure": figure,
        "memory": memory,
        "number": number,
        "percent": percent,
        "picture": _picture,
        "policy_hash": _policy_hash,
        "reason_label": _reason_label,
        "score_name": _score_name,
    }
    environment.globals["SHORT_CAPTION"] = SHORT_CAPTION
    return environment.get_template(TEMPLATE)
