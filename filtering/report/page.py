"""The report as one self-contained HTML page.

Captions, keys and names come from the open web and must never be executed: every value that the template prints is
cleaned and escaped, and the page's Content-Security-Policy allows no request and no script but its own.
"""

import base64
import hashlib
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import cast

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from filtering.core.formatting import duration
from filtering.manifests.diff import RunDiff
from filtering.manifests.reasons import explained
from filtering.report import text
from filtering.report.charts import bar, flow, histogram
from filtering.report.concept_map import concept_map
from filtering.report.data import ConceptRow, QuarantineExample, Report
from filtering.report.gallery import Card, anchor_of, arranged, cards, changed, lowest_drops, strip, tally
from filtering.report.pictures import Pictures, admitted, shown_times
from filtering.report.reliability import right_charts

TEMPLATE = "page.html.j2"
LARGEST_PAGE = 15_000_000
# Rows that are shown at first: browsers need long to lay out ten thousand.
ROWS_AT_ONCE = 200
MOST_ROWS = 10_000
MOST_SHEETS = 200
# Concepts whose changes since another run are listed.
CHANGED_CONCEPTS = 500


@dataclass(frozen=True, slots=True)
class Limits:
    """The size limits of a page."""

    pictures: int  # bytes that must be left for images, in base64
    cards: int  # samples in the gallery
    whole: int  # characters of a caption in the gallery, which stands for the whole
    caption: int  # caption, name: characters of any other caption and of a concept's words
    name: int
    text: int  # characters of any other text


# The first one that makes the page small enough is used; images take what its text leaves of `LARGEST_PAGE`.
LIMITS = (
    Limits(6_000_000, 5_000, text.LONGEST_TEXT, 300, 90, text.LONGEST_TEXT),
    Limits(3_000_000, 5_000, 300, 120, 60, 300),
    Limits(0, 1_000, 40, 40, 24, 80),
)
# Bytes of the elements around an image.
AROUND_PICTURE = 250


@dataclass(frozen=True, slots=True)
class _Fault:
    reason: str
    count: int
    examples: tuple[QuarantineExample, ...]


def render(report: Report, against: RunDiff | None = None) -> str:
    """Return the report as an HTML page of at most 15 MB: no external request, no text of a sample is executed.

    With `against` it also shows the changes since another run.
    """
    known, around = _known(report) | {"against": against}, AROUND_PICTURE * shown_times(report)
    for limits in LIMITS:
        bare = _html(known, limits, frozenset())
        room = LARGEST_PAGE - len(bare.encode()) - around
        pictures = admitted(report, room)
        html = _html(known, limits, pictures) if pictures else bare
        # Surrogates in a caption were cleaned away, so the page can always be written as UTF-8.
        if room >= limits.pictures and len(html.encode()) < LARGEST_PAGE:
            break
    return html + "\n"


def _html(known: Mapping[str, object], limits: Limits, pictures: frozenset[bytes]) -> str:
    shown = cast(Sequence[Card], known["cards"])[: limits.cards]
    ordered = arranged(shown, pictures) if pictures else list(shown)
    own: dict[str, object] = {
        "limits": limits,
        "picture_of": Pictures(pictures),
        "cards": ordered,
        "strip": strip(ordered, pictures),
    }
    against = cast(RunDiff | None, known["against"])
    samples = against["samples"] if against else []
    own["changed"], own["changes"] = changed(ordered, samples), {one["uid"]: one["change"] for one in samples}
    own |= {"tally": tally(ordered), "anchors": {card.anchor for card in ordered}}
    own["pictured"] = sum(card.sample.jpeg in pictures for card in ordered)
    own["by_concept"] = Counter(card.sample.concept for card in ordered)
    return _template().render({**known, **own})


def _known(page: Report) -> dict[str, object]:
    """Return the variables of the template apart from its limits: the data, charts, and figures that follow from it."""
    rows = sorted(page.concepts, key=lambda row: (-row.size, row.concept))[:MOST_ROWS]
    page = replace(page, concepts=tuple(rows), more_concepts=page.more_concepts + len(page.concepts) - len(rows))
    sheets = [row for row in rows if row.sheet is not None][:MOST_SHEETS]
    shown, opened = cards(page), {row.concept for row in sheets}
    filtered = sum(count for reason, count in page.dropped_by_reason.items() if reason.startswith("filter:"))
    return {
        "page": page,
        "words": {row.concept: row.words for row in page.concepts},
        "changed_concepts": CHANGED_CONCEPTS,
        "headline": text.headline(page.totals),
        "steps": flow(page.totals, page.dropped_by_reason, page.novelty),
        "filtered": filtered,
        "charts": [(each, histogram(each)) for each in page.histograms],
        "right": [(name, right_charts(name, one)) for name, one in page.right.items()],
        "map": concept_map(rows),
        "without_kept": sum(row.kept == 0 for row in rows),
        "sheets": sheets,
        "opened": opened,
        "faults": _faults(page),
        "cards": shown,
        "score_names": (names := list(dict.fromkeys(name for card in shown for name, _ in card.scores))),
        "places": {name: at for at, name in enumerate(names)},
        "reasons": {**page.dropped_by_reason, **page.quarantined_by_reason},
        "explain": f"filtering explain {shlex.quote(text.clean(page.output))}",
        "drops": lowest_drops(page),
        "slowest": max((stage.seconds for stage in page.stages), default=0.0),
        "row_html": partial(_row_html, opened),
        "rows_at_once": ROWS_AT_ONCE,
    }


def _row_html(opened: Set[int], row: ConceptRow, longest: int, hidden: bool) -> Markup:
    """Return a row of the table of concepts in as few bytes as HTML allows, because there may be ten thousand."""
    name = text.clean(text.brief(", ".join(row.words), longest))
    number = Markup('<a href="#concept-{0}">{0}</a>').format(row.concept) if row.concept in opened else row.concept
    return Markup("<tr{}><td>{}<td>{}<td>{:,}<td>{:,}<td class={}>{}<td>{:,}<td>{}<td>{}<td>{:,}").format(
        Markup(" hidden") if hidden else "",
        number,
        name,
        row.size,
        row.kept,
        bar(row.kept, row.size),
        text.percent(row.kept, row.size),
        row.budget,
        text.number(row.difficulty),
        text.number(row.density),
        row.duplicates,
    )


def _faults(page: Report) -> list[_Fault]:
    examples: dict[str, list[QuarantineExample]] = {reason: [] for reason in page.quarantined_by_reason}
    for example in page.quarantine_examples:
        examples.setdefault(example.reason, []).append(example)
    counts = page.quarantined_by_reason
    faults = [_Fault(reason, counts.get(reason, len(shown)), tuple(shown)) for reason, shown in examples.items()]
    return sorted(faults, key=lambda fault: -fault.count)


def policy_hash(block: str) -> Markup:
    """Return the name of an inline block in a Content-Security-Policy."""
    digest = hashlib.sha256(block.encode("utf-8")).digest()
    return Markup(f"'sha256-{base64.b64encode(digest).decode('ascii')}'")


FILTERS = (text.brief, text.count, duration, explained, text.figure, text.memory, text.number, text.percent)


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        # Every printed value passes here, so that the template cannot forget to clean one.
        finalize=text.clean,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {each.__name__: each for each in (*FILTERS, anchor_of, policy_hash, text.score_name)}
    environment.globals |= {"bar": bar, "comparison": text.comparison}
    return environment.get_template(TEMPLATE)
