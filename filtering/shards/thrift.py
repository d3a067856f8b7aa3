"""Structures in Thrift's compact protocol, in which parquet keeps what it says of itself.

Anyone may have written them. pyarrow reads them too, but it ends the process where some of their numbers contradict
each other, and tells nothing of the pages.
"""

import struct
from typing import TypeAlias

Value: TypeAlias = "bool | int | float | bytes | list[Value] | dict[int, Value]"
Fields = dict[int, Value]
TRUE, FALSE, BYTE, SHORT, INT, LONG, DOUBLE, BINARY, LIST, SET, MAP, STRUCT, UUID = range(1, 14)
UUID_BYTES = 16
# Structures of parquet are five deep at most.
MAX_DEPTH = 32


class ThriftError(ValueError):
    """Bytes that are no structure of Thrift, or end within one."""


def read_fields(data: bytes, at: int = 0) -> tuple[Fields, int]:
    """Return the fields of the structure that begins at a place, by their numbers, and where it ends."""
    reader = _Reader(data, at)
    return reader.fields(0), reader.at


def number(fields: Fields, field: int) -> int:
    """Return a whole number; 0 where there is none."""
    value = fields.get(field)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def inner(fields: Fields, field: int) -> Fields:
    """Return a structure within another; without fields where there is none."""
    value = fields.get(field)
    return value if isinstance(value, dict) else {}


def several(fields: Fields, field: int) -> list[Value]:
    """Return a list; empty where there is none."""
    value = fields.get(field)
    return value if isinstance(value, list) else []


def text(fields: Fields, field: int) -> str:
    """Return a name; empty where there is none."""
    value = fields.get(field)
    return value.decode(errors="replace") if isinstance(value, bytes) else ""


class _Reader:
    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = data, at

    def fields(self, depth: int) -> Fields:
        if depth > MAX_DEPTH:
            raise ThriftError("structures are nested too deep")
        found, field = Fields(), 0
        while (head := self.byte()) != 0:
            field = field + (head >> 4) if head >> 4 else self.signed()
            found[field] = self.value(head & 15, depth)
        return found

    def value(self, kind: int, depth: int) -> Value:
        if kind in (TRUE, FALSE):
            return kind == TRUE
        if kind == BYTE:
            return self.byte()
        if kind in (SHORT, INT, LONG):
            return self.signed()
        if kind == DOUBLE:
            return float(struct.unpack("<d", self.take(8))[0])
        if kind == BINARY:
            return self.take(self.varint())
        if kind in (LIST, SET):
            return self.items(depth)
        if kind == STRUCT:
            return self.fields(depth + 1)
        if kind == UUID:
            return self.take(UUID_BYTES)
        raise ThriftError(f"a field is of the unknown kind {kind}")

    def items(self, depth: int) -> list[Value]:
        if depth > MAX_DEPTH:
            raise ThriftError("structures are nested too deep")
        head = self.byte()
        count = head >> 4 if head >> 4 < 15 else self.varint()
        if count > len(self.data) - self.at:
            raise ThriftError("a list has more values than there are bytes")
        if head & 15 in (TRUE, FALSE):
            return [self.byte() == TRUE for _ in range(count)]
        return [self.value(head & 15, depth + 1) for _ in range(count)]

    def signed(self) -> int:
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise ThriftError("a number has too many bytes")

    def byte(self) -> int:
        if self.at >= len(self.data):
            raise ThriftError("ends within a structure")
        self.at += 1
        return self.data[self.at - 1]

    def take(self, size: int) -> bytes:
        if size > len(self.data) - self.at:
            raise ThriftError("ends within a structure")
        self.at += size
        return self.data[self.at - size : self.at]
