"""From a bounded sample of rows to what the page shows: histograms, concept rows, contact sheets."""

from collections.abc import Iterable, Mapping, Sequence
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


def sheet_keys(sample: pa.Table, shards: int) -> dict[int, set[str]]:
    """Return the keys whose pictures the page shows, by shard, from at most `shards` shards."""
    rows = [row for sheet in _sheets(sample).values() for part in sheet for row in part] + _lowest(sample)
    keys: dict[int, set[str]] = {}
    for row in rows:
        if row["shard"] in keys or len(keys) < shards:
            keys.setdefault(row["shard"], set()).add(row["key"])
    return keys


def concept_rows(
    concepts: pa.Table, budgets: npt.NDArray[np.int64], sample: pa.Table, pictures: Pictures
) -> tuple[ConceptRow, ...]:
    """Return one row for each concept; the largest have contact sheets."""
    grouped = _by_concept(sample)
    words = distinctive_words({concept: [row["caption"] for row in rows] for concept, rows in grouped.items()})
    sheets = _sheets(sample)
    rows = []
    for concept, budget in zip(concepts.to_pylist(), budgets.tolist(), strict=True):
        number = concept["concept"]
        scores = [row["clip_score"] for row in grouped.get(number, ()) if row["kept"]]
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
                sheet=_sheet(sheets[number], pictures) if number in sheets else None,
            )
        )
    return tuple(rows)


def lowest_scores(sample: pa.Table, pictures: Pictures) -> tuple[Thumbnail, ...]:
    """Return the dropped samples of lowest CLIP score: likely mismatches of image and caption."""
    return _thumbnails(_lowest(sample), pictures)


def _lowest(sample: pa.Table) -> list[dict[str, Any]]:
    dropped = [row for row in sample.to_pylist() if not row["kept"]]
    return sorted(dropped, key=lambda row: (row["clip_score"], row["uid"]))[:LOWEST]


def _by_concept(sample: pa.Table) -> dict[int, list[dict[str, Any]]]:
    grouped: dict[int, list[dict[str, Any]]] = {}
    for row in sorted(sample.to_pylist(), key=lambda row: row["uid"]):
        if row["concept"] >= 0:
            grouped.setdefault(row["concept"], []).append(row)
    return grouped


def _sheets(sample: pa.Table) -> dict[int, tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    """Return kept and dropped rows, in the order of their uids, of the concepts with most rows."""
    grouped = _by_concept(sample)
    largest = sorted(grouped, key=lambda concept: (-len(grouped[concept]), concept))[:SHEETS]
    return {
        concept: (
            [row for row in grouped[concept] if row["kept"]][:PER_SHEET],
            [row for row in grouped[concept] if not row["kept"]][:PER_SHEET],
        )
        for concept in sorted(largest)
    }


def _sheet(rows: tuple[Sequence[dict[str, Any]], Sequence[dict[str, Any]]], pictures: Pictures) -> Sheet:
    return Sheet(_thumbnails(rows[0], pictures), _thumbnails(rows[1], pictures))


def _thumbnails(rows: Iterable[dict[str, Any]], pictures: Pictures) -> tuple[Thumbnail, ...]:
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
