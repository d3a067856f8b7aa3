"""How a command prints its result, and shows its progress: for a person on a terminal, as plain text, or as JSON."""

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from filtering.cli.drawing import console_on, plain_lines
from filtering.core.json_text import json_text
from filtering.core.secrets import redacted
from filtering.core.visible import visible

if TYPE_CHECKING:
    from rich.console import RenderableType

    from filtering.runtime.progress import Reporter


def print_result(
    given: argparse.Namespace,
    value: Mapping[str, Any],
    lines: "Callable[[], Iterable[str]] | None" = None,
    view: "Callable[[], RenderableType] | None" = None,
) -> int:
    """Print a result on `given.out_stream`: `value` as JSON, a view on a terminal, else lines; exit status 0.

    Lines and views may hold what samples and stored runs say: it is printed as `visible` shows it, and secrets of URLs
    are masked. A result without lines is printed as its view in plain lines; one without a view as lines on a terminal,
    too.
    """
    stream = given.out_stream
    if given.json:
        stream.write(redacted(json_text(value)) + "\n")
    elif view is not None and stream.isatty():
        console_on(stream).print(view())
    else:
        found = lines() if lines is not None else plain_lines(view()) if view is not None else ()
        stream.writelines(f"{visible(redacted(line))}\n" for line in found)
    return 0


def error_json(status: int, lines: str) -> str:
    """Return what `--json` prints of a command that failed: its exit status and the lines on stderr."""
    return redacted(json_text({"error": {"exit_status": status, "lines": lines.split("\n")}}))


def progress_reporter() -> "Reporter":
    """Return a live view of a run if stderr is a terminal, else plain lines."""
    if not sys.stderr.isatty():
        from filtering.runtime.progress import LineReporter

        return LineReporter()
    # Here: what draws takes a third of a second to import, which runs without a terminal are spared.
    from filtering.cli.live import LiveReporter

    return LiveReporter()
