"""The samples that the report shows: which of them, and each as the report shows it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import numpy.typing as npt

from filtering.concepts.partition import shard_and_row
from filtering.report.data import Cover, Sheet, Thumbnail
from filtering.report.examining import Examined, Group, SheetRows
from filtering.report.fetching import ShownRow
from filtering.report.survey import (
    LOWEST,
    PER_FAULT,
    PER_OUTCOME,
    PER_REASON,
    LowestRows,
    QuarantinedRow,
    Survey,
    few_by_reason,
)

# Concepts with a row in the table, and those of them with contact sheets: the largest, and some of every size.
ROWS, SHEETS, LARGEST = 10_000, 48, 32
# Random examples of all outcomes together.
EXAMPLES = 1_200


@dataclass(frozen=True, slots=True)
class Samples:
    """The samples that the report shows."""

    shown: Mapping[int, ShownRow]  # by global row id
    # Of samples that reached selection, by global row id: score, rank, covering neighbour, cosine to it
    judged: Mapping[int, Sequence[float]]
    score_name: str = ""  # the score of the last step; empty if no step used one

    def thumbnail(self, row: int) -> Thumbnail:
        """Return a sample as the report shows it."""
        found = self.shown[row]
        known = (found["scores"].get(self.score_name, float("nan")), found["rank"], -1, 0.0)
        score, rank, cover, cosine = self.judged.get(row, known)
        return Thumbnail(
            uid=found["uid"],
            key=found["key"],
            caption=found["caption"],
            shard=found["shard"],
            clip_score=found["clip_score"],
            score=score,
            reason=found["reason"] or "",
            rank=int(rank) if rank >= 0 else None,
            cover=self._cover(int(cover), cosine) if cover >= 0 else None,
            jpeg=found["jpeg"],
            concept=found["concept"],
            scores=found["scores"],
        )

    def thumbnails(self, rows: Sequence[int]) -> tuple[Thumbnail, ...]:
        """Return samples as the report shows them."""
        return tuple(map(self.thumbnail, rows))

    def sheet(self, rows: SheetRows) -> Sheet:
        """Return a concept's contact sheets."""
        return Sheet(
            kept=self.thumbnails(rows["kept"]),
            dropped=self.thumbnails(rows["dropped"]),
            hardest=self.thumbnails(rows["hardest"]),
            easiest=self.thumbnails(rows["easiest"]),
        )

    def unlisted_covers(self, listed: Collection[int]) -> list[int]:
        """Return the kept neighbours that cover samples, without those that are listed, ascending."""
        covers = {int(values[2]) for values in self.judged.values() if values[2] >= 0}
        return sorted(covers - set(listed))

    def _cover(self, row: int, cosine: float) -> Cover:
        found = self.shown[row]
        return Cover(found["uid"], found["key"], found["caption"], cosine, found["jpeg"])


def listed_concepts(sizes: npt.NDArray[np.int64]) -> list[int]:
    """Return the concepts that have a row, ascending: all, or the largest."""
    return sorted(_largest(sizes).tolist())


def sheet_concepts(sizes: npt.NDArray[np.int64]) -> list[int]:
    """Return the concepts that have contact sheets, ascending: the largest, and some of every smaller size."""
    order = _largest(sizes)
    order = order[sizes[order] > 0]
    rest = order[LARGEST:]
    spread = rest[np.unique(np.linspace(0, len(rest) - 1, SHEETS - LARGEST).astype(int))] if len(rest) else rest
    return sorted([*order[:LARGEST].tolist(), *spread.tolist()])


def _largest(sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.lexsort((np.arange(len(sizes)), -sizes))[:ROWS]


def lowest_rows(found: Sequence[LowestRows]) -> list[int]:
    """Return the dropped rows with the lowest CLIP scores of all shards."""
    return _least([pair for one in found for pair in one["lowest"]], LOWEST)


def filtered_rows(found: Sequence[LowestRows], reasons: Sequence[str]) -> dict[str, list[int]]:
    """Return by reason the rows with the lowest CLIP scores that each filter dropped."""
    pairs = {reason: [pair for one in found for pair in one["filtered"].get(reason, [])] for reason in reasons}
    return {reason: _least(every, PER_REASON) for reason, every in pairs.items() if every}


def _least(pairs: Sequence[Sequence[float]], most: int) -> list[int]:
    return [int(row) for _, row in sorted(pairs, key=tuple)[:most]]


def random_rows(surveys: Sequence[Survey], reasons: Sequence[str]) -> list[int]:
    """Return random rows of all shards: a kept one and one of each reason in turn, while there are some."""
    kinds = ["", *reasons]
    pairs = [[pair for one in surveys for pair in one["outcomes"].get(kind, [])] for kind in kinds]
    turns = zip_longest(*(_least(every, PER_OUTCOME) for every in pairs))
    return [row for turn in turns for row in turn if row is not None][:EXAMPLES]


def quarantined_rows(surveys: Sequence[Survey], pictured: Collection[int]) -> list[tuple[int, QuarantinedRow]]:
    """Return some quarantined rows of each reason with the indices of their shards, of `pictured` shards first."""
    order = sorted(range(len(surveys)), key=lambda at: at not in pictured)
    rows = [(at, row) for at in order for row in surveys[at]["examples"]]
    return sorted(few_by_reason(rows, _reason_of, PER_FAULT), key=_reason_of)


def _reason_of(quarantined: tuple[int, QuarantinedRow]) -> str:
    return quarantined[1]["reason"]


def judged_rows(examined: Sequence[Examined]) -> dict[int, list[float]]:
    """Return what the partitions know about the rows that they show, as `Samples.judged`."""
    return {int(row): values for one in examined for row, values in one["rows"].items()}


def shown_rows(
    examined: Sequence[Examined],
    groups: Sequence[Group],
    filtered: Mapping[str, Sequence[int]],
    others: Iterable[int],
) -> dict[int, list[int]]:
    """Return the rows of the samples to show, those of covering neighbours included, by the index of their shard."""
    sheets = [
        row
        for one in examined
        for sheet in one["sheets"].values()
        for rows in (sheet["kept"], sheet["dropped"], sheet["hardest"], sheet["easiest"])
        for row in rows
    ]
    covers = {row: int(values[2]) for row, values in judged_rows(examined).items()}
    rows = {*sheets, *others, *(row for group in groups for row in group["rows"])}
    rows |= {row for chosen in filtered.values() for row in chosen}
    rows |= {covers[row] for row in sheets if covers[row] >= 0}
    found: dict[int, list[int]] = {}
    for shard, row in zip(*(part.tolist() for part in shard_and_row(np.array(sorted(rows), np.int64))), strict=True):
        found.setdefault(shard, []).append(row)
    return found
