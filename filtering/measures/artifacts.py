"""The objects of the measures stage, as the report reads them."""

from collections.abc import Mapping
from dataclasses import dataclass

# The table of `schemas.MEASURES`.
MEASURES = "measures.parquet"
# A figure of the pool, of the selection and of a random choice of equal size, by name.
ByChoice = Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class MeasuresResult:
    """What is kept against the whole pool, and against a random choice of equal size, as run.json has it."""

    coverage: ByChoice  # mean distance of pool samples to the nearest kept one
    matching: ByChoice  # squared distance between the mean features of the pool and of what is kept
    effective_concepts: ByChoice  # concepts in effect
    spread: ByChoice  # mean distance of dropped samples to their nearest kept neighbour
    without_kept_neighbour: ByChoice  # share of dropped samples that have no kept neighbour

    @property
    def summary(self) -> str:
        """One line for a person."""
        ours, chance = self.coverage["selection"], self.coverage["random"]
        return f"coverage {ours}, {chance} at random" if ours is not None else "nothing is kept"
