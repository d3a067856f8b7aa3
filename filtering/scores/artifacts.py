"""The objects of the scores stage, as the stages after it read them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filtering.storage.store import Store

SCORES_NAME = "{}.scores.npz"
# float32; float64 of a column that the user brings, which keeps its order (`filtering.scores.registry.Spec.wide`).
Scores = npt.NDArray[np.float32] | npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ScoresResult:
    """How many rows have a score, and the scorer's name."""

    rows: int
    score: str

    @property
    def summary(self) -> str:
        """One line for a person."""
        return f"{self.rows:,} samples scored by {self.score}"


def read_scores(store: Store, identity: str) -> Scores:
    """Return the score of each row of a shard, float32 or float64 (n,)."""
    scores: Scores = store.read_arrays(SCORES_NAME.format(identity))["score"]
    return scores
