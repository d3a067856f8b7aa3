"""The samples that the report shows: which of them, and each as the report shows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filtering.concepts.partition import shard_and_row
from filtering.report.data import Cover, Sheet, Thumbnail
from filtering.report.examining import Examined, Group, SheetRows
from filtering.report.fetching import ShownRow
from filtering.report.survey import LOWEST, PER_REASON, LowestRows

# Concepts with a row in the table, and those of them with contact sheets: the largest, and some of every size.
ROWS, SHEETS, LARGEST = 10_000, 48, 32


@dataclass(frozen=True, slots=True)
class Samples:
    """The samples that the report shows."""

    shown: Mapping[int, ShownRow]  # by global row id
    # Of samples that reached selection, by global row id: score, rank, covering neighbour, cosine to it
    judged: Mapping[int, Sequence[float]]

    def thumbnail(self, row: int) -> Thumbnail:
        """Return a sample as the report shows it."""
        found = self.shown[row]
        score, rank, cover, cosine = self.judged.get(row, (float("nan"), -1, -1, 0.0))
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


def judged_rows(examined: Sequence[Examined]) -> dict[int, list[float]]:
    """Return what the partitions know about the rows that they show, as `Samples.judged`."""
    return {int(row): values for one in examined for row, values in one["rows"].items()}


def shown_rows(
    examined: Sequence[Examined],
    groups: Sequence[Group],
    filtered: Mapping[str, Sequence[int]],
    lowest: Sequence[int],
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
    rows = {*sheets, *lowest, *(row for group in groups for row in group["rows"])}
    rows |= {row for chosen in filtered.values() for row in chosen}
    rows |= {covers[row] for row in sheets if covers[row] >= 0}
    found: dict[int, list[int]] = {}
    for shard, row in zip(*(part.tolist() for part in shard_and_row(np.array(sorted(rows), np.int64))), strict=True):
        found.setdefault(shard, []).append(row)
    return found
