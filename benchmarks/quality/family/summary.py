"""The figures of every cell: means over seeds, ranks, distances to the best; and of every method over all cells."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.lib.tables import Row
from benchmarks.quality.family.cells import Cell
from benchmarks.quality.pool.measuring import Result

DEFAULT = "default"
# Of the number of pairs to keep.
ROUNDING = 0.001
Figures = dict[str, Any]
Found = Mapping[Cell, Mapping[str, Sequence[Result]]]


def cell_figures(found: Found, part: str) -> list[Figures]:
    """Return each cell that has results, as plain data; `part` is validation or test."""
    return [
        {
            "pool": cell.pool.name,
            "model": cell.judge.name,
            "keep": cell.keep,
            "methods": _methods(results, part, cell.keep),
        }
        for cell, results in found.items()
        if results
    ]


def _methods(results: Mapping[str, Sequence[Result]], part: str, keep: float) -> dict[str, Figures]:
    """Return figures of each method in percent, the best first: `rank` is 1 more than the methods that are better.

    What keeps more than was asked for, as no filter does, has no rank, and nothing is behind it.
    """
    figures = {name: _figures(of_seeds, part) for name, of_seeds in results.items()}
    order = sorted(figures, key=lambda name: -figures[name]["mean"])
    means = [figures[name]["mean"] for name in order if figures[name]["share"] <= keep + ROUNDING]
    return {name: {**figures[name], **_ranked(figures[name], means, keep)} for name in order}


def _ranked(figures: Figures, means: Sequence[float], keep: float) -> Figures:
    if figures["share"] > keep + ROUNDING:
        return {"rank": None, "behind": None}
    return {"rank": means.index(figures["mean"]) + 1, "behind": means[0] - figures["mean"]}


def _figures(results: Sequence[Result], part: str) -> Figures:
    means = [result[part]["mean"] for result in results]
    averages = {name: _mean([result[part][name] for result in results]) for name in results[0][part]}
    return {
        **averages,
        "error": float(np.std(means, ddof=1) / len(means) ** 0.5) if len(means) > 1 else None,
        "seeds": [result["seed"] for result in results],
        "share": _mean([result["truth"]["kept"] / result["rows"] for result in results]),
        "kept": {name: _mean([result["truth"][name] for result in results]) for name in results[0]["truth"]},
    }


def method_figures(cells: Sequence[Figures]) -> list[Row]:
    """Return a row a method over the cells where it was measured, the lowest mean rank first.

    Ranks are among the methods that a cell has: where cells are unfinished, compare rows with as many cells.
    """
    names = dict.fromkeys(name for cell in cells for name in cell["methods"])
    rows = [_over_cells(name, [cell["methods"][name] for cell in cells if name in cell["methods"]]) for name in names]
    # What has no rank comes last.
    return sorted(rows, key=lambda row: float(row["mean rank"] or len(names) + 1))


def _over_cells(name: str, figures: Sequence[Figures]) -> Row:
    ranked = [figure for figure in figures if figure["rank"] is not None]
    behind = [figure["behind"] for figure in ranked]
    return {
        "method": name,
        "cells": len(figures),
        "mean rank": round(_mean([figure["rank"] for figure in ranked]), 2) if ranked else "",
        "best in": sum(figure["rank"] == 1 for figure in ranked),
        "mean behind": round(_mean(behind), 1) if ranked else "",
        "worst behind": round(max(behind), 1) if ranked else "",
        "mean": round(_mean([figure["mean"] for figure in figures]), 1),
    }


def accuracy_rows(cells: Sequence[Figures]) -> list[Row]:
    """Return a row a method, of cells of one pool and model: its accuracy at each keep rate, and its rank there."""
    names = dict.fromkeys(name for cell in cells for name in cell["methods"])
    ordered = sorted(cells, key=lambda cell: float(cell["keep"]))
    rows = [{"method": name, **{_percent(cell): _accuracy(cell, name) for cell in ordered}} for name in names]
    if DEFAULT in names:
        rows.append({"method": "default behind the best", **{_percent(cell): _behind(cell) for cell in ordered}})
    return rows


def _accuracy(cell: Figures, name: str) -> str:
    if name not in cell["methods"]:
        return ""
    figures = cell["methods"][name]
    error = "" if figures["error"] is None else f" ± {figures['error']:.1f}"
    few = f" of {100 * figures['share']:.0f} %" if figures["share"] < cell["keep"] - ROUNDING else ""
    return f"{figures['mean']:.1f}{error}{few}" + (f" (#{figures['rank']})" if figures["rank"] else " of 100 %")


def _behind(cell: Figures) -> str:
    return f"{cell['methods'][DEFAULT]['behind']:.1f}" if DEFAULT in cell["methods"] else ""


def _percent(cell: Figures) -> str:
    return f"{100 * cell['keep']:g} %"


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
