"""`filtering demo`: a pool with planted defects, filtered end to end."""

import argparse
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from filtering.cli.declaration import Command, argument
from filtering.cli.output import print_result, progress_reporter

if TYPE_CHECKING:
    from filtering.demo.job import DemoFigures
    from filtering.demo.quality import Measure

MEANINGS = {
    "filter:clip_score": "caption does not match the picture",
    "selection:d2": "not picked by D2",
    "image_undecodable": "picture cannot be decoded",
    "missing_caption": "no caption",
}


def _demo(given: argparse.Namespace) -> int:
    from filtering.demo.job import run_demo

    found = run_demo(given.out, progress_reporter())
    return print_result(given, found, lambda: demo_lines(found))


def demo_lines(found: "DemoFigures") -> list[str]:
    """Return the samples kept and left out, and the outcome of the planted defects, in plain lines."""
    places = ("", f"manifest  {found['manifest']}", f"report    {found['page']}")
    return ["", *_total_lines(found), "", *_measure_lines(found["measures"]), *places]


def _total_lines(found: "DemoFigures") -> Iterator[str]:
    totals = found["totals"]
    yield from (f"{'samples':<40}{totals['input']:>8,}", f"{'kept':<40}{totals['kept']:>8,}")
    for kind in ("dropped", "quarantined"):
        yield f"{kind:<40}{totals[kind]:>8,}"
        for reason, count in sorted(found["reasons"][kind].items(), key=lambda item: -item[1]):
            yield f"  {MEANINGS.get(reason, reason):<38}{count:>8,}"


def _measure_lines(measures: "Iterable[Measure]") -> Iterator[str]:
    yield f"{'planted in the pool':<40}{'kept set':>8}{'random choice':>16}"
    for measure in measures:
        form = "{:.1%}" if measure["percent"] else "{:,.1f}"
        yield f"{measure['name']:<40}{form.format(measure['selected']):>8}{form.format(measure['random']):>16}"


COMMAND = Command(
    name="demo",
    help="build a small pool, filter it end to end and write the report; needs no network",
    examples=("filtering demo",),
    arguments=(
        argument(
            "--out",
            default="filtering-demo",
            metavar="DIR",
            help="directory for the pool and the run (default: filtering-demo)",
        ),
    ),
    body=_demo,
    resumes="the run",
)
