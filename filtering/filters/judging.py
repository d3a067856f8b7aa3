"""Which filter a row fails first, filter by filter over the rows that are still there."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filtering.config.filters import Filter
from filtering.filters.language import language_passes
from filtering.filters.rules import caption_passes, image_passes
from filtering.filters.words import WordList, words_pass

Failed = npt.NDArray[np.int16]
PASSES = -1
COLUMNS = ("caption", "width", "height", "clip_score")


@dataclass(frozen=True, slots=True)
class Rule:
    """A filter with its least CLIP score that passes (filter clip_score), or its list (filter words)."""

    step: Filter
    threshold: float = -1.0
    words: WordList | None = None

    def passes(self, rows: pa.Table) -> npt.NDArray[np.bool_]:
        """Return which rows of `COLUMNS` pass; bool (n,)."""
        step = self.step
        if step.caption is not None:
            return caption_passes(rows["caption"], step.caption)
        if step.image is not None:
            return image_passes(rows["width"], rows["height"], step.image)
        if step.language is not None:
            return language_passes(rows["caption"], step.language)
        if self.words is not None:
            return words_pass(rows["caption"], self.words)
        return np.asarray(rows["clip_score"].to_numpy() >= np.float32(self.threshold), dtype=bool)


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


def first_failed(rows: pa.Table, rules: Sequence[Rule], failed: Failed | None = None, start: int = 0) -> Failed:
    """Return the place of the first rule that each row fails, int16 (n,), -1 where it passes all.

    `rows` has the columns `COLUMNS`; `failed`, int16 (n,), is the result for the rules before `start`, if it is known.
    """
    found = np.full(len(rows), PASSES, dtype=np.int16) if failed is None else failed.copy()
    for number in range(start, len(rules)):
        there = found == PASSES
        if there.any():
            left = rows if there.all() else rows.filter(pa.array(there))
            found[np.flatnonzero(there)[~rules[number].passes(left)]] = number
    return found
