"""Accuracies by method and pruning rate: a table for the terminal, JSON, and a plot of lines with standard errors."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from benchmarks.lib.tables import Row
from benchmarks.quality.coreset.knobs import Knobs

# matplotlib starts again after this number of colours.
COLOURS, STYLES = 10, ("-", "--", ":")
# Points below the best at the rate where it is lowest.
BEHIND = 5


@dataclass(frozen=True, slots=True)
class Figure:
    """What one method reaches at one pruning rate: an accuracy a seed."""

    method: str
    rate: float
    knobs: Knobs
    accuracies: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean over the seeds."""
        return float(np.mean(self.accuracies))

    @property
    def error(self) -> float:
        """The standard error of the mean; 0 of a single seed."""
        count = len(self.accuracies)
        return float(np.std(self.accuracies, ddof=1) / np.sqrt(count)) if count > 1 else 0.0


def rows_of(figures: Sequence[Figure]) -> list[Row]:
    """Return a row for each method, a column for each rate: mean and standard error in percent, the first starred."""
    best = {rate: max(one.mean for one in figures if one.rate == rate) for rate in {one.rate for one in figures}}
    rows: dict[str, Row] = {}
    for one in figures:
        star = "*" if one.mean == best[one.rate] else " "
        row = rows.setdefault(one.method, {"pruned": one.method})
        row[f"{one.rate:.0%}"] = f"{one.mean:.2%} ± {100 * one.error:.2f}{star}"
    return list(rows.values())


def listed(figures: Sequence[Figure]) -> list[Row]:
    """Return every figure with its knobs, as JSON has it."""
    return [{**asdict(one), "mean": round(one.mean, 5), "error": round(one.error, 5)} for one in figures]


def draw(figures: Sequence[Figure], path: str) -> None:
    """Draw a line for each method: accuracy over the pruning rate."""
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=(9, 6), layout="constrained")
    axes, rates = drawing.subplots(), {one.rate for one in figures}
    for number, method in enumerate(dict.fromkeys(one.method for one in figures)):
        line = [one for one in figures if one.method == method]
        places, means = [100 * one.rate for one in line], [100 * one.mean for one in line]
        errors, style = [100 * one.error for one in line], STYLES[number // COLOURS % len(STYLES)]
        axes.errorbar(places, means, errors, label=method, marker=".", capsize=2, linestyle=style)
    # Methods far behind would press the others together.
    axes.set_ylim(bottom=min(max(one.mean for one in figures if one.rate == rate) for rate in rates) * 100 - BEHIND)
    axes.set_xlabel("pruned, %")
    axes.set_ylabel("test accuracy, %")
    axes.legend(fontsize="small", ncols=2)
    drawing.savefig(path, dpi=150)
