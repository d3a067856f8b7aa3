"""Objects on any fsspec filesystem: whole writes, markers written last, expansion of shard patterns.

No rename is relied upon: on object stores an object appears whole or not at all; on a local disk a write goes
through a temporary file, because there a killed writer would leave half an object behind.
"""

import hashlib
import io
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import fsspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from braceexpand import UnbalancedBracesError, braceexpand  # type: ignore[attr-defined]
from fsspec.implementations.local import LocalFileSystem

from filtering.errors import InputError, RunError

MARKER = ".done"


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
        """Return a JSON object; RunError if it is not JSON."""
        try:
            return json.loads(self.read(name))
        except ValueError:
            raise RunError(f"{self.path(name)}: is not JSON, the file is damaged") from None

    def write_table(self, name: str, table: pa.Table) -> None:
        """Write a parquet table; equal tables give equal bytes."""
        self.write(name, parquet_bytes(table))

    def read_table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """Return a parquet table, or some of its columns."""
        return read_parquet(self.path(name), columns)

    def write_arrays(self, name: str, arrays: dict[str, npt.NDArray[Any]]) -> None:
        """Write named arrays as one uncompressed npz object."""
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        self.write(name, buffer.getvalue())

    def read_arrays(self, name: str) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays of an npz object; nothing is unpickled."""
        with np.load(io.BytesIO(self.read(name)), allow_pickle=False) as arrays:
            return dict(arrays)

    def exists(self, name: str) -> bool:
        """Say whether the object `name` is there."""
        filesystem, path = filesystem_of(self.path(name))
        return bool(filesystem.exists(path))

    def names(self, suffix: str = "") -> list[str]:
        """Return the names of the objects directly inside that end in `suffix`, sorted; one listing."""
        filesystem, path = filesystem_of(self.url)
        try:
            listed = filesystem.ls(path, detail=False, refresh=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        names = (entry.rstrip("/").rsplit("/", 1)[-1] for entry in listed)
        return sorted(name for name in names if name.endswith(suffix))

    def delete(self, name: str) -> None:
        """Delete an object if it is there."""
        filesystem, path = filesystem_of(self.path(name))
        if filesystem.exists(path):
            filesystem.rm_file(path)

    def delete_folders(self, prefix: str) -> None:
        """Delete every folder directly inside whose name starts with `prefix`, with all it holds."""
        filesystem, path = filesystem_of(self.url)
        for name in self.names():
            if name.startswith(prefix) and filesystem.isdir(f"{path.rstrip('/')}/{name}"):
                filesystem.rm(f"{path.rstrip('/')}/{name}", recursive=True)


def filesystem_of(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """Return the filesystem of a URL and the path on it.

    Listings are never cached: other processes write what this one reads.
    """
    try:
        filesystem, path = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        raise InputError(f"{url}: cannot be opened ({error})") from None
    return filesystem, path


def is_local(url: str) -> bool:
    """Say whether a URL is on this machine's disk."""
    return isinstance(filesystem_of(url)[0], LocalFileSystem)


def absolute(url: str) -> str:
    """Return a local path made absolute, so that workers elsewhere in the tree find it; other URLs as is."""
    filesystem, path = filesystem_of(url)
    return path if isinstance(filesystem, LocalFileSystem) else url


def open_object(url: str) -> BinaryIO:
    """Open an object for reading as a stream."""
    filesystem, path = filesystem_of(url)
    stream: BinaryIO = filesystem.open(path, "rb")
    return stream


def read_object(url: str) -> bytes:
    """Return a whole object; FileNotFoundError if there is none."""
    filesystem, path = filesystem_of(url)
    data: bytes = filesystem.cat_file(path)
    return data


def write_object(url: str, data: bytes) -> None:
    """Write a whole object, replacing what was there."""
    filesystem, path = filesystem_of(url)
    if not isinstance(filesystem, LocalFileSystem):
        filesystem.pipe_file(path, data)
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(f"{path}.{os.getpid()}.tmp")
    temporary.write_bytes(data)
    temporary.replace(path)


def parquet_bytes(table: pa.Table) -> bytes:
    """Return the bytes of a parquet file that holds the table."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def read_parquet(url: str, columns: list[str] | None = None) -> pa.Table:
    """Return a parquet table, or some of its columns."""
    with open_object(url) as stream:
        return pq.ParquetFile(stream).read(columns=columns)


def digest(value: Any) -> str:
    """Return 16 hex digits that identify JSON-able data: the fingerprint of a stage or a shard."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def checksum(data: bytes) -> str:
    """Return the sha256 of an object, in hex."""
    return hashlib.sha256(data).hexdigest()


def expand(patterns: str | Iterable[str], suffix: str) -> list[str]:
    """Return the URLs that paths, brace ranges, globs or directories stand for, in order, each once.

    Parameters
    ----------
    patterns : str or list of str
        A directory stands for the objects in it that end in `suffix`.
    suffix : str
        Such as ``.tar``.

    Raises
    ------
    InputError
        If a pattern matches nothing.
    """
    given = [patterns] if isinstance(patterns, str) else list(patterns)
    urls: dict[str, None] = {}
    for pattern in given:
        try:
            ranges = list(braceexpand(pattern))
        except UnbalancedBracesError:
            raise InputError(f"{pattern}: its braces do not match") from None
        for url in ranges:
            urls.update(dict.fromkeys(_matches(url, suffix)))
    return list(urls)


def _matches(url: str, suffix: str) -> list[str]:
    filesystem, path = filesystem_of(url)
    if any(character in path for character in "*?["):
        found = sorted(filesystem.glob(path))
    elif not path.endswith(suffix) and filesystem.isdir(path):
        found = sorted(entry for entry in filesystem.ls(path, detail=False) if entry.endswith(suffix))
    else:
        return [absolute(url)]
    if not found:
        raise InputError(f"{url}: no {suffix} file is there")
    local = isinstance(filesystem, LocalFileSystem)
    return [entry if local else filesystem.unstrip_protocol(entry) for entry in found]
