"""Accuracy against the keep rate, a panel a pool and model."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.quality.family.summary import DEFAULT, Figures

COLOURS, MARKERS = 10, "os^v"


def plot(cells: Sequence[Figures], path: str) -> None:
    """Draw every method in every panel, means and standard errors; the default is drawn thick."""
    from matplotlib.figure import Figure

    pools, models = (list(dict.fromkeys(cell[name] for cell in cells)) for name in ("pool", "model"))
    methods = sorted({name for cell in cells for name in cell["methods"]})
    figure = Figure(figsize=(5 * len(models), 1 + 3 * len(pools)), layout="constrained")
    panels = figure.subplots(len(pools), len(models), sharex=True, squeeze=False)
    for row, pool in zip(panels, pools, strict=True):
        for axes, model in zip(row, models, strict=True):
            _panel(axes, [cell for cell in cells if (cell["pool"], cell["model"]) == (pool, model)], methods)
            axes.set_title(f"{pool}, {model} filtering model", fontsize="medium")
    for axes in panels[:, 0]:
        axes.set_ylabel("mean accuracy, %")
    for axes in panels[-1]:
        axes.set_xlabel("kept, %")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize="small")
    figure.savefig(Path(path), dpi=120)


def _panel(axes, cells: Sequence[Figures], methods: Sequence[str]) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    ordered = sorted(cells, key=lambda cell: float(cell["keep"]))
    for at, method in enumerate(methods):
        there = [cell for cell in ordered if method in cell["methods"]]
        figures = [cell["methods"][method] for cell in there]
        axes.errorbar(
            [100 * cell["keep"] for cell in there],
            [each["mean"] for each in figures],
            yerr=[each["error"] or 0.0 for each in figures],
            label=method,
            color="black" if method == DEFAULT else f"C{at % COLOURS}",
            marker=MARKERS[at // COLOURS % len(MARKERS)],
            linewidth=2.5 if method == DEFAULT else 1,
            markersize=4,
        )
    axes.grid(alpha=0.3)
