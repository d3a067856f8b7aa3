"""Which filter a row fails first, filter by filter over the rows that are still there."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filtering.config.filters import CaptionFilter, Filter, ImageFilter
from filtering.core.csr import Int64Array
from filtering.core.fields import score_column
from filtering.filters.artifacts import HashRepeats
from filtering.filters.column_filters import column_passes, columns_read, faces_pass
from filtering.filters.exclusion import COLUMNS as KEYS
from filtering.filters.exclusion import Blocks, Exclusion, exclusion_passes
from filtering.filters.heads import StoredHead, head_passes
from filtering.filters.language import check_same_detector, language_passes
from filtering.filters.signal_filters import signal_columns, signal_passes
from filtering.filters.words import WordList, words_pass

Failed = npt.NDArray[np.int16]
PASSES = -1
COLUMNS = ("caption", "width", "height", "clip_score")
# Of hash_duplicates, by its place: whether a row repeats an earlier one.
REPEATED = "repeated {}"


def _no_vectors(*rows: Int64Array) -> Iterator[tuple[slice, npt.NDArray[np.float16]]]:
    """Yield the vectors of no row: of rows that are judged without a shard."""
    yield from ()


# Yields the image vectors of some rows in blocks, as `PassingShard.vector_blocks`.
VectorBlocks = Callable[[Int64Array], Iterator[tuple[slice, npt.NDArray[np.float16]]]]


@dataclass(frozen=True, slots=True)
class Rule:
    """A filter with its least CLIP score that passes (filter clip_score), or its list (filters words and exclude).

    `detector` is the `detector_identity` that the filter language answers by; `repeats` has what hash_duplicates leaves
    out, `head` the weights of the filter head.
    """

    step: Filter
    threshold: float = -1.0
    words: WordList | None = None
    detector: str = ""
    exclusion: Exclusion | None = None
    repeats: HashRepeats | None = None
    head: StoredHead | None = None

    def columns(self) -> list[str]:
        """Return the columns of rows that the rule reads besides `COLUMNS`."""
        name = None if self.exclusion is None else KEYS.get(self.exclusion.what)
        return columns_read(self.step) if name is None else [name]

    def unnamed(self) -> list[str]:
        """Return the column that the rule reads and that the pool may lack, if there is one."""
        return [] if signal_columns(self.step) or self.step.clip_score else self.columns()

    def marked(self, rows: pa.Table, identity: str, at: int) -> pa.Table:
        """Return the rows of the shard at a place in the list, with what the rule knows of it as one more column."""
        if self.repeats is None:
            return rows
        repeated = np.zeros(len(rows), dtype=bool)
        repeated[self.repeats.of_shard(identity, at)] = True
        return rows.append_column(REPEATED.format(self.repeats.number), pa.array(repeated))

    def passes(self, rows: pa.Table, blocks: Blocks = _no_vectors) -> npt.NDArray[np.bool_]:
        """Return which rows of `COLUMNS` pass; bool (n,). `blocks` yields their image vectors."""
        step = self.step
        if self.repeats is not None:
            return ~np.asarray(rows[REPEATED.format(self.repeats.number)], dtype=bool)
        if self.exclusion is not None:
            return exclusion_passes(rows, self.exclusion, blocks)
        if step.caption is not None:
            return caption_passes(rows["caption"], step.caption)
        if step.image is not None:
            return image_passes(rows["width"], rows["height"], step.image)
        if step.language is not None:
            check_same_detector(self.detector)
            return language_passes(rows["caption"], step.language)
        if self.words is not None:
            return words_pass(rows["caption"], self.words)
        if step.head is not None and self.head is not None:
            return head_passes(len(rows), step.head, self.head, blocks)
        if step.column is not None:
            return column_passes(rows, step.column)
        if step.faces is not None:
            return faces_pass(rows, step.faces)
        if signal_columns(step):
            return signal_passes(rows, step)
        scores = rows[score_column(step.clip_score.of if step.clip_score else None)]
        return np.asarray(scores.to_numpy() >= np.float32(self.threshold), dtype=bool)


@dataclass(frozen=True, slots=True)
class Judging:
    """The rules so far, in order; the stage's store knows which rows pass the first `known` of them."""

    rules: tuple[Rule, ...] = ()
    known: int = 0

    def followed_by(self, rule: Rule) -> "Judging":
        """Return the rules with one more at the end."""
        return replace(self, rules=(*self.rules, rule))

    def known_to(self, known: int) -> "Judging":
        """Return the same rules, where the store knows which rows pass the first `known` of them."""
        return replace(self, known=known)


def columns_of(rules: Sequence[Rule]) -> list[str]:
    """Return the columns of rows that some rules read."""
    return list(dict.fromkeys([*COLUMNS, *(name for rule in rules for name in rule.columns())]))


def first_failed(
    rows: pa.Table,
    rules: Sequence[Rule],
    failed: Failed | None = None,
    start: int = 0,
    vectors: VectorBlocks = _no_vectors,
) -> Failed:
    """Return the place of the first rule that each row fails, int16 (n,), -1 where it passes all.

    `rows` has the columns `columns_of(rules)`, and `vectors` gives their image vectors; `failed`, int16 (n,), is the
    result for the rules before `start`, if it is known.
    """
    found = np.full(len(rows), PASSES, dtype=np.int16) if failed is None else failed.copy()
    for number in range(start, len(rules)):
        there = found == PASSES
        if there.any():
            left, places = rows if there.all() else rows.filter(pa.array(there)), np.flatnonzero(there)
            found[places[~rules[number].passes(left, partial(vectors, places))]] = number
    return found


def caption_passes(captions: pa.ChunkedArray, rule: CaptionFilter) -> npt.NDArray[np.bool_]:
    """Return which captions are within the bounds; bool (n,). Words are what white space separates."""
    text = captions.combine_chunks() if isinstance(captions, pa.ChunkedArray) else captions
    trimmed = pc.utf8_trim_whitespace(text)
    words = pc.if_else(pc.equal(trimmed, ""), 0, pc.list_value_length(pc.utf8_split_whitespace(trimmed)))
    characters = pc.utf8_length(text).to_numpy(zero_copy_only=False)
    most = rule.max_characters if rule.max_characters is not None else np.iinfo(np.int32).max
    enough = (words.to_numpy(zero_copy_only=False) >= rule.min_words) & (characters >= rule.min_characters)
    return np.asarray(enough & (characters <= most), dtype=bool)


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


def _numbers(values: pa.ChunkedArray) -> npt.NDArray[Any]:
    """Return whole numbers as float64 (n,), NaN for null."""
    return np.asarray(values.cast(pa.float64()).to_numpy(), dtype=np.float64)
