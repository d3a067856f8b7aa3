"""From a bounded sample of rows to what the page shows: histograms, concept rows, contact sheets."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filtering.report.data import ConceptRow, Histogram, Sheet, Thumbnail
from filtering.report.words import distinctive_words

SAMPLE = pa.schema(
    [
        ("uid", pa.string()),
        ("key", pa.string()),
        ("caption", pa.string()),
        ("clip_score", pa.float32()),
        ("concept", pa.int32()),
        ("reason", pa.string()),
        ("kept", pa.bool_()),
        ("shard", pa.int32()),
    ]
)
SHEETS = 60
PER_SHEET = 7
LOWEST = 24
BINS = 40

Pictures = Mapping[tuple[int, str], bytes]
Row = dict[str, Any]


def histogram(
    name: str, edges: npt.NDArray[np.float64], kept: npt.NDArray[np.int64], dropped: npt.NDArray[np.int64]
) -> tuple[Histogram, ...]:
    """Return one histogram of at most 40 bins over the range that is in use; none if there is nothing."""
    used = np.flatnonzero(np.atleast_1d(kept + dropped))
    if len(used) == 0:
        return ()
    first, last = int(used[0]), int(used[-1]) + 1
    step = -(-(last - first) // BINS)
    starts = np.arange(first, last, step)
    bounds = [float(edges[start]) for start in starts] + [float(edges[min(starts[-1] + step, len(edges) - 1)])]
    summed = [tuple(int(counts[s : s + step].sum()) for s in starts) for counts in (kept, dropped)]
    return (Histogram(name, tuple(bounds), *summed),)


def few_by_reason(rows: Iterable[Row], most: int) -> list[Row]:
    """Return the first rows of each reason, at most `most`, in the order of the reasons' first appearance."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        examples = found.setdefault(row["reason"], [])
        if len(examples) < most:
            examples.append(row)
    return [row for examples in found.values() for row in examples]


@dataclass(frozen=True, slots=True)
class Shown:
    """The rows of the sample that the page needs, sorted out once.

    Attributes
    ----------
    by_concept : rows of each concept, in the order of their uids.
    sheets : kept and dropped rows of the concepts with most rows.
    lowest : dropped rows of lowest CLIP score.
    """

    by_concept: dict[int, list[Row]]
    sheets: dict[int, tuple[list[Row], list[Row]]]
    lowest: list[Row]

    def keys(self, shards: int) -> dict[int, set[str]]:
        """Return the keys whose pictures are shown, by shard, from at most `shards` shards."""
        rows = [row for sheet in self.sheets.values() for part in sheet for row in part] + self.lowest
        keys: dict[int, set[str]] = {}
        for row in rows:
            if row["shard"] in keys or len(keys) < shards:
                keys.setdefault(row["shard"], set()).add(row["key"])
        return keys


def shown_rows(sample: pa.Table) -> Shown:
    """Sort out a sample of the pool's rows (`SAMPLE`)."""
    rows = sorted(sample.to_pylist(), key=lambda row: row["uid"])
    grouped: dict[int, list[Row]] = {}
    for row in rows:
        if row["concept"] >= 0:
            grouped.setdefault(row["concept"], []).append(row)
    dropped = [row for row in rows if not row["kept"]]
    return Shown(grouped, _sheets(grouped), sorted(dropped, key=lambda row: row["clip_score"])[:LOWEST])


def concept_rows(
    concepts: pa.Table, budgets: npt.NDArray[np.int64], shown: Shown, pictures: Pictures
) -> tuple[ConceptRow, ...]:
    """Return one row for each concept; the largest have contact sheets."""
    captions = {concept: [row["caption"] for row in rows] for concept, rows in shown.by_concept.items()}
    words = distinctive_words(captions)
    rows = []
    for concept, budget in zip(concepts.to_pylist(), budgets.tolist(), strict=True):
        number = concept["concept"]
        scores = [row["clip_score"] for row in shown.by_concept.get(number, ()) if row["kept"]]
        rows.append(
            ConceptRow(
                concept=number,
                words=words.get(number, ()),
                size=concept["size"],
                budget=budget,
                kept=budget,
                d_intra=concept["d_intra"],
                d_inter=concept["d_inter"],
                mean_score=float(np.mean(scores)) if scores else float("nan"),
                sheet=_sheet(shown.sheets[number], pictures) if number in shown.sheets else None,
            )
        )
    return tuple(rows)


def thumbnails(rows: Iterable[Row], pictures: Pictures) -> tuple[Thumbnail, ...]:
    """Return rows as the page shows them, with their pictures where there are any."""
    return tuple(
        Thumbnail(
            key=row["key"],
            caption=row["caption"],
            score=row["clip_score"],
            reason="" if row["kept"] else row["reason"] or "",
            jpeg=pictures.get((row["shard"], row["key"])),
        )
        for row in rows
    )


def _sheets(grouped: Mapping[int, list[Row]]) -> dict[int, tuple[list[Row], list[Row]]]:
    largest = sorted(grouped, key=lambda concept: (-len(grouped[concept]), concept))[:SHEETS]
    return {
        concept: (
            [row for row in grouped[concept] if row["kept"]][:PER_SHEET],
            [row for row in grouped[concept] if not row["kept"]][:PER_SHEET],
        )
        for concept in sorted(largest)
    }


def _sheet(rows: tuple[Sequence[Row], Sequence[Row]], pictures: Pictures) -> Sheet:
    return Sheet(thumbnails(rows[0], pictures), thumbnails(rows[1], pictures))
