"""Tables of metadata, and the arrays beside them, row for row: DataComp's npz, and npy files as clip-retrieval has."""

import contextlib
import io
import struct
import zipfile
from collections.abc import Iterator
from typing import IO, Any, BinaryIO, Literal, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filtering.core.errors import InputError, first_line
from filtering.shards.columns import DATACOMP, ColumnNames, TableRows, table_rows
from filtering.shards.npy import ArrayHeader, npy_header
from filtering.shards.parquet import BoundedParquet
from filtering.storage.listed import open_listed
from filtering.storage.store import is_local
from filtering.storage.versions import Version

LOCAL_HEADER_BYTES = 30
UID_PATTERN = r"\A[0-9a-f]{32}\z"
# A compressed array may have this many bytes, whatever its size in the file, and so many for each of these: vectors are
# hardly smaller compressed, and what is would only take the memory.
BYTES_ALWAYS = 64 << 20
BYTES_A_BYTE = 32
CHECKED_AT_ONCE = 1 << 20


class UnreadableError(InputError):
    """An object that is no such table or array; a storage that does not hand it out raises errors of its own."""


def array_names(url: str, version: Version | None = None) -> list[str]:
    """Return the names of the arrays in an npz; errors as in `read_array`."""
    with opened(url, "the npz", version) as stream, zipfile.ZipFile(stream) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


def read_array(url: str, name: str, version: Version | None = None, whole: bool = True) -> npt.NDArray[Any]:
    """Return an array of an npz; on a local disk an uncompressed one is mapped in place.

    It is compared with its checksum, for which a mapped one is read, unless `whole` is False: for those of a version
    that have been read before, and of which a part is wanted.

    UnreadableError if the npz is damaged, has no array of that name, says that it is larger than the file can hold, or
    holds pickled objects, which are never loaded; RunError if it has another version than the one given. What the
    storage raises passes as it is.
    """
    with opened(url, f"array {name}", version) as stream, zipfile.ZipFile(stream) as archive:
        entry, header = _checked_entry(archive, url, name)
        if header.dtype.hasobject:
            raise ValueError("it holds pickled objects, which are never loaded")
        # Before the array is read from another storage too: one file is not damaged on a disk and whole elsewhere.
        stored = entry.compress_type == zipfile.ZIP_STORED
        start = _data_start(archive, stream.stream, entry) if stored else 0
        if stored and is_local(url):
            if whole:
                _check_sum(archive, entry)
            return _mapped(stream.stream, start, header)
        with archive.open(entry) as member:
            array: npt.NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
            _read_on(member)
            return array


def read_npy(url: str, version: Version | None = None) -> npt.NDArray[Any]:
    """Return the array of an npy, mapped in place on a local disk; it has no checksum.

    UnreadableError if the npy is damaged, says that it is larger than it is, or holds pickled objects; RunError if it
    has another version than the one given. What the storage raises passes as it is.
    """
    with opened(url, "the npy", version) as stream:
        header = _checked_npy(stream.stream, url)
        if header.dtype.hasobject:
            raise ValueError("it holds pickled objects, which are never loaded")
        if is_local(url):
            return _mapped(stream.stream, 0, header)
        stream.seek(0)
        array: npt.NDArray[Any] = np.lib.format.read_array(stream.stream, allow_pickle=False)
        return array


def npy_header_of(url: str) -> ArrayHeader:
    """Return what an npy says of its array, without reading it; errors as in `read_npy`."""
    with opened(url, "the npy") as stream:
        return _checked_npy(stream.stream, url)


def _checked_npy(stream: BinaryIO, url: str) -> ArrayHeader:
    header, size = npy_header(stream), stream.seek(0, io.SEEK_END)
    if header.start + header.nbytes > size:
        raise UnreadableError(f"{url}: says that it has the shape {header.shape}, which the file cannot hold")
    return header


def array_header(url: str, name: str) -> ArrayHeader:
    """Return what an array of an npz says of itself, without reading it; errors as in `read_array`."""
    with opened(url, f"array {name}") as stream, zipfile.ZipFile(stream) as archive:
        return _checked_entry(archive, url, name)[1]


def read_columns(url: str, names: ColumnNames = DATACOMP) -> TableRows:
    """Return the rows of a table; those that cannot be used, all of them at worst, have a reason.

    `names` are those that its columns may have.

    UnreadableError if the parquet's footer is damaged, so that it does not even tell how many rows there are, or tells
    more than the file can hold. What the storage raises passes as it is.
    """
    with opened(url, "the table") as stream:
        file = BoundedParquet(stream.stream, stream.seek(0, io.SEEK_END))
        return table_rows(file, lambda error: stream.failure is None, names)


def row_count(url: str) -> int:
    """Return how many rows a parquet has, from its footer; errors as in `read_columns`."""
    with opened(url, "the table") as stream:
        return BoundedParquet(stream.stream, stream.seek(0, io.SEEK_END)).rows


def malformed_uids(uids: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Return, for each uid, whether it is not 32 lower-case hex digits; bool (n,)."""
    matched = pc.fill_null(pc.match_substring_regex(uids, UID_PATTERN), False)
    return ~np.asarray(matched.to_numpy(), dtype=bool)


class Watched:
    """A stream that remembers what its storage raised, so that its bytes are not blamed for that."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.failure: Exception | None = None

    @property
    def stream(self) -> BinaryIO:
        """Itself, as readers want it."""
        return cast(BinaryIO, self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def read(self, size: int = -1) -> bytes:
        """Read as a stream does, and remember what is raised."""
        try:
            return self._stream.read(size)
        except Exception as error:
            self.failure = error
            raise


@contextlib.contextmanager
def opened(url: str, what: str, version: Version | None = None) -> Iterator["Watched"]:
    """Open an object of which `what` is read, and turn what damaged bytes raise into one line for a person.

    RunError if it has another version than the one given, or no longer has it when it has been read.
    """
    with open_listed(url, version) as stream:
        watched = Watched(stream)
        try:
            yield watched
        except (InputError, MemoryError):
            raise
        except Exception as error:
            if watched.failure is not None:
                raise watched.failure from None
            # Readers meet damaged bytes with errors of every kind; pyarrow has OSErrors among them.
            raise UnreadableError(f"{url}: {what} cannot be read ({first_line(error)})") from None


def _checked_entry(archive: zipfile.ZipFile, url: str, name: str) -> tuple[zipfile.ZipInfo, ArrayHeader]:
    """Return where an array lies, and its header, which says no more than there are bytes for."""
    try:
        entry = archive.getinfo(f"{name}.npy")
    except KeyError:
        raise UnreadableError(f"{url}: has no array {name}") from None
    with archive.open(entry) as member:
        header = npy_header(member)
    stored = entry.compress_type == zipfile.ZIP_STORED
    most = entry.compress_size if stored else BYTES_ALWAYS + BYTES_A_BYTE * entry.compress_size
    # What follows the array is read too, for the checksum.
    if max(entry.file_size, header.start + header.nbytes) > most or header.start + header.nbytes > entry.file_size:
        raise UnreadableError(
            f"{url}: array {name} says that it has the shape {header.shape}, which the file cannot hold"
        )
    return entry, header


def _check_sum(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    """Read a member; BadZipFile if its CRC-32 is not that of its bytes."""
    with archive.open(entry) as member:
        _read_on(member)


def _read_on(member: IO[bytes]) -> None:
    """Read a member to its end, where its sum is compared: its array may end before."""
    while member.read(CHECKED_AT_ONCE):
        pass


def _data_start(archive: zipfile.ZipFile, stream: BinaryIO, entry: zipfile.ZipInfo) -> int:
    """Return where the bytes of a stored member start: after the zip's local header. They end before the next one's."""
    stream.seek(entry.header_offset)
    name_bytes, extra_bytes = struct.unpack("<HH", stream.read(LOCAL_HEADER_BYTES)[26:30])
    start = entry.header_offset + LOCAL_HEADER_BYTES + name_bytes + extra_bytes
    after = [other.header_offset for other in archive.infolist() if other.header_offset > entry.header_offset]
    # The archive's own list of members comes after the last one.
    end = min([archive.start_dir, *after])
    if start + entry.file_size > end:
        raise ValueError(f"it says that it has {entry.file_size:,} bytes, but {max(end - start, 0):,} are there")
    return int(start)


def _mapped(stream: BinaryIO, start: int, header: ArrayHeader) -> npt.NDArray[Any]:
    """Map an array of an open file: of the one that was checked, whatever its name stands for by now."""
    order: Literal["F", "C"] = "F" if header.fortran else "C"
    place = start + header.start
    mapped: npt.NDArray[Any] = np.memmap(stream, header.dtype, "r", place, header.shape, order).reshape(header.shape)
    return mapped
