"""From what the workers found to what the page shows: concept rows, contact sheets, groups, histograms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filtering.report.examining import GROUPS, ConceptLine
from filtering.report.parts import (
    ConceptRow,
    Cover,
    DuplicateGroup,
    QuarantineExample,
    ReasonExamples,
    Sheet,
    Thumbnail,
)
from filtering.report.survey import LOWEST, PER_FAULT, PER_REASON, few_by_reason
from filtering.report.words import distinctive_words

# So many concepts have a row, and so many of them a sheet: the largest, and some of every size.
ROWS, SHEETS, LARGEST = 10_000, 48, 32

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Samples:
    """The samples that the page shows.

    Attributes
    ----------
    shown : what is known of each, by global row id (`fetching.SHOWN`).
    judged : of those that reached selection: score, rank, covering neighbour, cosine to it.
    """

    shown: Mapping[int, Record]
    judged: Mapping[int, Sequence[float]]

    def thumbnail(self, row: int) -> Thumbnail:
        """Return a sample as the page shows it."""
        found = self.shown[row]
        score, rank, cover, alike = self.judged.get(row, (float("nan"), -1, -1, 0.0))
        return Thumbnail(
            uid=found["uid"],
            key=found["key"],
            caption=found["caption"],
            shard=found["shard"],
            clip_score=found["clip_score"],
            score=score,
            reason=found["reason"] or "",
            rank=int(rank) if rank >= 0 else None,
            cover=self._cover(int(cover), alike) if cover >= 0 else None,
            jpeg=found["jpeg"],
        )

    def thumbnails(self, rows: Sequence[int]) -> tuple[Thumbnail, ...]:
        """Return samples as the page shows them."""
        return tuple(map(self.thumbnail, rows))

    def sheet(self, rows: Mapping[str, Sequence[int]]) -> Sheet:
        """Return a concept's contact sheets."""
        return Sheet(**{name: self.thumbnails(rows[name]) for name in ("kept", "dropped", "hardest", "easiest")})

    def _cover(self, row: int, cosine: float) -> Cover:
        found = self.shown[row]
        return Cover(found["uid"], found["key"], found["caption"], cosine, found["jpeg"])


def listed_concepts(sizes: npt.NDArray[np.int64]) -> list[int]:
    """Return the concepts that have a row, ascending: all, or the largest."""
    return sorted(_largest(sizes).tolist())


def sheet_concepts(sizes: npt.NDArray[np.int64]) -> list[int]:
    """Return the concepts whose examples are shown, ascending: the largest, and some of every size below."""
    order = _largest(sizes)
    order = order[sizes[order] > 0]
    rest = order[LARGEST:]
    spread = rest[np.unique(np.linspace(0, len(rest) - 1, SHEETS - LARGEST).astype(int))] if len(rest) else rest
    return sorted([*order[:LARGEST].tolist(), *spread.tolist()])


def _largest(sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.lexsort((np.arange(len(sizes)), -sizes))[:ROWS]


def concept_names(captions: pa.Table) -> dict[int, tuple[str, ...]]:
    """Return the distinctive words of each concept that has captions."""
    by_concept: dict[int, list[str]] = {}
    for concept, caption in zip(captions["concept"].to_pylist(), captions["caption"].to_pylist(), strict=True):
        by_concept.setdefault(concept, []).append(caption)
    return distinctive_words(by_concept)


def concept_rows(
    concepts: pa.Table,
    budgets: npt.NDArray[np.int64],
    lines: Mapping[int, ConceptLine],
    names: Mapping[int, tuple[str, ...]],
    places: Mapping[int, tuple[float, float]],
    sheets: Mapping[int, Sheet],
) -> tuple[ConceptRow, ...]:
    """Return a row for each concept that has a place on the map.

    Parameters
    ----------
    concepts : pa.Table
        A line for each of C concepts, as `tables.CONCEPTS` has them.
    budgets : int64 (C,)
        Samples that each concept may keep.
    lines : mapping
        For each concept how many are kept, their mean score, and how many have a near-duplicate.
    names : mapping
        For each concept its words.
    places : mapping
        For each concept of the map where it stands, x and y.
    sheets : mapping
        For each concept of which examples are shown its contact sheets.
    """
    found = concepts.take(pa.array(sorted(places))).to_pylist()
    rows = []
    for concept in found:
        number = concept["concept"]
        kept, difficulty, duplicates = lines.get(number, (0, float("nan"), 0))
        rows.append(
            ConceptRow(
                concept=number,
                words=names.get(number, ()),
                size=concept["size"],
                kept=kept,
                budget=int(budgets[number]),
                difficulty=difficulty,
                density=1 - concept["d_intra"],
                apart=concept["d_inter"],
                duplicates=duplicates,
                x=places[number][0],
                y=places[number][1],
                sheet=sheets.get(number),
            )
        )
    return tuple(rows)


def largest_groups(found: Sequence[Record]) -> list[Record]:
    """Return the largest groups of near-duplicates of the partitions' largest."""
    every = [group for one in found for group in one["groups"]]
    return sorted(every, key=lambda group: (-group["size"], group["concept"], group["rows"]))[:GROUPS]


def duplicate_groups(groups: Sequence[Record], samples: Samples) -> tuple[DuplicateGroup, ...]:
    """Return groups of near-duplicates as the page shows them."""
    return tuple(
        DuplicateGroup(group["concept"], group["size"], group["kept"], samples.thumbnails(group["rows"]))
        for group in groups
    )


def lowest_rows(found: Sequence[Record]) -> list[int]:
    """Return the dropped rows of lowest CLIP score of all shards'."""
    return _least([pair for one in found for pair in one["lowest"]], LOWEST)


def filtered_rows(found: Sequence[Record], reasons: Sequence[str]) -> dict[str, list[int]]:
    """Return rows that each filter left out, by reason, those of lowest CLIP score."""
    pairs = {reason: [pair for one in found for pair in one["filtered"].get(reason, [])] for reason in reasons}
    return {reason: _least(every, PER_REASON) for reason, every in pairs.items() if every}


def reason_examples(rows: Mapping[str, Sequence[int]], samples: Samples) -> tuple[ReasonExamples, ...]:
    """Return what the filters left out as the page shows it."""
    return tuple(ReasonExamples(reason, samples.thumbnails(chosen)) for reason, chosen in rows.items())


def quarantine_examples(found: Sequence[Record]) -> tuple[QuarantineExample, ...]:
    """Return some of what could not be used, by reason."""
    rows = few_by_reason([row for one in found for row in one["examples"]], PER_FAULT)
    return tuple(
        QuarantineExample(row["shard"], row["member"], row["reason"], row["detail"])
        for row in sorted(rows, key=lambda row: row["reason"])
    )


def _least(pairs: Sequence[Sequence[float]], most: int) -> list[int]:
    return [int(row) for _, row in sorted(pairs, key=tuple)[:most]]
