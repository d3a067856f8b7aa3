"""What a parquet file's footer says of its column chunks.

pyarrow tells the same, but where a chunk's statistics contradict its type, its Python classes end the whole process:
they expect no exception of C++ there. The footer is a structure of Thrift's compact protocol:
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift.
"""

import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

MAGIC = b"PAR1"
# The length of the footer and the magic word end a file.
TAIL = struct.Struct("<I4s")
# Thrift's numbers of the fields that are read here.
ROW_GROUPS, COLUMNS, CHUNK = 4, 1, 3
NUM_VALUES, TOTAL_UNCOMPRESSED_SIZE, DICTIONARY_PAGE_OFFSET = 5, 6, 11
# Thrift's numbers of types, in a field's or a list's header.
TRUE, FALSE, BYTE, DOUBLE, BINARY, LIST, SET, MAP, STRUCT, UUID = 1, 2, 3, 7, 8, 9, 10, 11, 12, 13
INTEGERS = (4, 5, 6)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A column's part of a row group: its values, its bytes unpacked, and whether a dictionary repeats its cells."""

    num_values: int
    uncompressed_bytes: int
    has_dictionary: bool


def read_footer(stream: BinaryIO, stored: int) -> bytes:
    """Return the footer of a file of `stored` bytes; ValueError if it does not end as a parquet file does."""
    if stored < len(MAGIC) + TAIL.size:
        raise ValueError("is too short for a parquet file")
    stream.seek(stored - TAIL.size)
    length, magic = TAIL.unpack(stream.read(TAIL.size))
    if magic != MAGIC:
        raise ValueError("does not end as a parquet file does: cut off, encrypted, or another kind of file")
    if length > stored - len(MAGIC) - TAIL.size:
        raise ValueError(f"says that its footer has {length:,} bytes, more than the file")
    stream.seek(stored - TAIL.size - length)
    return stream.read(length)


def column_chunks(footer: bytes) -> list[list[Chunk]]:
    """Return the chunks of each row group, in the order of the schema's leaves; ValueError if they are not told."""
    try:
        groups = _Thrift(footer).struct().get(ROW_GROUPS, [])
        return [[_chunk(column.get(CHUNK)) for column in group[COLUMNS]] for group in groups]
    except (LookupError, struct.error, AttributeError, TypeError, RecursionError):
        raise ValueError("has a damaged footer") from None


def _chunk(stated: dict[int, Any] | None) -> Chunk:
    if stated is None:
        raise ValueError("has an encrypted column")
    values, uncompressed = int(stated[NUM_VALUES]), int(stated[TOTAL_UNCOMPRESSED_SIZE])
    return Chunk(values, uncompressed, DICTIONARY_PAGE_OFFSET in stated)


class _Thrift:
    """Reads Thrift's compact protocol: a structure is a dict by field number, a list or a set a list."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def struct(self) -> dict[int, Any]:
        fields, number = dict[int, Any](), 0
        while header := self._byte():
            delta, kind = header >> 4, header & 15
            number = number + delta if delta else self._zigzag()
            # A field's truth is in its header.
            fields[number] = kind == TRUE if kind in (TRUE, FALSE) else self._value(kind)
        return fields

    def _value(self, kind: int) -> Any:
        if kind in INTEGERS:
            return self._zigzag()
        if kind == BINARY:
            return self._bytes(self._varint())
        if kind == STRUCT:
            return self.struct()
        if kind in (LIST, SET):
            return self._list()
        if kind == MAP:
            return self._map()
        if kind in (TRUE, FALSE, BYTE):
            return self._byte()
        if kind in (DOUBLE, UUID):
            return self._bytes(8 if kind == DOUBLE else 16)
        raise ValueError(f"has a footer with an unknown type of field, {kind}")

    def _list(self) -> list[Any]:
        header = self._byte()
        length = header >> 4 if header >> 4 < 15 else self._varint()
        return [self._value(header & 15) for _ in range(length)]

    def _map(self) -> list[tuple[Any, Any]]:
        if not (length := self._varint()):
            return []
        kinds = self._byte()
        return [(self._value(kinds >> 4), self._value(kinds & 15)) for _ in range(length)]

    def _byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def _bytes(self, length: int) -> bytes:
        self.at += length
        if self.at > len(self.data):
            raise IndexError(self.at)
        return self.data[self.at - length : self.at]

    def _varint(self) -> int:
        value = shift = 0
        while (byte := self._byte()) & 128:
            value |= (byte & 127) << shift
            shift += 7
        return value | byte << shift

    def _zigzag(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)
