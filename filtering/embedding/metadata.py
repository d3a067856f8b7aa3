"""Take DataComp metadata as it is: rows checked, vectors left where they lie."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filtering.config.input import Arrays
from filtering.core import schemas
from filtering.core.clip_score import clip_scores
from filtering.core.errors import InputError, first_line
from filtering.core.uid_rule import BY_URL, UidRule
from filtering.core.uids import content_hash
from filtering.embedding.artifacts import ARRAYS_MISMATCH, QUARANTINE_NAME, ROWS_NAME, MetadataCounts, measured
from filtering.shards.columns import TableRows, unreadable_rows, with_uids
from filtering.shards.inventory import Shard, arrays_url, check_shard
from filtering.shards.metadata import (
    UnreadableError,
    array_header,
    array_names,
    malformed_uids,
    read_array,
    read_columns,
)
from filtering.storage.store import Store

BLOCK_ROWS = 2_048
USABLE = ""
# What says something of a shard. That a storage refuses or fails says nothing, and must not cost a sample.
UNREADABLE = (UnreadableError, FileNotFoundError)
# The kinds of numpy's dtypes that vectors may have: floats and whole numbers.
NUMBERS = "fiu"


class MismatchError(Exception):
    """Arrays that can be read, but are not the vectors of a shard's rows."""


class MetadataReader:
    """Reads a parquet file and its npz; the models' towers are never loaded."""

    def __init__(self, arrays: Arrays, uid_rule: UidRule = BY_URL) -> None:
        self.arrays, self.uid_rule = arrays, uid_rule

    def __call__(self, shard: Shard, store: Store) -> MetadataCounts:
        """Write the shard's rows and quarantine; return how many of each."""
        found = _rows_of(shard, self.uid_rule)
        reasons, details = found.reasons.copy(), found.details.copy()
        if len(found) > 0:
            malformed = malformed_uids(found.table["uid"]) & (reasons == USABLE)
            reasons[malformed] = "uid_malformed"
        scored, dimension = _Scored.nothing(len(found)), 0
        if (reasons == USABLE).any():
            scored, fault, dimension = self._scored(shard, found.table["caption"])
            fresh = (scored.reasons != USABLE) & (reasons == USABLE)
            reasons[fresh], details[fresh] = scored.reasons[fresh], fault
        good = reasons == USABLE
        rows = _rows(found.table, scored).filter(pa.array(good))
        quarantined = _quarantined(shard, found, reasons, details, np.flatnonzero(~good))
        # Parquet and npz were read one after the other: either may have been written again meanwhile.
        check_shard(shard)
        store.write_table(ROWS_NAME.format(shard.identity), rows)
        store.write_table(QUARANTINE_NAME.format(shard.identity), quarantined)
        return MetadataCounts(
            samples=len(found),
            rows=len(rows),
            quarantined=len(quarantined),
            quarantine_reasons=dict(Counter(quarantined["reason"].to_pylist())),
            dimension=dimension if len(rows) else 0,
        )

    def _scored(self, shard: Shard, captions: pa.ChunkedArray) -> tuple["_Scored", str, int]:
        """Return what vectors say of each row, what there is to say of all of them, and the vectors' dimension."""
        count = len(captions)
        try:
            dimension = vectors_dimension(shard, self.arrays, count)
            images, texts = (read_array(arrays_url(shard), name) for name in (self.arrays.image, self.arrays.text))
        except MismatchError as error:
            return _Scored.nothing(count, ARRAYS_MISMATCH), str(error), 0
        except UNREADABLE as error:
            return _Scored.nothing(count, "arrays_unreadable"), first_line(error), 0
        found = _Scored.nothing(count)
        for start in range(0, count, BLOCK_ROWS):
            block = slice(start, start + BLOCK_ROWS)
            found.scores[block], found.reasons[block] = _checked(images[block], texts[block])
            found.contents[block] = _contents(captions[block], images[block])
        return found, "", dimension


@dataclass(frozen=True, slots=True)
class _Scored:
    """By row: the clip score, the content (`filtering.core.uids.content_hash`), and the reason why it has none."""

    scores: npt.NDArray[np.float32]
    contents: npt.NDArray[np.uint64]
    reasons: npt.NDArray[Any]

    @classmethod
    def nothing(cls, count: int, reason: str = USABLE) -> "_Scored":
        """Return rows that have one reason."""
        reasons: npt.NDArray[Any] = np.full(count, reason, dtype=object)
        return cls(np.zeros(count, dtype=np.float32), np.zeros(count, dtype=np.uint64), reasons)


def _contents(captions: pa.ChunkedArray, images: npt.NDArray[Any]) -> list[int]:
    return [content_hash(*pair) for pair in zip(captions.to_pylist(), map(bytes, images), strict=True)]


def check_arrays(arrays: Arrays, shards: Sequence[Shard]) -> None:
    """Look for the named arrays in the first npz whose vectors can be used; others are quarantined later.

    InputError if an npz before has arrays of other names only, or no npz can be used.
    """
    faults = list[str]()
    for shard in shards:
        url = arrays_url(shard)
        try:
            names = array_names(url)
            for name in (arrays.image, arrays.text):
                if name not in names:
                    raise InputError(f"input.arrays: {url} has no array {name}; it has {', '.join(names)}")
            vectors_dimension(shard, arrays)
            return
        except UnreadableError as error:
            faults.append(first_line(error))
        except FileNotFoundError:
            faults.append(f"{url} is not there")
        except MismatchError as error:
            faults.append(f"{url}: {error}")
    raise InputError(f"input.metadata: no npz has vectors that can be used; {faults[0]}")


def vectors_dimension(shard: Shard, arrays: Arrays, count: int | None = None) -> int:
    """Return the dimension of a shard's vectors, from what its npz says of them.

    MismatchError if they are not the vectors of `count` rows, or cannot be of any; UnreadableError or FileNotFoundError
    if the npz cannot be read.
    """
    images, texts = (array_header(arrays_url(shard), name) for name in (arrays.image, arrays.text))
    for name, header in ((arrays.image, images), (arrays.text, texts)):
        if header.dtype.kind not in NUMBERS:
            raise MismatchError(f"array {name} holds {_kind(header.dtype)}, not numbers")
    whole = len(images.shape) == 2 and images.shape[1] > 0 and count in (None, images.shape[0])
    if not whole or images.shape != texts.shape:
        rows = "" if count is None else f"{count} rows, "
        raise MismatchError(f"{rows}image array {images.shape}, text array {texts.shape}")
    return images.shape[1]


def _kind(dtype: np.dtype[Any]) -> str:
    """Return a dtype in words."""
    if dtype.names is None and dtype.kind == "V":
        return f"{dtype.itemsize} raw bytes each, as bfloat16 is stored"
    return "records" if dtype.names is not None else str(dtype)


def _checked(images: npt.NDArray[Any], texts: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float32], npt.NDArray[Any]]:
    (left, left_lengths), (right, right_lengths) = measured(images), measured(texts)
    # The squared length tells both: it is not finite where a value is not, and zero where all are.
    lengths = (left_lengths, right_lengths)
    finite = np.isfinite(lengths[0]) & np.isfinite(lengths[1])
    present = (lengths[0] > 0) & (lengths[1] > 0)
    usable = finite & present
    products = np.sqrt(np.where(usable, lengths[0], 1)) * np.sqrt(np.where(usable, lengths[1], 1))
    with np.errstate(invalid="ignore"):
        scores = clip_scores(left, right) / products
    reasons = np.where(finite, np.where(present, USABLE, "embedding_zero"), "embedding_not_finite")
    return np.where(usable, scores, 0).astype(np.float32), reasons.astype(object)


def _rows_of(shard: Shard, uid_rule: UidRule) -> TableRows:
    try:
        return with_uids(read_columns(shard.url), uid_rule.place(shard.url))
    except UNREADABLE as error:
        # Not even how many rows there are: one entry for all of them.
        return replace(unreadable_rows(1, first_line(error)), counted=False)


def _rows(table: pa.Table, scored: _Scored) -> pa.Table:
    numbered = {
        "source_row": pa.array(np.arange(len(table), dtype=np.int32)),
        "clip_score": pa.array(scored.scores),
        "content": pa.array(scored.contents),
    }
    columns = [numbered.get(name, table[name] if name in table.column_names else None) for name in schemas.ROWS.names]
    return pa.table(columns, schema=schemas.ROWS)


def _quarantined(
    shard: Shard,
    found: TableRows,
    reasons: npt.NDArray[Any],
    details: npt.NDArray[Any],
    rows: npt.NDArray[np.int64],
) -> pa.Table:
    """Return the entries of some rows; one without uid and key is named by its place."""
    uid, key = (found.table[name].take(pa.array(rows)) for name in ("uid", "key"))
    named = pc.coalesce(pc.if_else(pc.equal(uid, ""), None, uid), key)
    places = pa.array([f"row {row}" if found.counted else "" for row in rows.tolist()], pa.string())
    columns = {
        "shard": pa.array([shard.url] * len(rows), pa.string()),
        "member": pc.if_else(pc.equal(named, ""), places, named),
        "key": pc.if_else(pc.equal(key, ""), None, key),
        "reason": pa.array(reasons[rows], pa.string()),
        "detail": pa.array(details[rows], pa.string()),
    }
    return pa.table([columns[name] for name in schemas.QUARANTINED.names], schema=schemas.QUARANTINED)
