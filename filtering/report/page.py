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
class Thumbnail:
    """One sample on a contact sheet.

    Attributes
    ----------
    key : the sample's key
    caption : its text
    score : the score it was judged by
    reason : why it was dropped, as the manifest spells it; empty for a kept sample
    jpeg : a small picture; None shows the caption alone
    """

    key: str
    caption: str
    score: float
    reason: str
    jpeg: bytes | None


@dataclass(frozen=True, slots=True)
class Sheet:
    """The contact sheets of one concept.

    Attributes
    ----------
    kept, dropped : examples, in the order to show them
    """

    kept: tuple[Thumbnail, ...]
    dropped: tuple[Thumbnail, ...]


@dataclass(frozen=True, slots=True)
class ConceptRow:
    """One line of the table of concepts.

    Attributes
    ----------
    concept : the concept's number
    words : frequent words of its captions, most telling first
    size : samples that reached selection
    budget : samples it might keep
    kept : samples it kept
    d_intra : mean cosine distance of its samples to its centre
    d_inter : mean cosine distance of its centre to the nearest other centres
    mean_score : mean CLIP score of the samples it kept, as far as they were sampled for the page; NaN where none was
    sheet : examples; None where none were drawn
    """

    concept: int
    words: tuple[str, ...]
    size: int
    budget: int
    kept: int
    d_intra: float
    d_inter: float
    mean_score: float
    sheet: Sheet | None


@dataclass(frozen=True, slots=True)
class Histogram:
    """A score's distribution, kept against dropped.

    Attributes
    ----------
    name : the score's name, such as clip_score
    edges : bounds of the bins, ascending, one more than there are bins
    kept, dropped : samples in each bin
    """

    name: str
    edges: tuple[float, ...]
    kept: tuple[int, ...]
    dropped: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StageCost:
    """What a stage of the run took.

    Attributes
    ----------
    name : the stage's name
    seconds : wall-clock time
    peak_memory_bytes : largest resident memory of one process; 0 where it was not measured
    summary : what it did, in a few words
    """

    name: str
    seconds: float
    peak_memory_bytes: int
    summary: str


@dataclass(frozen=True, slots=True)
class QuarantineExample:
    """A sample or shard that could not be used.

    Attributes
    ----------
    shard : the shard's URL
    member : the tar member at fault, or the key; may be empty where a whole shard is meant
    reason : the fault, in a word
    detail : the fault, in a sentence
    """

    shard: str
    member: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Page:
    """Everything the page shows.

    Attributes
    ----------
    run_id : the run's identity
    output : the path or URL of the run's directory
    created : when the page was made, as text
    totals : samples under the keys input, kept, dropped and quarantined
    dropped_by_reason : samples by reason, filters in their order
    quarantined_by_reason : samples (or shards) by reason
    quarantine_examples : some of them
    recall : share of the true k nearest neighbours that the graph found, 0 to 1; NaN where not measured
    k : neighbours of each sample in the graph
    manifest_hash : hash of the manifest of kept samples
    histograms : score distributions
    concepts : one row for each concept
    lowest : the dropped samples of lowest CLIP score, lowest first
    stages : time and memory, in the order they ran
    warnings : what the reader must know first
    config_yaml : the resolved configuration
    versions : versions of the software, by name
    commands : commands that reproduce the run
    """

    run_id: str
    output: str
    created: str
    totals: Mapping[str, int]
    dropped_by_reason: Mapping[str, int]
    quarantined_by_reason: Mapping[str, int]
    quarantine_examples: tuple[QuarantineExample, ...]
    recall: float
    k: int
    manifest_hash: str
    histograms: tuple[Histogram, ...]
    concepts: tuple[ConceptRow, ...]
    lowest: tuple[Thumbnail, ...]
    stages: tuple[StageCost, ...]
    warnings: tuple[str, ...]
    config_yaml: str
    versions: Mapping[str, str]
    commands: tuple[str, ...]


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


def duration(seconds: float) -> str:
    """Return seconds as a person would say them."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


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
