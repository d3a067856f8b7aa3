"""Filters by what the pool says of its samples: numbers of any kind, and the boxes of faces."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filtering.config.filters import ColumnFilter, FacesFilter, Filter
from filtering.config.validation import nearest
from filtering.core.errors import InputError
from filtering.core.fields import FACES, FIELD, score_column
from filtering.core.schemas import field_type
from filtering.filters.signal_filters import signal_columns

Flags = npt.NDArray[np.bool_]


def check_field(name: str, key: str, fields: Collection[str]) -> None:
    """Refuse what reads a field that a run does not take from its pool: InputError with its key and what to do."""
    if name == FACES and not key.endswith("faces"):
        raise InputError(f"{key}: {FACES} are boxes of faces, and no number; use the filter faces")
    if name not in fields:
        meant = nearest(name, fields) if fields else ""
        if "did you mean" in meant:
            raise InputError(f"{key}: reads {name}, which is not among input.fields{meant}")
        listed = ", ".join(sorted({*fields, name}))
        raise InputError(f"{key}: reads {name}, which is not among input.fields; set input.fields to [{listed}]")


def field_columns(step: Filter) -> list[str]:
    """Return the column of a field that a filter reads from rows, if it reads one."""
    return [] if step.field is None else [FIELD.format(step.field)]


def columns_read(step: Filter) -> list[str]:
    """Return the columns beside rows that a filter reads: of signals, of a field, or of an encoder's score."""
    of = step.clip_score.of if step.clip_score is not None else None
    return [*signal_columns(step), *field_columns(step), *([] if of is None else [score_column(of)])]


def known_of(line: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    """Return what a sample has in some columns that filters read, for a person."""
    if FIELD.format(FACES) in columns:
        counts, shares = face_figures(pa.chunked_array([pa.array([line[FIELD.format(FACES)]], field_type(FACES))]))
        return {"faces": int(counts[0]), "share": round(float(shares[0]), 4)}
    return {name.removeprefix(FIELD.format("")): line[name] for name in columns}


def column_passes(rows: pa.Table, rule: ColumnFilter) -> Flags:
    """Return which rows have a number within the bounds; of those that have none, what the rule says; bool (n,)."""
    values = rows[FIELD.format(rule.name)]
    numbers = values.fill_null(np.nan).to_numpy()
    low = -np.inf if rule.min is None else rule.min
    high = np.inf if rule.max is None else rule.max
    missing = np.asarray(values.is_null(), dtype=bool)
    return np.asarray(((numbers >= low) & (numbers <= high)) | (missing & (rule.missing == "keep")), dtype=bool)


def faces_pass(rows: pa.Table, rule: FacesFilter) -> Flags:
    """Return which rows have few and small faces, or none that are known; bool (n,)."""
    counts, shares = face_figures(rows[FIELD.format(FACES)])
    few = counts <= rule.max if rule.max is not None else np.ones(len(counts), dtype=bool)
    return np.asarray(few & (shares <= rule.max_share) if rule.max_share is not None else few, dtype=bool)


def face_figures(boxes: pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return how many faces each row has, int64 (n,), and the share of the picture in their boxes, float64 (n,).

    What several boxes cover counts as often, up to 1; where no boxes are known there are none.
    """
    whole = boxes.combine_chunks()
    counts = pc.list_value_length(whole).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    sides = np.clip(whole.flatten().flatten().to_numpy(zero_copy_only=False).reshape(-1, 4), 0, 1).astype(np.float64)
    areas = np.maximum(sides[:, 2] - sides[:, 0], 0) * np.maximum(sides[:, 3] - sides[:, 1], 0)
    owners = np.repeat(np.arange(len(counts)), counts)
    return counts, np.minimum(np.bincount(owners, weights=areas, minlength=len(counts)), 1)
