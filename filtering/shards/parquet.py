"""Columns of a parquet file that anyone may have written, read in batches within bounds that its footer is held to.

A few bytes of parquet can stand for any number of rows or for cells of any length: a page says how far it inflates, and
a dictionary repeats one cell as often as it likes.
"""

import io
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from filtering.core.formatting import size
from filtering.shards.parquet_footer import MAGIC, TAIL, Chunk, column_chunks, read_footer

# A file may have this many rows or unpack to this many bytes, whatever its size, ...
ROWS_ALWAYS = 1 << 20
BYTES_ALWAYS = 256 << 20
# ... or one row and so many bytes for each of its own: a uid alone does not fit into one byte.
BYTES_A_BYTE = 32
# Rows at a time, fewer where they are long: what is at hand at once is about this many bytes.
BATCH_ROWS = 16_384
BATCH_BYTES = 64 << 20
# Bytes of a value, by parquet's type.
WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}
# Rows at a time where a dictionary has long cells.
LONG_BATCH_ROWS = 1_024


class BoundsError(ValueError):
    """A file says that it holds more than it may; one line without its name."""


class BoundedParquet:
    """A parquet file of `stored` bytes; BoundsError if it says that it holds more than it may."""

    def __init__(self, stream: BinaryIO, stored: int) -> None:
        self.stream = stream
        self.footer = footer = read_footer(stream, stored)
        # The footer is read once: given to pyarrow as a file that has nothing else.
        alone = b"".join((MAGIC, footer, TAIL.pack(len(footer), MAGIC)))
        self.file = _file(stream, metadata=pq.read_metadata(io.BytesIO(alone)))
        self.allowed = BYTES_ALWAYS + BYTES_A_BYTE * stored
        rows = self.file.metadata.num_rows
        if rows > max(ROWS_ALWAYS, stored):
            raise BoundsError(f"says that it has {rows:,} rows, which a file of {size(stored)} cannot hold")

    @property
    def rows(self) -> int:
        """How many rows the footer says that there are."""
        return int(self.file.metadata.num_rows)

    @cached_property
    def _chunks(self) -> list[list[Chunk]]:
        return column_chunks(self.footer)

    @property
    def schema(self) -> pa.Schema:
        """The columns with their types."""
        return self.file.schema_arrow

    @property
    def groups(self) -> range:
        """The numbers of the row groups."""
        return range(self.file.num_row_groups)

    def rows_of(self, group: int) -> int:
        """How many rows the footer says that a row group has."""
        return int(self.file.metadata.row_group(group).num_rows)

    def check(self, names: Sequence[str]) -> None:
        """Refuse columns that unpack to more than the file may: BoundsError, with the column."""
        for name in names:
            unpacked = sum(self._unpacked(group, name) for group in self.groups)
            if unpacked > self.allowed:
                raise BoundsError(
                    f"says that column {name} unpacks to {size(unpacked)}; it may be {size(self.allowed)} at most"
                )

    def batches(self, group: int, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield a row group in batches; text is dictionary-encoded where it would be too long otherwise."""
        rows, repeated = self.rows_of(group), self._repeated(group, names)
        file = self._encoded(names) if repeated else self.file
        width = max(1, sum(self._unpacked(group, name) for name in names) // max(rows, 1))
        most = LONG_BATCH_ROWS if repeated else max(1, min(BATCH_ROWS, BATCH_BYTES // width))
        yield from file.iter_batches(batch_size=most, row_groups=[group], columns=list(names))

    def _repeated(self, group: int, names: Sequence[str]) -> bool:
        """Return whether cells that a dictionary repeats could make a row group longer than the file may be."""
        encoded = [name for name in names if self._may_repeat(group, name)]
        if not encoded:
            return False
        # The first batch brings the whole dictionary.
        first = next(self._encoded(encoded).iter_batches(batch_size=1, row_groups=[group], columns=encoded))
        longest = sum(_longest(column) for column in first.columns)
        return longest * self.rows_of(group) > self.allowed

    def _may_repeat(self, group: int, name: str) -> bool:
        return any(
            leaf.physical_type == "BYTE_ARRAY"
            and chunk.has_dictionary
            and chunk.uncompressed_bytes * self.rows_of(group) > self.allowed
            for leaf, chunk in self._parts(group, name)
        )

    def _encoded(self, names: Sequence[str]) -> pq.ParquetFile:
        return _file(self.stream, metadata=self.file.metadata, read_dictionary=list(names))

    def _unpacked(self, group: int, name: str) -> int:
        """Return the bytes of a column, as the footer has them, or of its values where these take more: equal ones."""
        parts = list(self._parts(group, name))
        stated = sum(chunk.uncompressed_bytes for _, chunk in parts)
        return max(stated, sum(chunk.num_values * _width(leaf) for leaf, chunk in parts))

    def _parts(self, group: int, name: str) -> Iterator[tuple[pq.ColumnSchema, Chunk]]:
        """Yield what the footer says of a column; one of lists or structures has a part for each of their fields."""
        schema = self.file.schema
        for place, chunk in enumerate(self._chunks[group]):
            leaf = schema.column(place)
            if leaf.path == name or leaf.path.startswith(f"{name}."):
                yield leaf, chunk


def _file(stream: BinaryIO, metadata: pq.FileMetaData, read_dictionary: list[str] | None = None) -> pq.ParquetFile:
    """Open a parquet file whose pages are checked by their CRC-32, where they have one."""
    return pq.ParquetFile(stream, metadata=metadata, read_dictionary=read_dictionary, page_checksum_verification=True)


def _width(leaf: pq.ColumnSchema) -> int:
    """Return the bytes of each value; 0 where they are not all as long."""
    fixed = leaf.physical_type == "FIXED_LEN_BYTE_ARRAY"
    return int(leaf.length) if fixed else WIDTHS.get(leaf.physical_type, 0)


def _longest(column: pa.Array) -> int:
    if not pa.types.is_dictionary(column.type):
        return 0
    return pc.max(pc.binary_length(column.dictionary.cast(pa.binary()))).as_py() or 0
