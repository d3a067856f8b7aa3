"""Take DataComp metadata as it is: rows checked, vectors left where they lie."""

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filtering.config.run import Arrays
from filtering.core import schemas
from filtering.core.clip_score import clip_scores
from filtering.core.errors import first_line
from filtering.embedding.artifacts import QUARANTINE_NAME, ROWS_NAME, ShardCounts, measured
from filtering.shards.inventory import Shard, arrays_url
from filtering.shards.metadata import UnreadableError, malformed_uids, read_array, read_columns
from filtering.storage.store import Store

BLOCK_ROWS = 2_048
USABLE = ""
# What says something of a shard. That a storage refuses or fails says nothing, and must not cost a sample.
UNREADABLE = (UnreadableError, FileNotFoundError)


class MetadataReader:
    """Reads a parquet file and its npz; the models' towers are never loaded."""

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = arrays

    def __call__(self, shard: Shard, store: Store) -> ShardCounts:
        """Write the shard's rows and quarantine; return how many of each."""
        table, fault = _columns(shard)
        reasons: npt.NDArray[Any] = np.full(len(table), USABLE, dtype=object)
        scores = np.zeros(len(table), dtype=np.float32)
        if fault is None and len(table):
            scores, reasons, fault = self._scored(shard, len(table))
            reasons[malformed_uids(table["uid"])] = "uid_malformed"
        if fault is not None:
            reasons[:] = fault[0]
        good = reasons == USABLE
        rows = _rows(table, scores).filter(pa.array(good))
        quarantined = _quarantined(shard, table.filter(pa.array(~good)), reasons[~good], fault)
        store.write_table(ROWS_NAME.format(shard.identity), rows)
        store.write_table(QUARANTINE_NAME.format(shard.identity), quarantined)
        total = len(rows) + len(quarantined)
        return ShardCounts(
            samples=total,
            rows=len(rows),
            quarantined=len(quarantined),
            quarantine_reasons=dict(Counter(quarantined["reason"].to_pylist())),
        )

    def _scored(
        self, shard: Shard, count: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[Any], tuple[str, str] | None]:
        """Return clip scores, reasons by row, and the fault of the whole file if it has one."""
        scores, reasons = np.zeros(count, dtype=np.float32), np.full(count, USABLE, dtype=object)
        try:
            images = read_array(arrays_url(shard), self.arrays.image)
            texts = read_array(arrays_url(shard), self.arrays.text)
        except UNREADABLE as error:
            return scores, reasons, ("arrays_unreadable", first_line(error))
        if images.ndim != 2 or images.shape != texts.shape or len(images) != count:
            detail = f"{count} rows, image array {images.shape}, text array {texts.shape}"
            return scores, reasons, ("arrays_mismatch", detail)
        for start in range(0, count, BLOCK_ROWS):
            block = slice(start, start + BLOCK_ROWS)
            scores[block], reasons[block] = _checked(images[block], texts[block])
        return scores, reasons, None


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


def _columns(shard: Shard) -> tuple[pa.Table, tuple[str, str] | None]:
    try:
        return read_columns(shard.url), None
    except UNREADABLE as error:
        return schemas.ROWS.empty_table(), ("metadata_unreadable", first_line(error))


def _rows(table: pa.Table, scores: npt.NDArray[np.float32]) -> pa.Table:
    numbered = {"source_row": pa.array(np.arange(len(table), dtype=np.int32)), "clip_score": pa.array(scores)}
    columns = [numbered.get(name, table[name] if name in table.column_names else None) for name in schemas.ROWS.names]
    return pa.table(columns, schema=schemas.ROWS)


def _quarantined(shard: Shard, table: pa.Table, reasons: npt.NDArray[Any], fault: tuple[str, str] | None) -> pa.Table:
    detail = fault[1] if fault else ""
    entries = [
        {"shard": shard.url, "member": uid or key, "key": key, "reason": reason, "detail": detail}
        for uid, key, reason in zip(table["uid"].to_pylist(), table["key"].to_pylist(), reasons, strict=True)
    ]
    if fault and not entries:
        entries = [{"shard": shard.url, "member": "", "key": None, "reason": fault[0], "detail": detail}]
    return pa.Table.from_pylist(entries, schemas.QUARANTINED)
