"""Which filter a row fails first, filter by filter over the rows that are still there."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filtering.config.filters import Filter
from filtering.filters.language import language_passes
from filtering.filters.rules import caption_passes, image_passes
from filtering.filters.words import words_pass

Failed = npt.NDArray[np.int16]
PASSES = -1
COLUMNS = ("caption", "width", "height", "clip_score")


@dataclass(frozen=True, slots=True)
class Rule:
    """A filter of which everything is known that a row is judged by.

    Attributes
    ----------
    step : the filter as configured.
    threshold : the least CLIP score that passes (filter clip_score).
    list_url : where the list lies (filter words).
    """

    step: Filter
    threshold: float = -1.0
    list_url: str = ""

    def passes(self, rows: pa.Table) -> npt.NDArray[np.bool_]:
        """Return which rows of `COLUMNS` pass; bool (n,)."""
        step = self.step
        if step.caption is not None:
            return caption_passes(rows["caption"], step.caption)
        if step.image is not None:
            return image_passes(rows["width"], rows["height"], step.image)
        if step.language is not None:
            return language_passes(rows["caption"], step.language)
        if step.words is not None:
            return words_pass(rows["caption"], self.list_url)
        return np.asarray(rows["clip_score"].to_numpy() >= np.float32(self.threshold), dtype=bool)


def first_failed(rows: pa.Table, rules: Sequence[Rule], failed: Failed | None = None, start: int = 0) -> Failed:
    """Return the place of the first rule that each row fails, int16 (n,), -1 where it passes all.

    Parameters
    ----------
    rows : pa.Table
        The columns `COLUMNS` of n rows.
    rules : sequence of Rule
        In the order in which they judge.
    failed : int16 (n,), optional
        What the rules before the place `start` said, as returned here; nothing is known unless given.
    start : int
        The place of the first rule that is applied.
    """
    found = np.full(len(rows), PASSES, dtype=np.int16) if failed is None else failed.copy()
    for number in range(start, len(rules)):
        there = found == PASSES
        if there.any():
            left = rows if there.all() else rows.filter(pa.array(there))
            found[np.flatnonzero(there)[~rules[number].passes(left)]] = number
    return found
