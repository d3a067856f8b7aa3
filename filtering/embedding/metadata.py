"""Take tables that come with vectors as they are: rows checked, vectors left where they lie if stages can map them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filtering.config.input import Input
from filtering.core import schemas
from filtering.core.clip_score import clip_scores
from filtering.core.errors import first_line
from filtering.core.uid_rule import BY_URL, UidRule
from filtering.core.uids import content_hash
from filtering.embedding.artifacts import (
    ARRAYS_MISMATCH,
    QUARANTINE_NAME,
    ROWS_NAME,
    SIGNALS_NAME,
    VECTORS_NAME,
    Dimensions,
    MetadataCounts,
    measured,
)
from filtering.embedding.vector_columns import ColumnVectors
from filtering.embedding.writer import write_vectors
from filtering.shards.columns import ColumnNames, TableRows, unreadable_rows, with_uids
from filtering.shards.field_columns import read_fields
from filtering.shards.inventory import Shard, check_shard
from filtering.shards.metadata import UnreadableError, malformed_uids, read_columns
from filtering.shards.vectors import MismatchError, NpyVectors, NpzVectors, Vectors, VectorSource
from filtering.storage.store import Store

BLOCK_ROWS = 2_048
# Of a table none of whose rows can be used.
_NO_VECTORS = np.zeros((0, 0), np.float16)
USABLE = ""
# What says something of a shard. That a storage refuses or fails says nothing, and must not cost a sample.
UNREADABLE = (UnreadableError, FileNotFoundError)


def vector_source(source: Input) -> VectorSource:
    """Return where the vectors of a pool of tables are."""
    if source.columns is not None:
        return ColumnVectors(source.columns, source.concepts)
    return (
        NpyVectors(source.concepts) if source.kind == "clip_retrieval" else NpzVectors(source.arrays, source.concepts)
    )


class MetadataReader:
    """Reads a parquet file and the vectors of its rows; the models' towers are never loaded."""

    def __init__(self, source: VectorSource, uid_rule: UidRule = BY_URL, fields: Sequence[str] = ()) -> None:
        self.source, self.uid_rule, self.fields = source, uid_rule, fields

    def __call__(self, shard: Shard, store: Store) -> MetadataCounts:
        """Write the shard's rows and quarantine; return how many of each."""
        found = _rows_of(shard, self.source.names, self.uid_rule)
        reasons, details = found.reasons.copy(), found.details.copy()
        if len(found) > 0:
            malformed = malformed_uids(found.table["uid"]) & (reasons == USABLE)
            reasons[malformed] = "uid_malformed"
        scored, vectors = _Scored.nothing(len(found)), None
        if (reasons == USABLE).any():
            scored, vectors = self._scored(shard, found.table["caption"])
            fresh = (scored.reasons != USABLE) & (reasons == USABLE)
            reasons[fresh], details[fresh] = scored.reasons[fresh], scored.details[fresh]
        good = reasons == USABLE
        rows = _rows(found.table, scored).filter(pa.array(good))
        quarantined = _quarantined(shard, found, reasons, details, np.flatnonzero(~good))
        beside = self._beside(shard, len(found)).filter(pa.array(good)) if self.fields else None
        # Rows and vectors were read one after the other: either may have been written again meanwhile.
        check_shard(shard)
        if self.source.copied:
            for view in self.source.views:
                copy = None if vectors is None else vectors.of(view)
                write_vectors(store, VECTORS_NAME.format(shard.identity, view), _NO_VECTORS if copy is None else copy)
        if beside is not None:
            store.write_table(SIGNALS_NAME.format(shard.identity), beside)
        store.write_table(ROWS_NAME.format(shard.identity), rows)
        store.write_table(QUARANTINE_NAME.format(shard.identity), quarantined)
        return MetadataCounts(
            samples=len(found),
            rows=len(rows),
            quarantined=len(quarantined),
            quarantine_reasons=dict(Counter(quarantined["reason"].to_pylist())),
            **_dimensions(vectors if len(rows) else None),
        )

    def _beside(self, shard: Shard, count: int) -> pa.Table:
        """Return the fields of each row, null where the table cannot be read."""
        schema = schemas.beside_rows((), self.fields)
        try:
            found = list(read_fields(shard.url, self.fields, count).values())
        except UNREADABLE:
            found = [pa.nulls(count, field.type) for field in schema]
        return pa.table(found, schema=schema)

    def _scored(self, shard: Shard, captions: pa.ChunkedArray) -> tuple["_Scored", Vectors | None]:
        """Return what vectors say of each row, and the vectors, None where they cannot be used."""
        count = len(captions)
        try:
            vectors = self.source.read(shard, count)
        except MismatchError as error:
            return _Scored.nothing(count, ARRAYS_MISMATCH, str(error)), None
        except UNREADABLE as error:
            return _Scored.nothing(count, "arrays_unreadable", first_line(error)), None
        found = _Scored.nothing(count)
        for start in range(0, count, BLOCK_ROWS):
            block = slice(start, start + BLOCK_ROWS)
            others = [] if vectors.concepts is None else [vectors.concepts[block]]
            found.scores[block], found.reasons[block] = _checked(vectors.images[block], vectors.texts[block], others)
            found.contents[block] = _contents(captions[block], vectors.images[block])
        without = vectors.reasons != USABLE
        found.reasons[without], found.details[without] = vectors.reasons[without], vectors.details[without]
        return found, vectors


@dataclass(frozen=True, slots=True)
class _Scored:
    """By row: the clip score, the content (`filtering.core.uids.content_hash`), the reason for none, and its detail."""

    scores: npt.NDArray[np.float32]
    contents: npt.NDArray[np.uint64]
    reasons: npt.NDArray[Any]
    details: npt.NDArray[Any]

    @classmethod
    def nothing(cls, count: int, reason: str = USABLE, detail: str = "") -> "_Scored":
        """Return rows that have one reason."""
        reasons, details = (np.full(count, word, dtype=object) for word in (reason, detail))
        return cls(np.zeros(count, dtype=np.float32), np.zeros(count, dtype=np.uint64), reasons, details)


def _contents(captions: pa.ChunkedArray, images: npt.NDArray[Any]) -> list[int]:
    return [content_hash(*pair) for pair in zip(captions.to_pylist(), map(bytes, images), strict=True)]


def _dimensions(vectors: Vectors | None) -> Dimensions:
    """Return the dimensions of a table's vectors; 0 where there are none that can be used."""
    if vectors is None:
        return Dimensions(dimension=0, of_concepts=0)
    of_concepts = 0 if vectors.concepts is None else vectors.concepts.shape[1]
    return Dimensions(dimension=vectors.images.shape[1], of_concepts=of_concepts)


def _checked(
    images: npt.NDArray[Any], texts: npt.NDArray[Any], others: Sequence[npt.NDArray[Any]]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[Any]]:
    (left, left_lengths), (right, right_lengths) = measured(images), measured(texts)
    # The squared length tells both: it is not finite where a value is not, and zero where all are.
    lengths = (left_lengths, right_lengths)
    squared = np.stack([*lengths, *(measured(one)[1] for one in others)])
    finite, present = np.isfinite(squared).all(axis=0), (squared > 0).all(axis=0)
    usable = finite & present
    products = np.sqrt(np.where(usable, lengths[0], 1)) * np.sqrt(np.where(usable, lengths[1], 1))
    with np.errstate(invalid="ignore"):
        scores = clip_scores(left, right) / products
    reasons = np.where(finite, np.where(present, USABLE, "embedding_zero"), "embedding_not_finite")
    return np.where(usable, scores, 0).astype(np.float32), reasons.astype(object)


def _rows_of(shard: Shard, names: ColumnNames, uid_rule: UidRule) -> TableRows:
    try:
        return with_uids(read_columns(shard.url, names), uid_rule.place(shard.url))
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
