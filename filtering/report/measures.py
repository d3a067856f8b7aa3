"""The measures of a selection in plain words."""

from collections.abc import Mapping

from filtering.report.parts import Measure

Figures = Mapping[str, Mapping[str, float | None]]
MEANINGS = {
    "coverage": ("Coverage", "mean distance of the pool's images to the nearest kept image; less is better"),
    "matching": (
        "Matching",
        "squared distance of the mean embeddings of pool and selection; less is closer to the pool",
    ),
    "effective_concepts": (
        "Concepts in effect",
        "the number of equally filled concepts with the same diversity; more is more even",
    ),
    "spread": (
        "Spread",
        "mean distance of dropped samples to the nearest kept neighbour in their concept; less is better",
    ),
    "without_kept_neighbour": ("Not covered", "share of dropped samples without a kept neighbour in their concept"),
}


def measure_rows(figures: Figures) -> tuple[Measure, ...]:
    """Return a run's measures, as run.json has them, in the order to show them."""
    return tuple(
        Measure(*MEANINGS[name], *(values.get(choice) for choice in ("pool", "selection", "random")))
        for name, values in figures.items()
        if name in MEANINGS
    )
