"""DataComp metadata: a parquet table and an uncompressed npz beside it, row for row."""

import contextlib
import io
import math
import struct
import zipfile
from collections.abc import Iterator
from typing import IO, Any, BinaryIO, Literal, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from filtering.core.errors import InputError, first_line
from filtering.storage.store import is_local, open_object

LOCAL_HEADER_BYTES = 30
UID_PATTERN = r"\A[0-9a-f]{32}\z"
# Deflate packs no more bytes than this into one: an array that says it is larger would only take the memory.
MOST_IN_A_BYTE = 1032


class UnreadableError(InputError):
    """An object that is no such table or array; a storage that does not hand it out raises errors of its own."""


def array_names(url: str) -> list[str]:
    """Return the names of the arrays in an npz; errors as in `read_array`."""
    with _opened(url, "the npz") as stream, zipfile.ZipFile(stream) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


def read_array(url: str, name: str) -> npt.NDArray[Any]:
    """Return an array of an npz; on a local disk an uncompressed one is mapped in place, not read.

    UnreadableError if the npz is damaged, has no array of that name, or holds pickled objects, which are never loaded.
    What the storage raises passes as it is.
    """
    with _opened(url, f"array {name}") as stream, zipfile.ZipFile(stream) as archive:
        entry = _entry(archive, url, name)
        if is_local(url) and entry.compress_type == zipfile.ZIP_STORED:
            return _mapped(url, stream, entry.header_offset)
        with archive.open(entry) as member:
            shape, _, dtype = npy_header(member)
            if math.prod(shape) * dtype.itemsize > MOST_IN_A_BYTE * stream.seek(0, io.SEEK_END):
                raise UnreadableError(
                    f"{url}: array {name} says that it has the shape {shape}, which the file cannot hold"
                )
            member.seek(0)
            array: npt.NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
            return array


def array_shape(url: str, name: str) -> tuple[int, ...]:
    """Return the shape of an array of an npz, from its header alone; errors as in `read_array`."""
    with (
        _opened(url, f"array {name}") as stream,
        zipfile.ZipFile(stream) as archive,
        archive.open(_entry(archive, url, name)) as member,
    ):
        return npy_header(member)[0]


def read_columns(url: str) -> pa.Table:
    """Return uid, key, caption and sizes of a DataComp parquet, under this package's names.

    UnreadableError if the parquet is damaged or has no uid column. What the storage raises passes as it is.
    """
    with _opened(url, "the table") as stream:
        file = pq.ParquetFile(stream)
        present = set(file.schema_arrow.names)
        if "uid" not in present:
            raise UnreadableError(f"{url}: has no uid column")
        wanted = ["uid", "key", "text", "caption", "original_width", "original_height"]
        return _renamed(file.read(columns=[name for name in wanted if name in present]))


def malformed_uids(uids: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Return, for each uid, whether it is not 32 lower-case hex digits; bool (n,)."""
    matched = pc.fill_null(pc.match_substring_regex(uids, UID_PATTERN), False)
    return ~np.asarray(matched.to_numpy(), dtype=bool)


class _Watched:
    """A stream that remembers what its storage raised, so that its bytes are not blamed for that."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.failure: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def read(self, size: int = -1) -> bytes:
        try:
            return self._stream.read(size)
        except Exception as error:
            self.failure = error
            raise


@contextlib.contextmanager
def _opened(url: str, what: str) -> Iterator[BinaryIO]:
    """Open an object of which `what` is read, and turn what damaged bytes raise into one line for a person."""
    with open_object(url) as stream:
        watched = _Watched(stream)
        try:
            yield cast(BinaryIO, watched)
        except (UnreadableError, MemoryError):
            raise
        except Exception as error:
            if watched.failure is not None:
                raise watched.failure from None
            # Readers meet damaged bytes with errors of every kind; pyarrow has OSErrors among them.
            raise UnreadableError(f"{url}: {what} cannot be read ({first_line(error)})") from None


def _entry(archive: zipfile.ZipFile, url: str, name: str) -> zipfile.ZipInfo:
    try:
        return archive.getinfo(f"{name}.npy")
    except KeyError:
        raise UnreadableError(f"{url}: has no array {name}") from None


def _renamed(table: pa.Table) -> pa.Table:
    uid = table["uid"].cast(pa.string())
    key = table["key"].cast(pa.string()) if "key" in table.column_names else uid
    caption = next((table[name] for name in ("text", "caption") if name in table.column_names), None)
    caption = pa.nulls(len(table), pa.string()) if caption is None else caption.cast(pa.string())
    return pa.table(
        {
            "uid": uid,
            "key": key.fill_null("") if key.null_count else key,
            "caption": caption.fill_null(""),
            "width": _sizes(table, "original_width"),
            "height": _sizes(table, "original_height"),
        }
    )


def _sizes(table: pa.Table, name: str) -> Any:
    if name not in table.column_names:
        return pa.nulls(len(table), pa.int32())
    return table[name].cast(pa.int32(), safe=False)


def _mapped(url: str, stream: BinaryIO, header_offset: int) -> npt.NDArray[Any]:
    """Map a stored npy member: its data starts after the zip's local header and the npy header."""
    stream.seek(header_offset)
    name_bytes, extra_bytes = struct.unpack("<HH", stream.read(LOCAL_HEADER_BYTES)[26:30])
    stream.seek(header_offset + LOCAL_HEADER_BYTES + name_bytes + extra_bytes)
    shape, fortran, dtype = npy_header(stream)
    if dtype.hasobject:
        raise ValueError("it holds pickled objects, which are never loaded")
    order: Literal["F", "C"] = "F" if fortran else "C"
    path = url.removeprefix("file://")
    mapped: npt.NDArray[Any] = np.memmap(path, dtype, "r", stream.tell(), shape, order).reshape(shape)
    return mapped


def npy_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, Fortran order and dtype of the npy that starts here; the stream is left at its data."""
    version = np.lib.format.read_magic(stream)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0}.get(version, np.lib.format.read_array_header_2_0)
    shape, fortran, dtype = read_header(stream)
    return shape, fortran, dtype
