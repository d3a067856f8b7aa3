"""`filtering demo`: a pool with planted defects, filtered end to end."""

import argparse
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from filtering.cli.declaration import Command
from filtering.cli.output import print_result, progress_reporter

MEANINGS = {
    "filter:clip_score": "caption does not match the picture",
    "selection:d2": "not picked by D2",
    "image_undecodable": "picture cannot be decoded",
    "missing_caption": "no caption",
}


def _options(parser: argparse.ArgumentParser) -> None:
    help = "directory for the pool and the run (default: filtering-demo)"
    parser.add_argument("--out", default="filtering-demo", metavar="DIR", help=help)


def _demo(given: argparse.Namespace) -> int:
    from filtering.demo.job import run_demo

    found = run_demo(given.out, progress_reporter())
    return print_result(given, found, lambda: demo_lines(found))


def demo_lines(found: Mapping[str, Any]) -> list[str]:
    """Return the samples kept and left out, and the outcome of the planted defects, in plain lines."""
    places = ("", f"manifest  {found['manifest']}", f"report    {found['page']}")
    return ["", *_total_lines(found), "", *_measure_lines(found["measures"]), *places]


def _total_lines(found: Mapping[str, Any]) -> Iterator[str]:
    totals = found["totals"]
    yield from (f"{'samples':<40}{totals['input']:>8,}", f"{'kept':<40}{totals['kept']:>8,}")
    for kind in ("dropped", "quarantined"):
        yield f"{kind:<40}{totals[kind]:>8,}"
        for reason, count in sorted(found["reasons"][kind].items(), key=lambda item: -item[1]):
            yield f"  {MEANINGS.get(reason, reason):<38}{count:>8,}"


def _measure_lines(measures: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    yield f"{'planted in the pool':<40}{'kept set':>8}{'random choice':>16}"
    for measure in measures:
        form = "{:.1%}" if measure["percent"] else "{:,.1f}"
        yield f"{measure['name']:<40}{form.format(measure['selected']):>8}{form.format(measure['random']):>16}"


COMMAND = Command(
    name="demo",
    help="build a small pool, filter it end to end and write the report; needs no network",
    examples=("filtering demo",),
    options=_options,
    body=_demo,
    resumes="the run",
)
