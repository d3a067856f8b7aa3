"""How a command prints its result, and shows its progress: for a person on a terminal, as plain text, or as JSON."""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

    from filtering.runtime.progress import Reporter


def print_result(
    given: argparse.Namespace,
    value: Mapping[str, Any],
    lines: Callable[[], Iterable[str]],
    view: "Callable[[], RenderableType] | None" = None,
) -> int:
    """Print a result once, on stdout, and return the exit status 0.

    Parameters
    ----------
    given : argparse.Namespace
        What was typed, with the stream of the result as `out_stream`.
    value : Mapping
        The result as plain data, for --json.
    lines : callable
        Returns the result in plain lines.
    view : callable, optional
        Returns the result as it is drawn on a terminal; plain lines by default.
    """
    stream = given.out_stream
    if given.json:
        stream.write(json.dumps(value) + "\n")
    elif view is not None and stream.isatty():
        from filtering.cli.drawing import console_on

        console_on(stream).print(view())
    else:
        stream.writelines(f"{line}\n" for line in lines())
    return 0


def progress_reporter() -> "Reporter":
    """Return a live view of a run if stderr is a terminal, else plain lines."""
    if not sys.stderr.isatty():
        from filtering.runtime.progress import LineReporter

        return LineReporter()
    # Here: what draws takes a third of a second to import, which runs without a terminal are spared.
    from filtering.cli.live import LiveReporter

    return LiveReporter()
