"""Scores that a shard's table of rows has, or the files that a score reads: `ScoreRows` of the registry."""

import numpy as np
import pyarrow as pa

from filtering.config.scores import ClipScore, ColumnScore, ScoreTable
from filtering.config.types import Section, Signal
from filtering.core.fields import score_column
from filtering.scores.artifacts import Scores
from filtering.scores.contexts import Files
from filtering.scores.field_column import field_scores
from filtering.scores.scorer import Float32Array, Kind, Scorer, Values
from filtering.scores.table_column import column_scores


def stored_scores(rows: pa.Table, settings: ClipScore | None, files: Files) -> Float32Array:
    """Return the CLIP score of each row, by the model or by a further encoder, float32 (n,)."""
    scores: Float32Array = rows[score_column(settings.of if settings else None)].to_numpy()
    return scores


def ones(rows: pa.Table, settings: Section | None, files: Files) -> Float32Array:
    """Return 1 for each row, float32 (n,)."""
    return np.ones(len(rows), dtype=np.float32)


def table_scores(rows: pa.Table, settings: ScoreTable, files: Files) -> Scores:
    """Return the value of a table of the user's for each row, float64 (n,)."""
    return column_scores(rows["uid"], settings, files[settings.table])


def column_of_pool(rows: pa.Table, settings: ColumnScore, files: Files) -> Scores:
    """Return the number that the pool has for each row, float64 (n,)."""
    return field_scores(rows, settings)


def signal_scorer(name: Signal, about: str, source: str = "CleanVision", turned: bool = False) -> Scorer:
    """Return the score that is a signal of pictures, in the column of its name; 1 less it where it is turned round."""

    def read(rows: pa.Table, settings: Section | None, files: Files) -> Float32Array:
        scores: Float32Array = rows[name].to_numpy()
        return np.float32(1) - scores if turned else scores

    return Scorer(Kind.ROWS, about, "pictures", source, of_rows=read, values=Values.LEVEL, signal=name)


COLUMN_OF_POOL = Scorer(
    Kind.ROWS,
    "a number that the pool has for each sample, such as pwatermark",
    "field",
    "",
    ColumnScore,
    of_rows=column_of_pool,
    values=Values.OWN,
)

SIGNAL_SCORERS = {
    "blur": signal_scorer("blur", "sharpness of the picture: edges, and how unevenly greys are spread"),
    "luminance": signal_scorer("luminance", "mean brightness of the picture"),
    "entropy": signal_scorer("entropy", "entropy of the picture's values, in tens of bits"),
    "text_share": signal_scorer("text_share", "share of the picture that is no text", "PP-OCR", turned=True),
}
CLIP_SCORE = Scorer(
    Kind.ROWS,
    "cosine of image and caption",
    "pairs",
    "arXiv 2304.14108",
    ClipScore,
    of_rows=stored_scores,
    values=Values.COSINE,
)
