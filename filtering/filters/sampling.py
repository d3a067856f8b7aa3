"""The share of a pool that passes the filters, by some of its samples: for plans, which read no whole pool."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filtering.config.filters import ClipScoreFilter, Filter
from filtering.core.csr import Int64Array
from filtering.core.fields import score_column
from filtering.filters.cuts import LEAST_SCORE, place_of
from filtering.filters.exclusion import exclusion_identity, stored_exclusion
from filtering.filters.heads import head_identity, stored_head
from filtering.filters.judging import PASSES, Rule, first_failed
from filtering.filters.language import detector_identity
from filtering.filters.words import list_identity, stored_list
from filtering.storage.store import Store


@dataclass(frozen=True, slots=True)
class SampledRows:
    """Some samples of a pool: their rows, with the columns that filters read, and their image vectors.

    Without vectors, which are float16 (n, d), scores are null, and filters that read either let all pass. So do filters
    by columns that the rows lack, and hash_duplicates: some samples do not tell how often the pool repeats them.
    """

    rows: pa.Table
    images: npt.NDArray[np.float16] | None

    def with_columns(self, beside: pa.Table) -> "SampledRows":
        """Return the samples with more columns of each."""
        rows = self.rows
        for field, values in zip(beside.schema, beside.columns, strict=True):
            rows = rows.append_column(field, values)
        return replace(self, rows=rows)

    def passing(self, filters: Sequence[Filter]) -> float:
        """Return the share of the samples that pass some filters; 1 where there are no samples."""
        if not len(self.rows):
            return 1.0
        with tempfile.TemporaryDirectory(prefix="filtering-") as folder:
            rules = list[Rule]()
            for number, step in enumerate(filters):
                if self._can_judge(step):
                    rules.append(self._rule(step, number, rules, Store(folder)))
            return float(np.mean(self._failed(rules) == PASSES))

    def _can_judge(self, step: Filter) -> bool:
        if step.hash_duplicates is not None or not set(Rule(step).columns()) <= set(self.rows.column_names):
            return False
        return self.images is not None or not reads_vectors(step)

    def _rule(self, step: Filter, number: int, before: Sequence[Rule], store: Store) -> Rule:
        cut = step.clip_score
        if step.words is not None:
            return Rule(step, words=stored_list(step.words, number, list_identity(step.words), store))
        if step.exclude is not None:
            return Rule(step, exclusion=stored_exclusion(step.exclude, number, exclusion_identity(step.exclude), store))
        if step.head is not None:
            return Rule(step, head=stored_head(step.head, number, head_identity(step.head), store))
        if step.language is not None:
            return Rule(step, detector=detector_identity())
        if cut is None:
            return Rule(step)
        return Rule(step, cut.threshold if cut.threshold is not None else self._threshold(before, cut))

    def _threshold(self, before: Sequence[Rule], cut: ClipScoreFilter) -> float:
        scores = np.sort(self.rows[score_column(cut.of)].to_numpy()[self._failed(before) == PASSES])[::-1]
        return float(scores[place_of(len(scores), cut.keep or 1.0)]) if len(scores) else LEAST_SCORE

    def _failed(self, rules: Sequence[Rule]) -> npt.NDArray[np.int16]:
        return first_failed(self.rows, rules, vectors=partial(_blocks, self.images))


def reads_vectors(step: Filter) -> bool:
    """Return whether a filter reads the vectors of samples, or what is computed from them."""
    scored = step.clip_score is not None or step.head is not None
    return scored or (step.exclude is not None and step.exclude.what == "vectors")


def _blocks(
    images: npt.NDArray[np.float16] | None, rows: Int64Array
) -> Iterator[tuple[slice, npt.NDArray[np.float16]]]:
    if images is not None and len(rows):
        yield slice(0, len(rows)), images[rows]
