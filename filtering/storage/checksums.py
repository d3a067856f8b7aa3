"""Objects that carry their own checksum: the tables, arrays and records of a run's stages.

An object has one slot of 8 hex digits: the CRC-32 of its folder's name, its own and all its bytes, the slot taken as
zeros. So damage is noticed wherever the object is read, objects that were exchanged among them, without an
index of all objects. Every object stays valid in its own format: the slot is in a parquet file's key-value metadata,
in the comment of an npz, behind the data of an npy, and in a key of a JSON object.
"""

import hashlib
import io
import json
import mmap
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from filtering.core.errors import MAKE_ANEW, DamagedError, first_line
from filtering.storage.decoding import decoded_json

Buffer = bytes | memoryview | mmap.mmap

KEY = "filtering.crc32"
EMPTY = b"00000000"
# Between key and digits stand an equals sign, the quotes of JSON, or two tags of a parquet footer.
SLOT = re.compile(KEY.replace(".", r"\.").encode() + rb"[^0-9a-f]{1,4}([0-9a-f]{8})")
PLAIN_SLOT = f"{KEY}=".encode() + EMPTY
# Behind a slot stands no more than the schema at the end of a parquet footer.
TAIL = 1 << 16


class MissingError(DamagedError, FileNotFoundError):
    """An object of a run that is not there."""

    def __init__(self, url: str, fault: str = "is missing", remedy: str = MAKE_ANEW) -> None:
        super().__init__(url, fault, remedy)


def table_bytes(url: str, table: pa.Table) -> bytes:
    """Return a parquet file for a URL; equal tables give equal bytes."""
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, table.schema, compression="zstd") as writer:
        writer.write_table(table)
        add_slot(writer)
    return _filled(url, buffer)


def add_slot(writer: pq.ParquetWriter) -> None:
    """Add an empty slot to a parquet file that is being written."""
    writer.add_key_value_metadata({KEY: EMPTY.decode()})


def arrays_bytes(url: str, arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Return an uncompressed npz for a URL."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    # The last two bytes of a zip are the length of its comment.
    buffer.seek(-2, io.SEEK_END)
    buffer.write(len(PLAIN_SLOT).to_bytes(2, "little") + PLAIN_SLOT)
    return _filled(url, buffer)


def array_bytes(url: str, array: npt.NDArray[Any]) -> bytes:
    """Return an npy for a URL."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    buffer.write(PLAIN_SLOT)
    return _filled(url, buffer)


def record_bytes(url: str, record: Mapping[str, Any]) -> bytes:
    """Return a JSON object for a URL."""
    return _filled(url, io.BytesIO(json.dumps({**record, KEY: EMPTY.decode()}, indent=1).encode() + b"\n"))


def moved(url: str, data: bytes) -> bytes:
    """Return an object, checked before under another URL, as the object of a URL."""
    at = _slot(data)
    assert at is not None
    return b"".join([data[:at], _digits(url, data, at), data[at + len(EMPTY) :]])


def content_sum(data: bytes) -> str:
    """Return the sha256, in hex, of what an object that was checked holds: the same under every URL."""
    at = _slot(data)
    assert at is not None
    return hashlib.sha256(b"".join([data[:at], EMPTY, data[at + len(EMPTY) :]])).hexdigest()


def fill_file(url: str, path: Path) -> None:
    """Fill the empty slot of a finished file that becomes the object of a URL."""
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as data:
        at = _slot(data)
        assert at is not None
        data[at : at + len(EMPTY)] = _digits(url, data, at)


def has_slot(data: Buffer) -> bool:
    """Say whether an object carries a checksum."""
    return _slot(data) is not None


def check(url: str, data: Buffer) -> None:
    """Check the object of a URL; DamagedError if it does not hold what was written."""
    at = _slot(data)
    if at is None:
        raise DamagedError(url, "has no checksum: it is damaged, or an older version of filtering wrote it")
    with memoryview(data) as view:
        found = bytes(view[at : at + len(EMPTY)])
    if found != _digits(url, data, at):
        raise DamagedError(url, "is damaged (its checksum differs)")


def read_output(url: str, data: bytes, columns: list[str] | None = None) -> pa.Table:
    """Return a table that a run has written for its users, or some of its columns; DamagedError if it is damaged.

    Whoever has written it again for themselves left out the checksum, which is then not looked for.
    """
    if has_slot(data):
        check(url, data)
    return parsed_table(url, data, columns)


@contextmanager
def _parsing(url: str) -> Iterator[None]:
    """Turn what readers raise of bytes that are something else into a DamagedError: of every kind, by their formats."""
    try:
        yield
    except Exception as error:
        raise DamagedError(url, f"is damaged ({first_line(error)})") from None


class Arrays(dict[str, npt.NDArray[Any]]):
    """The arrays of the npz of a URL, by name; DamagedError where one is asked for that it does not hold."""

    def __init__(self, url: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        super().__init__(arrays)
        self.url = url

    def __missing__(self, name: str) -> npt.NDArray[Any]:
        raise DamagedError(self.url, f"is damaged: it has no array {name}")


def parsed_table(url: str, data: bytes, columns: list[str] | None = None) -> pa.Table:
    """Return a parquet table that was checked, or some of its columns; DamagedError if it is something else."""
    with _parsing(url):
        return pq.ParquetFile(pa.BufferReader(data)).read(columns=columns).replace_schema_metadata(None)


def parsed_arrays(url: str, data: bytes) -> Arrays:
    """Return the arrays of an npz that was checked; nothing is unpickled; DamagedError if it is something else."""
    with _parsing(url), np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return Arrays(url, arrays)


def parsed_array(url: str, data: bytes) -> npt.NDArray[Any]:
    """Return the array of an npy that was checked; nothing is unpickled; DamagedError if it is something else."""
    with _parsing(url):
        array: npt.NDArray[Any] = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
        return array


def mapped_array(url: str, path: str) -> npt.NDArray[Any]:
    """Return the array of an npy on a disk, checked and mapped; DamagedError or FileNotFoundError."""
    with Path(path).open("rb") as file:
        if not file.seek(0, io.SEEK_END):
            raise DamagedError(url, "is damaged (it is empty)")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            check(url, data)
    with _parsing(url):
        array: npt.NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
        return array


def parsed_record(url: str, data: bytes) -> dict[str, Any]:
    """Return a JSON object that was checked; DamagedError if it is something else."""
    record = decoded_json(data, url)
    if not isinstance(record, dict) or KEY not in record:
        raise DamagedError(url, "is no JSON object with a checksum, it is damaged")
    del record[KEY]
    return record


def name_sum(url: str) -> int:
    """Return the CRC-32 of an object's name and its folder's, with which the checksum of its bytes begins."""
    # A run may move as a whole, but none of its objects may stand for another.
    return zlib.crc32("/".join(url.rstrip("/").rsplit("/", 2)[-2:]).encode() + b"\0")


def _filled(url: str, buffer: io.BytesIO) -> bytes:
    with buffer.getbuffer() as data:
        at = _slot(data)
        assert at is not None
        data[at : at + len(EMPTY)] = _digits(url, data, at)
    return buffer.getvalue()


def _digits(url: str, data: Buffer, at: int) -> bytes:
    """Return the digits that belong into the slot at `at`, whatever stands there."""
    with memoryview(data) as view:
        found = zlib.crc32(view[:at], name_sum(url))
        found = zlib.crc32(view[at + len(EMPTY) :], zlib.crc32(EMPTY, found))
    return f"{found:08x}".encode()


def _slot(data: Buffer) -> int | None:
    """Return where the digits of the last slot are, None if there is none."""
    with memoryview(data) as view:
        start = max(len(view) - TAIL, 0)
        tail = bytes(view[start:])
    found = SLOT.match(tail, max(tail.rfind(KEY.encode()), 0))
    return start + found.start(1) if found else None
