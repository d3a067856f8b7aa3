"""Figures as a table on the terminal, as JSON, and as a plot of bars."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def print_table(rows: Sequence[Row]) -> None:
    """Print rows of any columns, each column as wide as its widest cell; a cell that a row lacks is empty."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names, *([_cell(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(names))]
    for line in lines:
        first, *others = (cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join([first.strip().ljust(widths[0]), *others]).rstrip(), flush=True)


def write_outputs(figures: Any, json_path: str | None, plot_path: str | None = None) -> None:
    """Write figures as JSON, and the column `seconds` of rows as bars labelled by the first column, to given paths."""
    if json_path:
        Path(json_path).write_text(json.dumps(figures, indent=1) + "\n")
    if plot_path:
        _plot(figures, plot_path)


def _plot(rows: Sequence[Row], path: str) -> None:
    from matplotlib.figure import Figure

    timed = [(str(next(iter(row.values()))), row["seconds"]) for row in rows if row.get("seconds")]
    figure = Figure(figsize=(8, 1 + 0.4 * len(timed)), layout="constrained")
    axes = figure.subplots()
    # By position, not by label: two rows may have the same label.
    bars = axes.barh(range(len(timed)), [seconds for _, seconds in timed])
    axes.bar_label(bars, labels=[_cell(seconds) for _, seconds in timed], padding=3)
    axes.set_yticks(range(len(timed)), labels=[label for label, _ in timed])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.margins(x=0.2, y=0.02)
    axes.set_xlabel("seconds")
    figure.savefig(path, dpi=150)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) or abs(value) >= 1000 else f"{value:.4g}"
