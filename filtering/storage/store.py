"""Objects on any fsspec filesystem: whole writes, markers written last.

No rename is relied upon: on object stores an object appears whole or not at all; on a local disk a write goes
through a temporary file, because there a killed writer would leave half an object behind.
"""

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import fsspec
import numpy.typing as npt
import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem

from filtering.storage import checksums
from filtering.storage.decoding import decoded_json
from filtering.storage.local import check_is_file, create_whole, move_whole, remove_empty_folders, write_whole
from filtering.storage.retries import retried
from filtering.storage.streams import block_stream, checks_versions, count_bytes, disk_stream, is_s3
from filtering.storage.urls import absolute as absolute
from filtering.storage.urls import filesystem_of as filesystem_of
from filtering.storage.urls import is_local as is_local
from filtering.storage.urls import is_pattern
from filtering.storage.written import note, note_deleted

MARKER = ".done"
DELETED_AT_ONCE = 1000
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Store:
    """A folder on a filesystem, local or remote, addressed by its URL."""

    url: str

    def child(self, name: str) -> "Store":
        """Return the folder `name` inside this one."""
        return Store(self.path(name))

    def path(self, name: str) -> str:
        """Return the URL of the object `name`."""
        return f"{self.url.rstrip('/')}/{name}"

    def write(self, name: str, data: bytes) -> None:
        """Write a whole object, replacing what was there."""
        write_object(self.path(name), data)

    def read(self, name: str) -> bytes:
        """Return a whole object; FileNotFoundError if there is none."""
        return read_object(self.path(name))

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON object."""
        self.write(name, json.dumps(value, indent=1).encode() + b"\n")

    def read_json(self, name: str) -> Any:
        """Return a JSON object; DamagedError if it is not JSON."""
        return decoded_json(self.read(name), self.path(name))

    def write_table(self, name: str, table: pa.Table) -> None:
        """Write a parquet table with a checksum; equal tables give equal bytes."""
        self.write(name, checksums.table_bytes(self.path(name), table))

    def read_table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """Return a table with a checksum, or some of its columns; DamagedError if it is damaged or missing."""
        return checksums.parsed_table(self.path(name), self.read_checked(name), columns)

    def write_arrays(self, name: str, arrays: dict[str, npt.NDArray[Any]]) -> None:
        """Write named arrays as one uncompressed npz object with a checksum."""
        self.write(name, checksums.arrays_bytes(self.path(name), arrays))

    def read_arrays(self, name: str) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays of an npz object with a checksum; nothing is unpickled; DamagedError as `read_table`."""
        return checksums.parsed_arrays(self.path(name), self.read_checked(name))

    def read_array(self, name: str) -> npt.NDArray[Any]:
        """Return the array of an npy object with a checksum, mapped, not read, on a disk; DamagedError as above."""
        url = self.path(name)
        if not is_local(url):
            return checksums.parsed_array(url, self.read_checked(name))
        try:
            return checksums.mapped_array(url, filesystem_of(url)[1])
        except FileNotFoundError:
            raise checksums.MissingError(url) from None

    def write_record(self, name: str, record: Mapping[str, Any]) -> None:
        """Write a JSON object with a checksum."""
        self.write(name, checksums.record_bytes(self.path(name), record))

    def read_record(self, name: str) -> dict[str, Any]:
        """Return a JSON object with a checksum; DamagedError as above."""
        return checksums.parsed_record(self.path(name), self.read_checked(name))

    def read_checked(self, name: str) -> bytes:
        """Return the bytes of an object with a checksum; DamagedError if it is damaged or missing."""
        data = self.read_present(name)
        checksums.check(self.path(name), data)
        return data

    def is_checked(self, name: str) -> bool:
        """Read and check an object; return whether it has a checksum of this kind at all."""
        data = self.read_present(name)
        if found := checksums.has_slot(data):
            checksums.check(self.path(name), data)
        return found

    def read_present(self, name: str) -> bytes:
        """Return an object of a run, unchecked; MissingError, a DamagedError, if it is not there."""
        try:
            return self.read(name)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise checksums.MissingError(self.path(name)) from None

    def copy(self, name: str, source: "Store") -> None:
        """Copy an object with a checksum from another folder."""
        self.write(name, checksums.moved(self.path(name), source.read_checked(name)))

    def exists(self, name: str) -> bool:
        """Say whether the object `name` is there."""
        return _asked(self.path(name), lambda filesystem, path: bool(filesystem.exists(path)))

    def names(self, suffix: str = "") -> list[str]:
        """Return the names of the objects directly inside that end in `suffix`, sorted; one listing."""
        try:
            listed = _asked(self.url, lambda filesystem, path: filesystem.ls(path, detail=False, refresh=True))
        except (FileNotFoundError, NotADirectoryError):
            return []
        names = (entry.rstrip("/").rsplit("/", 1)[-1] for entry in listed)
        return sorted(name for name in names if name.endswith(suffix))

    def sizes(self) -> dict[str, int]:
        """Return the bytes of every object inside, however deep, by its name; one listing."""
        top = filesystem_of(self.url)[1].rstrip("/") + "/"
        found = _asked(self.url, lambda filesystem, path: filesystem.find(path, detail=True))
        return {name.removeprefix(top): int(entry["size"]) for name, entry in found.items()}

    def delete(self, name: str) -> None:
        """Delete an object if it is there."""
        with contextlib.suppress(FileNotFoundError):
            _asked(self.path(name), lambda filesystem, path: filesystem.rm_file(path))
        note_deleted(self.path(name))

    def delete_all(self, suffix: str) -> None:
        """Delete the objects directly inside that end in `suffix`."""
        for name in self.names(suffix):
            self.delete(name)

    def delete_folder(self, name: str) -> None:
        """Delete the folder `name`, if it is there, with all it holds."""
        _asked(self.path(name), _delete_folder)

    def delete_but(self, stays: Callable[[str], bool]) -> int:
        """Delete every object inside, however deep, but those whose URL stays; return how many those are."""
        top = filesystem_of(self.url)[1].rstrip("/")
        found: list[str] = _asked(self.url, lambda filesystem, path: filesystem.find(path))
        going = [entry for entry in found if not stays(self.url.rstrip("/") + entry.removeprefix(top))]
        for start in range(0, len(going), DELETED_AT_ONCE):
            _asked(self.url, partial(_delete_objects, going[start : start + DELETED_AT_ONCE]))
        if is_local(self.url):
            remove_empty_folders(Path(top), map(Path, going))
        return len(found) - len(going)


def _delete_objects(names: list[str], filesystem: fsspec.AbstractFileSystem, path: str) -> None:
    plain = [name for name in names if not is_pattern(name)]
    if plain:
        filesystem.rm(plain)
    for name in set(names).difference(plain):
        # Many at once would be taken for patterns, and what matches them deleted.
        with contextlib.suppress(FileNotFoundError):
            filesystem.rm_file(name)


def _delete_folder(filesystem: fsspec.AbstractFileSystem, path: str) -> None:
    if not filesystem.isdir(path):
        return
    if is_pattern(path) and not isinstance(filesystem, LocalFileSystem):
        _delete_objects(filesystem.find(path), filesystem, path)
    else:
        filesystem.rm(path, recursive=True)


def _asked(url: str, operation: Callable[[fsspec.AbstractFileSystem, str], Result]) -> Result:
    """Return what an operation on a URL's filesystem returns; it must come to the same when it is done twice."""
    filesystem, path = filesystem_of(url)
    if isinstance(filesystem, LocalFileSystem):
        check_is_file(path)
    return retried(lambda: operation(filesystem, path), url)


def open_object(url: str) -> BinaryIO:
    """Open an object for reading here and there in it, as parquet and zip files are read."""
    stream: BinaryIO = _asked(url, lambda filesystem, path: filesystem.open(path, "rb"))
    return stream


def stream_object(url: str) -> BinaryIO:
    """Open an object that is read once, from start to end: a remote one by `block_stream`, with its errors."""
    filesystem, path = filesystem_of(url)
    return disk_stream(path) if isinstance(filesystem, LocalFileSystem) else block_stream(filesystem, path, url)


def read_object(url: str) -> bytes:
    """Return a whole object; FileNotFoundError if there is none."""
    return read_range(url, None, None)


def read_range(url: str, start: int | None, end: int | None, version: str = "") -> bytes:
    """Return the bytes [start, end) of an object, fewer where it ends before.

    On S3 and the web (no other store takes it with a range) RunError if the object's version is no longer `version`.
    """

    def read(filesystem: fsspec.AbstractFileSystem, path: str) -> bytes:
        if version and checks_versions(filesystem):
            return bytes(filesystem.read_block(path, start, end, version))
        data = bytes(filesystem.cat_file(path, start=start, end=end))
        count_bytes(filesystem, "read_bytes", len(data))
        return data

    return _asked(url, read)


def write_chunks(
    url: str, chunks: Iterable[bytes | memoryview], finish: Callable[[BinaryIO], None] | None = None
) -> None:
    """Write a whole object chunk by chunk: none but the last chunk is in memory; `finish` as in `write_whole`."""
    filesystem, path = filesystem_of(url)
    if isinstance(filesystem, LocalFileSystem):
        write_whole(Path(path), chunks, finish)
        note(url, Path(path).stat().st_size)
        count_bytes(filesystem, "written_bytes", Path(path).stat().st_size)
        return
    with tempfile.TemporaryDirectory(prefix="filtering-") as folder:
        file = Path(folder) / "object"
        write_whole(file, chunks, finish)
        commit_file(url, str(file))


def write_object(url: str, data: bytes) -> None:
    """Write a whole object, replacing what was there."""

    def write(filesystem: fsspec.AbstractFileSystem, path: str) -> None:
        if isinstance(filesystem, LocalFileSystem):
            write_whole(Path(path), (data,))
        else:
            filesystem.pipe_file(path, data)
        count_bytes(filesystem, "written_bytes", len(data))

    _asked(url, write)
    note(url, len(data))


def create_object(url: str, data: bytes) -> bool:
    """Create a whole object only if none is there, and return whether it was created.

    On a local disk and on S3 exactly one of several that try at once succeeds. Other filesystems are asked first and
    written to after: there, two that try within that moment may both believe that they succeeded.
    """
    filesystem, path = filesystem_of(url)
    if isinstance(filesystem, LocalFileSystem):
        created = create_whole(Path(path), data)
    elif is_s3(filesystem):
        created = filesystem.create(path, data)
    else:
        created = not _asked(url, lambda filesystem, path: filesystem.exists(path))
        if created:
            _asked(url, lambda filesystem, path: filesystem.pipe_file(path, data))
    if created:
        count_bytes(filesystem, "written_bytes", len(data))
    return created


def commit_file(url: str, path: str) -> None:
    """Make a finished local file an object, whole or not at all, and remove the file; to S3 in parts if it is large."""
    filesystem, target = filesystem_of(url)
    size = Path(path).stat().st_size
    if isinstance(filesystem, LocalFileSystem):
        move_whole(Path(path), Path(target))
    else:
        _asked(url, lambda filesystem, target: filesystem.put_file(path, target))
        Path(path).unlink()
    note(url, size)
    count_bytes(filesystem, "written_bytes", size)


def digest(value: Any) -> str:
    """Return 16 hex digits that identify JSON-able data: the fingerprint of a stage or a shard."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def checksum(data: bytes) -> str:
    """Return the sha256 of an object, in hex."""
    return hashlib.sha256(data).hexdigest()
