"""The objects of the scores stage, as the stages after it read them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filtering.storage.store import Store

SCORES_NAME = "{}.scores.npz"
# float32; float64 of a column that the user brings, which keeps its order (`filtering.scores.registry.Spec.wide`).
Scores = npt.NDArray[np.float32] | npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class GraphSource:
    """A graph that scores read: its folder, and the number of its partitions."""

    store: Store
    partitions: int


@dataclass(frozen=True, slots=True)
class RightFigures:
    """What P(right) was learned from, and how sure it is, as run.json has it; figures are those of held-out pairs."""

    pairs: int  # sampled; as many were shuffled
    mismatched: float  # the estimated share of mismatched pairs in the pool
    # A histogram of the log odds of being observed, not shuffled: the bins' edges, and the pairs of both kinds in each
    edges: list[float]
    observed: list[int]
    shuffled: list[int]
    # A reliability diagram: in bins of the predicted probability of being observed its mean, the share of observed
    # pairs, and how many pairs of both kinds there are
    predicted: list[float]
    share_observed: list[float]
    sizes: list[int]
    # The calibration: P(right) at some log odds, ascending
    log_odds: list[float]
    probabilities: list[float]
    # The classifier: the weight of each standardised term, and the constant
    weights: dict[str, float]
    constant: float
    # The probability that an observed pair has higher log odds than a shuffled one, equal ones counted by half
    auc: float | None = None


@dataclass(frozen=True, slots=True)
class ScoresResult:
    """How many rows have a score, the scorer's name, and, of P(right), what it was learned from.

    For a person: `made_of` are the scale and the scores of a combination, and `purpose` is what a step reads ranks for
    that are no score of the run ("fit").
    """

    rows: int
    score: str
    right: RightFigures | None = None
    warnings: tuple[str, ...] = ()
    made_of: str = ""
    purpose: str = ""

    @property
    def summary(self) -> str:
        """One line for a person."""
        by = f"{self.score}{f' ({self.made_of})' * bool(self.made_of)}"
        found = f"{self.rows:,} samples scored by {f'{self.made_of}, for {self.purpose}' if self.purpose else by}"
        return found if self.right is None else f"{found}; {100 * self.right.mismatched:.1f} % look mismatched"


def read_scores(store: Store, identity: str) -> Scores:
    """Return the score of each row of a shard, float32 or float64 (n,)."""
    scores: Scores = store.read_arrays(SCORES_NAME.format(identity))["score"]
    return scores
