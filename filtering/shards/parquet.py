"""Columns of a parquet file that anyone may have written, read in batches within bounds that its footer is held to.

A few bytes of parquet can stand for any number of rows or for cells of any length: a page says how far it inflates, a
dictionary repeats one cell as often as it likes, and an encoding repeats the beginning of the cell before.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from filtering.core.formatting import size
from filtering.shards.footer import Chunk, Pages, pages_of, read_footer
from filtering.shards.thrift import ThriftError

# A file may have this many rows or unpack to this many bytes, whatever its size, ...
ROWS_ALWAYS = 1 << 20
BYTES_ALWAYS = 256 << 20
# ... or one row and so many bytes for each of its own: a uid alone does not fit into one byte.
BYTES_A_BYTE = 32
# Rows at a time, fewer where they are long: what is at hand at once is about this many bytes.
BATCH_ROWS = 16_384
BATCH_BYTES = 64 << 20
# The same where each cell may be as long as a page.
REPEATING_BYTES = 16 << 20
# Rows at a time where a dictionary has long cells.
LONG_BATCH_ROWS = 1_024


class BoundsError(ValueError):
    """A file says that it holds more than it may; one line without its name."""


class BoundedParquet:
    """A parquet file of `stored` bytes; BoundsError if it says that it holds more than it may.

    Checksums of pages are verified where there are any.
    """

    def __init__(self, stream: BinaryIO, stored: int) -> None:
        self.stream = stream
        self.footer = read_footer(stream, stored)
        self.metadata = pq.read_metadata(self.footer.file())
        self.allowed = BYTES_ALWAYS + BYTES_A_BYTE * stored
        rows = self.metadata.num_rows
        if rows > max(ROWS_ALWAYS, stored):
            raise BoundsError(f"says that it has {rows:,} rows, which a file of {size(stored)} cannot hold")
        self._pages = dict[Chunk, Pages]()
        # Bytes that may still be unpacked: twice what is used, since what is found to be damaged is read again.
        self._left = 2 * self.allowed

    @cached_property
    def file(self) -> pq.ParquetFile:
        """The file as pyarrow reads it."""
        return self._opened(())

    @property
    def rows(self) -> int:
        """How many rows the footer says that there are."""
        return int(self.metadata.num_rows)

    @property
    def schema(self) -> pa.Schema:
        """The columns with their types."""
        return self.file.schema_arrow

    @property
    def groups(self) -> range:
        """The numbers of the row groups."""
        return range(self.metadata.num_row_groups)

    def rows_of(self, group: int) -> int:
        """How many rows the footer says that a row group has."""
        return int(self.metadata.row_group(group).num_rows)

    def check(self, names: Sequence[str]) -> None:
        """Refuse columns that unpack to more than the file may: BoundsError, with the column."""
        for name in names:
            unpacked = sum(self._unpacked(group, name) for group in self.groups)
            if unpacked > self.allowed:
                raise BoundsError(
                    f"says that column {name} unpacks to {size(unpacked)}; it may be {size(self.allowed)} at most"
                )

    def batches(self, group: int, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield a row group in batches; text is dictionary-encoded where it would be too long otherwise.

        ValueError where what the headers of pages say cannot be, or cells are longer than the file may be.
        """
        self._refuse_more()
        pages = {name: [self._pages_of(chunk) for chunk in self._chunks(group, name)] for name in names}
        rows, repeated = self.rows_of(group), self._repeated(group, names)
        width = max(1, sum(self._unpacked(group, name) for name in names) // max(rows, 1))
        most = LONG_BATCH_ROWS if repeated else max(1, min(BATCH_ROWS, BATCH_BYTES // width))
        # A cell of such a page may be as long as all of it.
        repeating = max((one.repeating for some in pages.values() for one in some), default=0)
        most = max(1, min(most, REPEATING_BYTES // max(repeating, 1)))
        file = self._opened(names) if repeated else self.file
        for batch in file.iter_batches(batch_size=most, row_groups=[group], columns=list(names)):
            # A batch of what a dictionary repeats brings all of it along.
            self._left -= 0 if repeated else batch.nbytes
            self._refuse_more()
            yield batch

    def _refuse_more(self) -> None:
        if self._left < 0:
            raise BoundsError(f"its cells unpack to more than {size(2 * self.allowed)}")

    def _repeated(self, group: int, names: Sequence[str]) -> bool:
        """Return whether cells that a dictionary repeats could make a row group longer than the file may be."""
        encoded = [name for name in names if self._may_repeat(group, name)]
        if not encoded:
            return False
        # The first batch brings the whole dictionary.
        first = next(self._opened(encoded).iter_batches(batch_size=1, row_groups=[group], columns=encoded))
        longest = sum(_longest(column) for column in first.columns)
        return longest * self.rows_of(group) > self.allowed

    def _may_repeat(self, group: int, name: str) -> bool:
        rows = self.rows_of(group)
        return any(
            chunk.texts and chunk.dictionary and self._pages_of(chunk).unpacked * rows > self.allowed
            for chunk in self._chunks(group, name)
        )

    def _opened(self, dictionaries: Sequence[str]) -> pq.ParquetFile:
        return pq.ParquetFile(
            self.stream, metadata=self.metadata, read_dictionary=list(dictionaries), page_checksum_verification=True
        )

    def _unpacked(self, group: int, name: str) -> int:
        """Return the bytes of a column: as its pages have them, or of its values where these take more: equal ones."""
        total = 0
        for chunk in self._chunks(group, name):
            try:
                pages = self._pages_of(chunk).unpacked
            except ThriftError:
                # Its row group is damaged, which is found where that is read.
                pages = 0
            total += max(chunk.unpacked, pages, chunk.values * chunk.width)
        return total

    def _pages_of(self, chunk: Chunk) -> Pages:
        if chunk not in self._pages:
            self._pages[chunk] = pages_of(self.stream, chunk)
        return self._pages[chunk]

    def _chunks(self, group: int, name: str) -> Iterator[Chunk]:
        """Yield what the footer says of a column; one of lists or structures has a part for each of their fields."""
        for path, chunks in self.footer.groups[group].items():
            if path == name or path.startswith(f"{name}."):
                yield from chunks


def _longest(column: pa.Array) -> int:
    if not pa.types.is_dictionary(column.type):
        return 0
    return pc.max(pc.binary_length(column.dictionary.cast(pa.binary()))).as_py() or 0
