"""The measures of a selection in plain words."""

from collections.abc import Mapping

from filtering.report.parts import Measure

Figures = Mapping[str, Mapping[str, float | None]]
MEANINGS = {
    "coverage": ("Coverage", "mean distance of the pool's pictures to the nearest one kept; less is better"),
    "matching": (
        "Matching",
        "squared distance of the mean embeddings of pool and selection; less is closer to the pool",
    ),
    "effective_concepts": (
        "Concepts in effect",
        "as many equally filled concepts would be as diverse; more is more even",
    ),
    "spread": (
        "Spread",
        "mean distance of what is dropped to the nearest kept neighbour of its concept; less is better",
    ),
    "without_kept_neighbour": ("Not covered", "share of what is dropped that has no kept neighbour in its concept"),
}


def measure_rows(figures: Figures) -> tuple[Measure, ...]:
    """Return a run's measures, as run.json has them, in the order to show them."""
    return tuple(
        Measure(*MEANINGS[name], *(values.get(choice) for choice in ("pool", "selection", "random")))
        for name, values in figures.items()
        if name in MEANINGS
    )
