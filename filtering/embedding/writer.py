"""A shard's objects, written as its batches come: memory holds a few thousand rows, whatever the shard holds."""

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from filtering.core import schemas
from filtering.core.clip_score import clip_scores
from filtering.embedding.artifacts import QUARANTINE_NAME, ROWS_NAME, VECTORS_NAME, ShardCounts, unit_rows
from filtering.embedding.decoding import Description
from filtering.shards.inventory import Shard
from filtering.shards.samples import Quarantined
from filtering.storage.store import Store, commit_file

ROWS_AT_ONCE = 8192
TEXT_AT_ONCE = 16 << 20


class ShardWriter:
    """Collects a shard's rows, vectors and quarantine in files of its own, and makes objects of them at the end."""

    def __init__(self, store: Store, shard: Shard) -> None:
        self.store, self.shard = store, shard
        self.reasons: Counter[str] = Counter()
        self.folder = tempfile.TemporaryDirectory(prefix="filtering-", ignore_cleanup_errors=True)
        self.images = _Vectors(self._path("image"))
        self.texts = _Vectors(self._path("text"))
        self.rows = _Rows(self._path("rows"), schemas.ROWS)
        self.quarantined = _Rows(self._path("quarantined"), schemas.QUARANTINED)

    def __enter__(self) -> "ShardWriter":
        """Return itself; the files are gone when the block is left."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close and remove what was not committed."""
        for part in (self.images, self.texts, self.rows, self.quarantined):
            part.close()
        self.folder.cleanup()

    def add(
        self, samples: Sequence[Description], images: npt.NDArray[np.float16], texts: npt.NDArray[np.float16]
    ) -> None:
        """Take samples with their vectors, float16 (n, d) each."""
        scores = clip_scores(unit_rows(images), unit_rows(texts))
        for sample, score in zip(samples, scores, strict=True):
            row = {name: getattr(sample, name) for name in ("uid", "key", "caption", "width", "height")}
            self.rows.add(row | {"source_row": self.rows.count, "clip_score": score}, len(sample.caption))
        self.images.add(images)
        self.texts.add(texts)

    def refuse(self, entry: Quarantined) -> None:
        """Take a sample that cannot be used."""
        self.reasons[entry.fault.reason] += 1
        row = {"shard": self.shard.url, "member": entry.member, "key": entry.key}
        self.quarantined.add(row | {"reason": entry.fault.reason, "detail": entry.fault.detail}, len(entry.member))

    def commit(self) -> ShardCounts:
        """Write the shard's objects and return how many rows and quarantined samples there are, and why."""
        names = (
            (self.images, VECTORS_NAME.format(self.shard.identity, "image")),
            (self.texts, VECTORS_NAME.format(self.shard.identity, "text")),
            (self.rows, ROWS_NAME.format(self.shard.identity)),
            (self.quarantined, QUARANTINE_NAME.format(self.shard.identity)),
        )
        for part, name in names:
            part.close()
            commit_file(self.store.path(name), str(part.path))
        rows, quarantined = self.rows.count, self.quarantined.count
        return ShardCounts(
            samples=rows + quarantined,
            rows=rows,
            quarantined=quarantined,
            quarantine_reasons=dict(self.reasons),
        )

    def _path(self, name: str) -> Path:
        return Path(self.folder.name) / name


class _Vectors:
    """An npy file that grows: its header, of fixed length, is written again when the number of rows is known."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shape = (0, 0)
        self.file: BinaryIO = path.open("wb")
        self._header()

    def add(self, vectors: npt.NDArray[np.float16]) -> None:
        if len(vectors):
            self.shape = (self.shape[0] + len(vectors), vectors.shape[1])
            self.file.write(np.ascontiguousarray(vectors, dtype=np.float16).tobytes())

    def close(self) -> None:
        if not self.file.closed:
            self.file.seek(0)
            self._header()
            self.file.close()

    def _header(self) -> None:
        described = {"descr": np.dtype(np.float16).str, "fortran_order": False, "shape": self.shape}
        np.lib.format.write_array_header_1_0(self.file, described)


class _Rows:
    """A parquet file that grows by row groups."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path, self.schema = path, schema
        self.file = pq.ParquetWriter(path, schema, compression="zstd")
        self.waiting: list[dict[str, Any]] = []
        self.waiting_text = self.count = 0

    def add(self, row: dict[str, Any], text: int) -> None:
        self.waiting.append(row)
        self.waiting_text += text
        self.count += 1
        if len(self.waiting) == ROWS_AT_ONCE or self.waiting_text >= TEXT_AT_ONCE:
            self._flush()

    def close(self) -> None:
        if self.file.is_open:
            if self.waiting or not self.count:
                self._flush()
            self.file.close()

    def _flush(self) -> None:
        self.file.write_table(pa.Table.from_pylist(self.waiting, self.schema))
        self.waiting, self.waiting_text = [], 0
