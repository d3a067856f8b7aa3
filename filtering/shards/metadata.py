"""DataComp metadata: a parquet table and an uncompressed npz beside it, row for row."""

import contextlib
import io
import math
import struct
import zipfile
from collections.abc import Iterator, Mapping
from typing import IO, Any, BinaryIO, Literal, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from filtering.core.errors import InputError, first_line
from filtering.core.uids import derived_uid
from filtering.shards.names import CAPTIONS, column
from filtering.storage.store import is_local, open_object

LOCAL_HEADER_BYTES = 30
# By this package's names of columns, those of others. A picture's own size comes before that of its stored copy.
KNOWN_AS = {
    "uid": ("uid",),
    "key": ("key",),
    "caption": CAPTIONS,
    "width": ("original_width", "width"),
    "height": ("original_height", "height"),
}
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

    Columns may be named in capitals, as LAION's are. A uid is in lower case, null where the parquet has none; a key is
    then the row's number, unless there is a key. UnreadableError if the parquet is damaged. What the storage raises
    passes as it is.
    """
    with _opened(url, "the table") as stream:
        file = pq.ParquetFile(stream)
        found = {name: column(file.schema_arrow.names, known) for name, known in KNOWN_AS.items()}
        read = {name: there for name, there in found.items() if there is not None}
        # Of a table without any of them, the number of rows.
        table = file.read(columns=sorted(set(read.values())) or file.schema_arrow.names[:1])
        return _renamed(table, read)


def with_uids(table: pa.Table, place: str) -> pa.Table:
    """Return a table of `read_columns` with uids derived from a shard's place and keys where there is none."""
    missing = np.asarray(table["uid"].is_null())
    if not missing.any():
        return table
    keys, uids = table["key"].filter(pa.array(missing)).to_pylist(), table["uid"].to_numpy()
    uids[missing] = [derived_uid(place, key) for key in keys]
    return table.set_column(table.column_names.index("uid"), "uid", pa.array(uids, pa.string()))


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


def _renamed(table: pa.Table, read: Mapping[str, str]) -> pa.Table:
    uid = pc.utf8_lower(_texts(table, read.get("uid")))
    return pa.table(
        {
            "uid": uid,
            "key": _keys(table, uid, read.get("key")),
            "caption": _texts(table, read.get("caption")).fill_null(""),
            "width": _sizes(table, read.get("width")),
            "height": _sizes(table, read.get("height")),
        }
    )


def _keys(table: pa.Table, uid: pa.ChunkedArray, name: str | None) -> pa.ChunkedArray:
    """Return keys: a row's own, else its uid, else its number."""
    keys = uid if name is None else _texts(table, name)
    if not keys.null_count:
        return keys
    numbers = pa.array(np.arange(len(table))).cast(pa.string())
    return pc.if_else(uid.is_null(), pc.coalesce(keys, numbers), keys.fill_null(""))


def _texts(table: pa.Table, name: str | None) -> pa.ChunkedArray:
    texts = pa.nulls(len(table), pa.string()) if name is None else table[name].cast(pa.string())
    return pa.chunked_array([texts]) if isinstance(texts, pa.Array) else texts


def _sizes(table: pa.Table, name: str | None) -> Any:
    if name is None:
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
