"""Pages for the tests of the page: an empty one, one full of any texts, and a reader of what was rendered."""

import hashlib
import math
import random
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO

from PIL import Image

from filtering.report.data import (
    ConceptRow,
    Cover,
    DuplicateGroup,
    Histogram,
    Measure,
    QuarantineExample,
    ReasonExamples,
    Report,
    Sheet,
    StageCost,
    Thumbnail,
)
from filtering.scores.artifacts import RightFigures

WORDS = ("dog", "cat", "house", "tree", "flag", "hand", "street", "food")
HOSTILE = (
    "<script>alert(1)</script>",
    '" onmouseover="alert(1)" x="',
    "' onload='alert(1)",
    "javascript:alert(1)",
    "<img src=https://evil.example/x onerror=alert(1)>",
    "</title></style></script></summary></details><svg onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}<!-- -->",
    "x" * 3_000,
)
VOID = {"meta", "link", "img", "input", "br"}
EMPTY = Report(
    run_id="run",
    output="out",
    created="now",
    totals={"input": 0, "kept": 0, "dropped": 0, "quarantined": 0},
    dropped_by_reason={},
    quarantined_by_reason={},
    quarantine_examples=(),
    selection=(),
    score_name="clip_score",
    recall=math.nan,
    k=10,
    graph=(),
    manifest_hash="0" * 64,
    measures=(),
    histograms=(),
    concepts=(),
    more_concepts=0,
    duplicate_cosine=0.99,
    duplicates=(),
    filtered=(),
    lowest=(),
    shards=0,
    pictured_shards=0,
    stages=(),
    warnings=(),
    base=(),
    config_yaml="",
    versions={},
    commands=(),
)


class Reader(HTMLParser):
    """Collects the elements, with the text each one holds itself."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append([tag, dict(attrs), ""])
        if tag not in VOID:
            self.open.append(self.elements[-1])

    def handle_startendtag(self, tag, attrs):
        self.elements.append([tag, dict(attrs), ""])

    def handle_endtag(self, tag):
        # The rows of the table of concepts leave out the end tags that HTML lets them leave out.
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        if self.open:
            self.open[-1][2] += data

    def all(self, tag):
        return [(attrs, text) for name, attrs, text in self.elements if name == tag]

    def text(self):
        return " ".join(text for tag, _, text in self.elements if tag not in ("script", "style"))


def jpeg(width=32, height=24):
    buffer = BytesIO()
    Image.new("RGB", (width, height), "teal").save(buffer, "JPEG")
    return buffer.getvalue()


def thumbnail(caption, reason="", picture=None, cover=None):
    uid = hashlib.md5(caption.encode("utf-8", "replace")).hexdigest()
    rank = None if reason else 2
    return Thumbnail(uid, caption[:40], caption, "00000000.tar", 0.251, math.nan, reason, rank, cover, picture)


def concept(number, words=("dog",), size=100, kept=30, sheet=None, x=0.5, y=0.5):
    return ConceptRow(number, words, size, kept, kept, 0.321, 0.654, 0.275, 12, x, y, sheet)


def sheet_of(texts):
    kept = tuple(thumbnail(text, "", jpeg()) for text in texts)
    covers = tuple(Cover("f" * 32, text[:40], text, 0.912, jpeg()) for text in texts)
    dropped = tuple(thumbnail(text, text, jpeg(), cover) for text, cover in zip(texts, covers, strict=True))
    return Sheet(kept, dropped, kept[:2], dropped[:1])


def full_page(texts=HOSTILE):
    first = texts[0]
    concepts = (
        ConceptRow(7, tuple(texts[:-1]), 1_234, 617, 601, 0.321, 0.654, 0.275, 99, 0.1, 0.9, sheet_of(texts)),
        ConceptRow(8, ("dog",), 55, 5, 5, math.nan, 0.2, math.nan, 0, 0.8, 0.2, None),
    )
    return Report(
        run_id=first,
        output=first,
        created=first,
        totals={"input": 4_812, "kept": 1_240, "dropped": 3_511, "quarantined": 61},
        dropped_by_reason={"filter:caption": 312, f"filter:{first}": 1_600, "selection:d2": 1_598, first: 1},
        quarantined_by_reason={first: 51, "duplicate_uid": 10},
        quarantine_examples=tuple(
            QuarantineExample(text, text, first, text, text, text, picture)
            for text in texts
            for picture in (jpeg(), None)
        ),
        selection=texts,
        score_name=first,
        recall=0.9871,
        k=10,
        graph=((first, first),),
        manifest_hash=first,
        measures=(Measure(first, first, None, 0.123456, 12.0),),
        histograms=(Histogram(first, first, (0.0, 0.1, 0.2), (3, 40), (500, 6), above=True),),
        concepts=concepts,
        more_concepts=3,
        duplicate_cosine=0.99,
        duplicates=(DuplicateGroup(7, 9, 2, tuple(thumbnail(text) for text in texts)),),
        filtered=(ReasonExamples(f"filter:{first}", tuple(thumbnail(text, f"filter:{first}") for text in texts)),),
        lowest=(thumbnail("no picture at hand", "filter:clip_score"),),
        shards=12,
        pictured_shards=8,
        stages=(StageCost(first, 192.3, 3 << 30, first), StageCost("filters", 2.0, 0, "", reused=True)),
        warnings=texts,
        base=((first, first),),
        config_yaml=f"input:\n  shards: {first}\n",
        versions={first: first},
        commands=tuple((text, text) for text in texts),
        right={first: right_figures()},
        examples=tuple(
            replace(thumbnail(text, "", jpeg()), concept=at, scores={text: 0.5, "wide": at})
            for at, text in enumerate(texts, 6)
        ),
    )


def right_figures():
    return RightFigures(
        pairs=120,
        mismatched=0.284,
        edges=[-2.0, 0.0, 2.0],
        observed=[40, 80],
        shuffled=[110, 10],
        predicted=[0.1, 0.0, 0.9],
        share_observed=[0.2, 0.0, 0.95],
        sizes=[150, 0, 90],
        log_odds=[-2.0, 1.5],
        probabilities=[0.05, 0.99],
        weights={"z1": 0.5},
        constant=0.1,
    )


def changes(texts=HOSTILE, concepts=505):
    """What changed since another run, its name hostile as well: in more concepts than the page lists."""
    first = texts[0]
    one = {
        "kept_before": 1,
        "kept_after": 2,
        "kept_in_both": 0,
        "became_kept": {first: 3},
        "became_dropped": {first: 4},
    }
    return {
        "before": first,
        "after": first,
        "kept_before": 900,
        "kept_after": 1_240,
        "kept_in_both": 800,
        "became_kept": {first: 400},
        "became_dropped": {first: 100},
        "shards": {"new": 1},
        "configuration": [{"key": "selection.keep", "before": 0.3, "after": first}],
        "samples": [],
        "same_concepts": False,
        "concepts": [{"concept": 7, "run": first, **one}] * concepts,
    }


def distinct_jpeg(at):
    picture = Image.effect_noise((128, 128), 80).point(lambda level: (level + at) % 256)
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def usual_page():
    texts = ("a dog on a beach", "two cats", "a red house " * 12)
    rows = [
        concept(3, ("dog", "beach"), 500, 50, sheet_of(texts), 0.1, 0.2),
        concept(1, ("cat",), 300, 240, sheet_of(texts), 0.8, 0.9),
        concept(2, ("house", "red"), 400, 0, None, 0.5, 0.5),
    ]
    rows += [concept(at, (WORDS[at % 8],), 50 + at, 20, None, at / 40, (7 * at % 31) / 80) for at in range(10, 40)]
    histogram = Histogram("clip_score", "cosine", (0.0, 0.1, 0.2, 0.3), (0, 5, 900), (50, 700, 100), below=True)
    without_pictures = tuple(thumbnail(f"not {text}", "filter:clip_score") for text in texts)
    return replace(
        full_page(texts),
        concepts=tuple(rows),
        more_concepts=0,
        dropped_by_reason={"filter:caption": 312, "filter:clip_score": 1_600, "selection:d2": 1_599},
        score_name="clip_score",
        histograms=(histogram,) * 3,
        filtered=(ReasonExamples("filter:clip_score", without_pictures),),
        duplicates=(DuplicateGroup(3, 7, 2, sheet_of(texts).kept), DuplicateGroup(2, 3, 1, without_pictures)),
    )


def large_page():
    draw = random.Random(0)
    rows = tuple(
        concept(at, tuple(draw.sample(WORDS, 3)), size := draw.randrange(1, 5_000), draw.randrange(size), None,
                draw.random(), draw.random())
        for at in range(10_000)
    )  # fmt: skip
    pictures = [distinct_jpeg(at) for at in range(40)]
    sheets = sheet_of(WORDS)
    shown = tuple(thumbnail(f"a picture {at}", "filter:clip_score", each) for at, each in enumerate(pictures))
    rows = tuple(replace(row, sheet=sheets) if row.concept < 60 else row for row in rows)
    return replace(usual_page(), concepts=rows, lowest=shown)
