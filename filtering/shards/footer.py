"""What a parquet file says of itself: its footer, and the header of each page, before anything is unpacked."""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import BinaryIO

from filtering.shards.thrift import Fields, ThriftError, inner, number, read_fields, several, text

MAGIC = b"PAR1"
TAIL = struct.Struct("<I4s")
# What is read of the end at first: most footers.
TAIL_BYTES = 64 << 10
# A page's header has some numbers and, of its column, the least and the largest value.
HEADER_BYTES, MOST_HEADER_BYTES = 1 << 10, 16 << 20
BYTE_ARRAY, FIXED = 6, 7
# Old writers left a page's header out of what a column takes.
FORGOTTEN_BYTES = 100
# Bytes of a value, by parquet's number of its type.
WIDTHS = {0: 1, 1: 4, 2: 8, 3: 12, 4: 4, 5: 8}
# The encoding whose values begin as the one before does, each written once.
DELTA_BYTE_ARRAY = 7


@dataclass(frozen=True, slots=True)
class Chunk:
    """A column of a row group: `values` as the footer has them, `unpacked` and `packed` in bytes; where it lies."""

    kind: int
    width: int  # bytes of each value; 0 where they are not all as long
    values: int
    unpacked: int
    packed: int
    start: int
    dictionary: bool

    @property
    def texts(self) -> bool:
        """Whether it holds values of any length."""
        return self.kind == BYTE_ARRAY


@dataclass(frozen=True, slots=True)
class Pages:
    """The pages of a chunk together: what they unpack to, and the largest whose values repeat each other's beginning.

    `repeating` is 0 where there is none of the latter.
    """

    unpacked: int = 0
    repeating: int = 0


@dataclass(frozen=True)
class Footer:
    """A parquet's footer, as it is stored."""

    data: bytes

    @cached_property
    def groups(self) -> tuple[dict[str, tuple[Chunk, ...]], ...]:
        """For each row group the chunks of its columns by their paths; ThriftError if they are not told."""
        fields, _ = read_fields(self.data)
        leaves = _leaves(fields)
        return tuple(_chunks(group, leaves) for group in several(fields, 4) if isinstance(group, dict))

    def file(self) -> io.BytesIO:
        """Return a file without rows that has this footer, for readers that want to find it themselves."""
        return io.BytesIO(MAGIC + self.data + TAIL.pack(len(self.data), MAGIC))


def read_footer(stream: BinaryIO, stored: int) -> Footer:
    """Return the footer of a parquet file of `stored` bytes; ValueError if it has none."""
    stream.seek(max(stored - TAIL_BYTES, 0))
    tail = stream.read(TAIL_BYTES)
    if len(tail) < TAIL.size:
        raise ValueError("it is too short for a parquet file")
    length, magic = TAIL.unpack(tail[-TAIL.size :])
    if magic != MAGIC:
        raise ValueError("it does not end as a parquet file does")
    if length + TAIL.size > stored:
        raise ValueError(f"its footer says that it has {length:,} bytes, more than the file")
    if length + TAIL.size > len(tail):
        stream.seek(stored - TAIL.size - length)
        tail = stream.read(length + TAIL.size)
    return Footer(tail[-TAIL.size - length : -TAIL.size])


def pages_of(stream: BinaryIO, chunk: Chunk) -> Pages:
    """Return what the headers of a chunk's pages say; ThriftError if one cannot be read."""
    sizes, repeating = 0, 0
    # A column without values has none, whatever it says of their place.
    for header in _headers(stream, chunk) if chunk.values > 0 else ():
        unpacked = number(header, 2)
        sizes += unpacked
        encoding = number(inner(header, 5), 2) or number(inner(header, 8), 4)
        if encoding == DELTA_BYTE_ARRAY:
            repeating = max(repeating, unpacked)
    return Pages(sizes, repeating)


def _headers(stream: BinaryIO, chunk: Chunk) -> Iterator[Fields]:
    at, end = chunk.start, chunk.start + chunk.packed
    while at < end:
        header, length = _header(stream, at, end)
        packed, unpacked = number(header, 3), number(header, 2)
        if packed < 0 or unpacked < 0 or at + length + packed > end + FORGOTTEN_BYTES:
            raise ThriftError("a page says that it is longer than its column")
        at += length + packed
        yield header


def _header(stream: BinaryIO, at: int, end: int) -> tuple[Fields, int]:
    most = HEADER_BYTES
    while True:
        stream.seek(at)
        try:
            return read_fields(stream.read(min(most, end - at)))
        except ThriftError:
            if most >= min(MOST_HEADER_BYTES, end - at):
                raise
            most *= 16


def _leaves(fields: Fields) -> list[tuple[str, int, int]]:
    """Return the path, the type and the bytes of a value of each column, in their order."""
    found, names, left = list[tuple[str, int, int]](), list[str](), list[int]()
    for at, element in enumerate(one for one in several(fields, 2) if isinstance(one, dict)):
        while left and left[-1] == 0:
            names.pop()
            left.pop()
        if left:
            left[-1] -= 1
        if 1 in element and not number(element, 5):
            kind = number(element, 1)
            width = number(element, 2) if kind == FIXED else WIDTHS.get(kind, 0)
            found.append((".".join((*names[1:], text(element, 4))), kind, width))
        else:
            # The first is the file's own and has no part in paths.
            names.append(text(element, 4) if at else "")
            left.append(number(element, 5))
    return found


def _chunks(group: Fields, leaves: list[tuple[str, int, int]]) -> dict[str, tuple[Chunk, ...]]:
    # By their places: what a chunk says of its own path, readers do not heed.
    found = dict[str, tuple[Chunk, ...]]()
    for (path, kind, width), column in zip(leaves, several(group, 1), strict=False):
        known = inner(column, 3) if isinstance(column, dict) else {}
        start, dictionary = number(known, 9), number(known, 11)
        chunk = Chunk(
            kind=kind,
            width=width,
            values=number(known, 5),
            unpacked=number(known, 6),
            packed=number(known, 7),
            start=dictionary if 0 < dictionary < start else start,
            dictionary=dictionary > 0,
        )
        found[path] = (*found.get(path, ()), chunk)
    return found
