"""The table: means and standard errors over seeds, gains, what selection took, what the kept pairs are."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.lib.tables import Row
from benchmarks.quality.pool.measuring import Result

NO_FILTER, RANDOM = "no filter", "random"
MILLION = 1_000_000


def rows(results: Sequence[Result], part: str, pool_rows: int) -> list[Row]:
    """Return a row a filter, the best first; `part` is validation or test."""
    names = list(dict.fromkeys(result["filter"] for result in results))
    by_filter = {name: [result for result in results if result["filter"] == name] for name in names}
    means = {name: {result["seed"]: result[part]["mean"] for result in found} for name, found in by_filter.items()}
    table = [
        {
            "filter": name,
            **_figures(found, part),
            "over no filter": _gain(means[name], means.get(NO_FILTER)),
            "over random": _gain(means[name], means.get(RANDOM)),
            "seeds": len(found),
            **{key: round(_mean([result["truth"][key] for result in found]), 1) for key in found[0]["truth"]},
            **_costs(found[0]["selection"], pool_rows),
        }
        for name, found in by_filter.items()
    ]
    return sorted(table, key=lambda row: -float(row["mean"].split()[0]))


def split(table: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Return the table as two that fit a terminal: what was learnt, and what was kept at which cost."""
    first = list(table[0]).index("seeds") + 1 if table else 0
    learnt = [dict(list(row.items())[:first]) for row in table]
    return learnt, [{"filter": row["filter"], **dict(list(row.items())[first:])} for row in table]


def plot(table: Sequence[Row], path: str) -> None:
    """Draw the means and their standard errors as bars."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1 + 0.3 * len(table)), layout="constrained")
    axes = figure.subplots()
    means, errors = zip(*([float(part) for part in row["mean"].split(" ± ")] for row in table), strict=True)
    axes.barh(range(len(table)), means, xerr=errors)
    axes.set_yticks(range(len(table)), labels=[row["filter"] for row in table])
    axes.invert_yaxis()
    axes.set_xlabel("mean of zero-shot accuracy and retrieval, %")
    figure.savefig(Path(path), dpi=150)


def _figures(found: Sequence[Result], part: str) -> Row:
    names = ["mean", *(name for name in found[0][part] if name != "mean")]
    return {name: _with_error([result[part][name] for result in found]) for name in names}


def _gain(mine: dict[int, float], others: dict[int, float] | None) -> str:
    """Return the difference seed by seed, as the same seed starts and shuffles alike."""
    shared = sorted(set(mine) & set(others or {}))
    return _with_error([mine[seed] - (others or {})[seed] for seed in shared]) if shared else ""


def _costs(selection: dict[str, float], pool_rows: int) -> Row:
    each = MILLION / pool_rows
    return {
        "s": round(selection["seconds"], 2),
        "s / 1M rows": round(selection["seconds"] * each),
        "graph s / 1M rows": round(selection["graph_seconds"] * each),
        "peak MB": round(selection["peak_bytes"] / 1e6),
    }


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _with_error(values: Sequence[float]) -> str:
    """Return the mean and its standard error over seeds."""
    error = np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{_mean(values):.1f} ± {error:.1f}"
