"""The rules of filters: columns in, a mask out."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filtering.config.filters import CaptionFilter, ImageFilter


def caption_passes(captions: pa.ChunkedArray, rule: CaptionFilter) -> npt.NDArray[np.bool_]:
    """Return which captions are within the bounds; bool (n,). Words are what white space separates."""
    text = captions.combine_chunks() if isinstance(captions, pa.ChunkedArray) else captions
    trimmed = pc.utf8_trim_whitespace(text)
    words = pc.if_else(pc.equal(trimmed, ""), 0, pc.list_value_length(pc.utf8_split_whitespace(trimmed)))
    characters = pc.utf8_length(text)
    most = rule.max_characters if rule.max_characters is not None else np.iinfo(np.int32).max
    passes = (words.to_numpy(zero_copy_only=False) >= rule.min_words) & _between(characters, rule.min_characters, most)
    return np.asarray(passes, dtype=bool)


def image_passes(widths: pa.ChunkedArray, heights: pa.ChunkedArray, rule: ImageFilter) -> npt.NDArray[np.bool_]:
    """Return which images are large and wide enough; bool (n,).

    An image passes if its shorter side has `min_side` pixels and longer / shorter side is at most `max_aspect`: 200 and
    3 are DataComp's basic filter (arXiv 2304.14108, appendix). An image whose width or height is null passes, so that a
    pool without sizes is not emptied. DataComp drops it; its pool has none.
    """
    sides = np.stack([_numbers(widths), _numbers(heights)])
    shorter, longer = sides.min(axis=0), sides.max(axis=0)
    passes = shorter >= rule.min_side
    if rule.max_aspect is not None:
        # An image without pixels has no aspect, or an infinite one.
        with np.errstate(divide="ignore", invalid="ignore"):
            passes &= longer / shorter <= rule.max_aspect
    return np.asarray(passes | np.isnan(shorter), dtype=bool)


def place_of(count: int, fraction: float) -> int:
    """Return the place of DataComp's threshold among `count` descending scores, at least one.

    It is the value at int(n * fraction), from 0, or the last; every score at or above it is kept, ties included
    (arXiv 2304.14108, baselines).
    """
    return min(int(count * fraction), count - 1)


def _between(values: pa.Array, least: int, most: int) -> npt.NDArray[np.bool_]:
    numbers = values.to_numpy(zero_copy_only=False)
    return np.asarray((numbers >= least) & (numbers <= most), dtype=bool)


def _numbers(values: pa.ChunkedArray) -> npt.NDArray[Any]:
    """Return whole numbers as float64 (n,), NaN for null."""
    return np.asarray(values.cast(pa.float64()).to_numpy(), dtype=np.float64)
