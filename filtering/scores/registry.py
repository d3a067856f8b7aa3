"""The scorers by name. A scorer takes a shard's rows (`tables.ROWS`) and returns one score a row."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filtering.config import ScoreTable
from filtering.errors import InputError
from filtering.explain import nearest
from filtering.scores.table_column import column_scores

Scorer = Callable[[pa.Table], npt.NDArray[np.float32]]

SCORERS: dict[str, Scorer] = {
    "clip_score": lambda rows: rows["clip_score"].to_numpy(),
    # All ones: D2's self-supervised setting, in which only the graph decides.
    "uniform": lambda rows: np.ones(len(rows), dtype=np.float32),
}


def scorer(score: str | ScoreTable) -> Scorer:
    """Return the scorer that a configuration names.

    Raises
    ------
    InputError
        If there is none of that name; the message gives the nearest.
    """
    if isinstance(score, ScoreTable):
        return lambda rows: column_scores(rows["uid"], score)
    if score not in SCORERS:
        raise InputError(f"selection.score: unknown scorer {score}{nearest(score, SCORERS)}")
    return SCORERS[score]
