"""What each filter drops: columns in, a mask out."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filtering.config import CaptionFilter


def caption_passes(captions: pa.ChunkedArray, rule: CaptionFilter) -> npt.NDArray[np.bool_]:
    """Return which captions are within the bounds; bool (n,). Words are what white space separates."""
    text = captions.combine_chunks() if isinstance(captions, pa.ChunkedArray) else captions
    trimmed = pc.utf8_trim_whitespace(text)
    words = pc.if_else(pc.equal(trimmed, ""), 0, pc.list_value_length(pc.utf8_split_whitespace(trimmed)))
    characters = pc.utf8_length(text)
    most = rule.max_characters if rule.max_characters is not None else np.iinfo(np.int32).max
    passes = (words.to_numpy(zero_copy_only=False) >= rule.min_words) & _between(characters, rule.min_characters, most)
    return np.asarray(passes, dtype=bool)


def kept_fraction_threshold(scores: npt.NDArray[np.float32], fraction: float) -> float:
    """Return DataComp's threshold: the value at int(n * fraction) of the descending scores.

    Every score at or above it is kept, ties included (arXiv 2304.14108, baselines).
    """
    if len(scores) == 0:
        return -1.0
    place = int(len(scores) * fraction)
    if place >= len(scores):
        return float(scores.min())
    return float(np.partition(scores, len(scores) - 1 - place)[len(scores) - 1 - place])


def _between(values: pa.Array, least: int, most: int) -> npt.NDArray[np.bool_]:
    numbers = values.to_numpy(zero_copy_only=False)
    return np.asarray((numbers >= least) & (numbers <= most), dtype=bool)
