"""What the benchmarks share: their figures as a table on the terminal, as JSON, and as a plot of bars."""

import argparse
import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]

NO_MATPLOTLIB = "a plot needs matplotlib: uv pip install --editable '.[benchmarks]'"


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """Add `--json` and `--plot`."""
    parser.add_argument("--json", metavar="OUT", help="write the figures there, too")
    parser.add_argument("--plot", metavar="OUT", type=_plot_path, help="draw the seconds there: .png, .svg, .pdf")


def print_table(rows: Sequence[Row]) -> None:
    """Print rows of any columns, a column as wide as its widest cell; what a row lacks stays empty."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names, *([_cell(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(names))]
    for line in lines:
        first, *others = (cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join([first.strip().ljust(widths[0]), *others]).rstrip(), flush=True)


def write_outputs(rows: Sequence[Row], json_path: str | None, plot_path: str | None) -> None:
    """Write the rows as JSON, and the column `seconds` as bars labelled by the first column, where paths are given."""
    if json_path:
        Path(json_path).write_text(json.dumps(rows, indent=1) + "\n")
    if plot_path:
        _plot(rows, plot_path)


def _plot(rows: Sequence[Row], path: str) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        sys.exit(NO_MATPLOTLIB)
    timed = [(str(next(iter(row.values()))), row["seconds"]) for row in rows if row.get("seconds")]
    figure = Figure(figsize=(8, 1 + 0.4 * len(timed)), layout="constrained")
    axes = figure.subplots()
    # By place, not by label: two rows may be called the same.
    bars = axes.barh(range(len(timed)), [seconds for _, seconds in timed])
    axes.bar_label(bars, labels=[_cell(seconds) for _, seconds in timed], padding=3)
    axes.set_yticks(range(len(timed)), labels=[label for label, _ in timed])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.margins(x=0.2, y=0.02)
    axes.set_xlabel("seconds")
    figure.savefig(path, dpi=150)


def _plot_path(path: str) -> str:
    # Before minutes of measuring, not after them.
    if importlib.util.find_spec("matplotlib") is None:
        sys.exit(NO_MATPLOTLIB)
    return path


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) or abs(value) >= 1000 else f"{value:.4g}"
