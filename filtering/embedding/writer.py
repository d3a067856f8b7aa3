"""A shard's objects, written as its batches come: memory holds a few thousand rows, whatever the shard holds."""

import contextlib
import tempfile
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from filtering.core import schemas
from filtering.core.clip_score import clip_scores
from filtering.core.fields import score_column
from filtering.embedding.artifacts import (
    OFFSETS_NAME,
    QUARANTINE_NAME,
    ROWS_NAME,
    SIGNALS_NAME,
    VECTORS_NAME,
    ShardCounts,
    unit_rows,
)
from filtering.embedding.decoding import Description
from filtering.shards.inventory import Shard
from filtering.shards.offsets import OFFSET, offsets_of
from filtering.shards.samples import Quarantined
from filtering.storage.checksums import PLAIN_SLOT, add_slot, fill_file
from filtering.storage.local import disk_error
from filtering.storage.store import Store, commit_file

ROWS_AT_ONCE = 8192
# Columns of a row that are its sample's.
DESCRIBED = ("uid", "key", "caption", "width", "height", "content", "url", "sha256")
TEXT_AT_ONCE = 16 << 20
Float16Array = npt.NDArray[np.float16]
NO_VECTORS: Mapping[str, Float16Array] = {}
# A box of a face, as Python holds it.
LISTED_BYTES = 250
NOTHING = pa.schema([])


class ShardWriter:
    """Collects a shard's rows, vectors, offsets and quarantine in local files, and makes objects of them at the end.

    `beside` are the columns of what stands beside rows; `encoders` are the names of further encoders.
    """

    def __init__(self, store: Store, shard: Shard, beside: pa.Schema = NOTHING, encoders: Collection[str] = ()) -> None:
        self.store, self.shard = store, shard
        self.reasons: Counter[str] = Counter()
        self.folder = tempfile.TemporaryDirectory(prefix="filtering-", ignore_cleanup_errors=True)
        self.images = _Array(self._path("image"), np.dtype(np.float16), (0, 0))
        self.texts = _Array(self._path("text"), np.dtype(np.float16), (0, 0))
        self.offsets = _Array(self._path("offsets"), OFFSET, (0,))
        self.vectors = {name: _Array(self._path(f"{name}.v"), np.dtype(np.float16), (0, 0)) for name in encoders}
        self.rows = _Rows(self._path("rows"), schemas.ROWS)
        self.quarantined = _Rows(self._path("quarantined"), schemas.QUARANTINED)
        self.signals = _Rows(self._path("signals"), beside) if beside.names else None

    def __enter__(self) -> "ShardWriter":
        """Return itself; the files are gone when the block is left."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close and remove what was not committed."""
        for _, part in self._parts():
            # What was committed is closed, and all else is thrown away.
            with contextlib.suppress(OSError):
                part.close()
        self.folder.cleanup()
        if full := error and disk_error(error, Path(self.folder.name).parent):
            raise full from error

    def add(
        self,
        samples: Sequence[Description],
        images: Float16Array,
        texts: Float16Array,
        vectors: Mapping[str, Float16Array] = NO_VECTORS,
        captions: Mapping[str, Float16Array] = NO_VECTORS,
    ) -> None:
        """Take samples with their vectors, float16 (n, d) each; `vectors` and `captions` are of further encoders."""
        scores = clip_scores(unit_rows(images), unit_rows(texts))
        others = {
            score_column(name): clip_scores(unit_rows(vectors[name]), unit_rows(of)) for name, of in captions.items()
        }
        for at, (sample, score) in enumerate(zip(samples, scores, strict=True)):
            row = {name: getattr(sample, name) for name in DESCRIBED}
            self.rows.add(row | {"source_row": self.rows.count, "clip_score": score}, len(sample.caption))
            if self.signals is not None:
                lists = (value for value in sample.signals.values() if isinstance(value, list))
                scored = {name: found[at] for name, found in others.items()}
                self.signals.add({**sample.signals, **scored}, LISTED_BYTES * sum(map(len, lists)))
        self.images.add(images)
        self.texts.add(texts)
        for name, array in self.vectors.items():
            array.add(vectors[name])
        self.offsets.add(offsets_of((sample.key, sample.span) for sample in samples).table)

    def refuse(self, entry: Quarantined) -> None:
        """Take a sample that cannot be used."""
        self.reasons[entry.fault.reason] += 1
        row = {"shard": self.shard.url, "member": entry.member, "key": entry.key}
        self.quarantined.add(row | {"reason": entry.fault.reason, "detail": entry.fault.detail}, len(entry.member))

    def commit(self) -> ShardCounts:
        """Write the shard's objects and return how many rows and quarantined samples there are, and why."""
        for name, part in self._parts():
            _commit(self.store, name, part)
        rows, quarantined = self.rows.count, self.quarantined.count
        return ShardCounts(
            samples=rows + quarantined,
            rows=rows,
            quarantined=quarantined,
            quarantine_reasons=dict(self.reasons),
        )

    def _parts(self) -> list[tuple[str, "_Array | _Rows"]]:
        """Return the shard's objects by name; the rows come after what belongs to them."""
        identity = self.shard.identity
        signals = [] if self.signals is None else [(SIGNALS_NAME.format(identity), self.signals)]
        return [
            (VECTORS_NAME.format(identity, "image"), self.images),
            (VECTORS_NAME.format(identity, "text"), self.texts),
            *((VECTORS_NAME.format(identity, name), part) for name, part in self.vectors.items()),
            (OFFSETS_NAME.format(identity), self.offsets),
            *signals,
            (ROWS_NAME.format(identity), self.rows),
            (QUARANTINE_NAME.format(identity), self.quarantined),
        ]

    def _path(self, name: str) -> Path:
        return Path(self.folder.name) / name


def write_vectors(store: Store, name: str, vectors: npt.NDArray[np.float16]) -> None:
    """Write vectors, float16 (n, d), as an npy object with a checksum."""
    with tempfile.TemporaryDirectory(prefix="filtering-", ignore_cleanup_errors=True) as folder:
        try:
            part = _Array(Path(folder) / "vectors", np.dtype(np.float16), (0, vectors.shape[1]))
            for start in range(0, len(vectors), ROWS_AT_ONCE):
                part.add(vectors[start : start + ROWS_AT_ONCE])
            _commit(store, name, part)
        except OSError as error:
            raise disk_error(error, Path(folder).parent) or error from error


def _commit(store: Store, name: str, part: "_Array | _Rows") -> None:
    part.close()
    fill_file(store.path(name), part.path)
    commit_file(store.path(name), str(part.path))


class _Array:
    """An npy file that grows: its header, of fixed length, is written again when the number of rows is known."""

    def __init__(self, path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        self.path, self.dtype, self.shape = path, dtype, shape
        self.file: BinaryIO = path.open("wb")
        self._header()

    def add(self, rows: npt.NDArray[Any]) -> None:
        if len(rows):
            self.shape = (self.shape[0] + len(rows), *rows.shape[1:])
            self.file.write(np.ascontiguousarray(rows, dtype=self.dtype).tobytes())

    def close(self) -> None:
        if not self.file.closed:
            self.file.write(PLAIN_SLOT)
            self.file.seek(0)
            self._header()
            self.file.close()

    def _header(self) -> None:
        descr = np.lib.format.dtype_to_descr(self.dtype)
        described = {"descr": descr, "fortran_order": False, "shape": self.shape}
        np.lib.format.write_array_header_1_0(self.file, described)


class _Rows:
    """A parquet file that grows by row groups."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path, self.schema = path, schema
        self.file = pq.ParquetWriter(path, schema, compression="zstd")
        self.waiting: list[Mapping[str, object]] = []
        self.waiting_text = self.count = 0

    def add(self, row: Mapping[str, object], text: int) -> None:
        self.waiting.append(row)
        self.waiting_text += text
        self.count += 1
        if len(self.waiting) == ROWS_AT_ONCE or self.waiting_text >= TEXT_AT_ONCE:
            self._flush()

    def close(self) -> None:
        if self.file.is_open:
            if self.waiting or not self.count:
                self._flush()
            add_slot(self.file)
            self.file.close()

    def _flush(self) -> None:
        self.file.write_table(pa.Table.from_pylist(self.waiting, self.schema))
        self.waiting, self.waiting_text = [], 0
