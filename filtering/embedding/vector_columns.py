"""Vectors in columns of tables: lists of numbers, as Hugging Face's datasets, Daft or Lance write them."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filtering.config.input import Columns
from filtering.config.validation import nearest
from filtering.core.errors import InputError
from filtering.embedding.artifacts import half_rows
from filtering.shards.columns import ColumnNames, named_columns
from filtering.shards.inventory import Shard
from filtering.shards.metadata import opened
from filtering.shards.names import column
from filtering.shards.parquet import BoundedParquet
from filtering.shards.vectors import CONCEPTS, MismatchError, Vectors, View, look_for_one, views_of

MISSING, WIDTH = "embedding_missing", "embedding_dimension"
Float16Array = npt.NDArray[np.float16]
Words = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class ColumnVectors:
    """Vectors in columns of the tables, `concepts` those of concepts; what a run keeps of them are halves."""

    columns: Columns
    concepts: str = ""
    copied = True

    @property
    def views(self) -> tuple[View, ...]:
        """Which vectors rows have."""
        return views_of(self.concepts)

    @property
    def names(self) -> ColumnNames:
        """What the columns of rows may be called."""
        return named_columns(self.columns.given())

    def check(self, shards: Sequence[Shard]) -> None:
        """Look for the columns in the first table whose vectors can be used.

        InputError if one before lacks a column that is named, with the nearest, or none can be used.
        """

        def look(shard: Shard) -> None:
            self._refuse_names(shard)
            self.dimensions(shard)

        look_for_one(shards, look, "input.tables: no table")

    def _refuse_names(self, shard: Shard) -> None:
        with opened(shard.url, "the table") as stream:
            there = _table(stream.stream).schema.names
        asked = {f"input.columns.{key}": name for key, name in self.columns.given().items()}
        for view in self.views:
            asked["concepts.embedding" if view == CONCEPTS else f"input.columns.{view}"] = self._column_of(view)
        for key, name in asked.items():
            if column(there, (name,)) is None:
                raise InputError(f"{key}: {shard.url} has no column {name}{nearest(name, there)}")

    def dimensions(self, shard: Shard) -> tuple[int, int]:
        """Return the lengths of most vectors of the first rows that have any; MismatchError if none has."""
        with opened(shard.url, "the table") as stream:
            file = _table(stream.stream)
            found = {view: self._width(file, view) for view in self.views}
        if found["image"] != found["text"]:
            raise MismatchError(f"image vectors have {found['image']} numbers, text vectors {found['text']}")
        return found["image"], found.get(CONCEPTS, 0)

    def read(self, shard: Shard, count: int) -> Vectors:
        """Return the vectors of a shard's rows as halves; a row without two of them has a reason.

        Errors as in `filtering.shards.vectors.VectorSource.read`.
        """
        dimension, of_concepts = self.dimensions(shard)
        widths = {view: of_concepts if view == CONCEPTS else dimension for view in self.views}
        found = {view: np.zeros((count, width), np.float16) for view, width in widths.items()}
        reasons, details = (np.full(count, "", dtype=object) for _ in range(2))
        with opened(shard.url, "the table") as stream:
            file = _table(stream.stream)
            if file.rows != count:
                raise MismatchError(f"{count} rows, but {file.rows} vectors")
            for view, into in found.items():
                self._fill(file, view, into, reasons, details)
        return Vectors(found["image"], found["text"], reasons, details, found.get(CONCEPTS))

    def _column_of(self, view: View) -> str:
        return self.concepts if view == CONCEPTS else str(getattr(self.columns, view))

    def _fill(self, file: BoundedParquet, view: View, into: Float16Array, reasons: Words, details: Words) -> None:
        at, dimension = 0, into.shape[1]
        for lists in self._lists(file, view):
            block = slice(at, at + len(lists))
            lengths = _lengths(lists)
            whole = lengths == dimension
            into[block][whole] = _halves(lists.filter(pa.array(whole)), dimension)
            bad = np.flatnonzero(~whole & (reasons[block] == ""))
            missing = lengths[bad] < 0
            reasons[at + bad] = np.where(missing, MISSING, WIDTH)
            name = self._column_of(view)
            details[at + bad] = [
                f"column {name} has no vector" if length < 0 else f"column {name} has {length} numbers, not {dimension}"
                for length in lengths[bad]
            ]
            at += len(lists)

    def _width(self, file: BoundedParquet, view: View) -> int:
        for lists in self._lists(file, view):
            lengths = _lengths(lists)
            if (there := lengths[lengths > 0]).size:
                return int(np.bincount(there).argmax())
        raise MismatchError(f"column {self._column_of(view)} has no vectors")

    def _lists(self, file: BoundedParquet, view: View) -> Iterator[pa.Array]:
        """Yield the cells of a view's column, a batch of rows at a time."""
        name = self._column_of(view)
        if (given := column(file.schema.names, (name,))) is None:
            raise MismatchError(f"has no column {name}")
        kind = file.schema.field(given).type
        if not _holds_vectors(kind):
            raise MismatchError(f"column {given} holds {kind}, not lists of numbers")
        file.check([given])
        for group in file.groups:
            for batch in file.batches(group, [given]):
                yield _storage(batch.column(0))


def _table(stream: Any) -> BoundedParquet:
    return BoundedParquet(stream, stream.seek(0, io.SEEK_END))


def _storage(cells: pa.Array) -> pa.Array:
    """Return the lists of an extension type, such as Arrow's tensors of a fixed shape, and plain lists as they are."""
    return cells.storage if isinstance(cells, pa.ExtensionArray) else cells


def _holds_vectors(kind: pa.DataType) -> bool:
    kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(lists and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)))


def _lengths(lists: pa.Array) -> npt.NDArray[np.int64]:
    """Return how many numbers each cell has, -1 where it is null."""
    return np.asarray(pc.list_value_length(lists).fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64)


def _halves(lists: pa.Array, dimension: int) -> Float16Array:
    """Return lists of one length as halves (n, d); a number that is null is not finite."""
    values = lists.flatten().to_numpy(zero_copy_only=False).reshape(-1, dimension)
    with np.errstate(invalid="ignore"):
        # What is not finite stays so, and is found with all other vectors that cannot be used.
        return half_rows(values if values.dtype.kind == "f" else values.astype(np.float32))
