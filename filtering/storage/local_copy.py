"""Copies of remote objects on this machine's disk, for libraries that read nothing but files."""

import tempfile
from functools import cache, partial
from pathlib import Path, PurePosixPath

from filtering.storage.local import write_whole
from filtering.storage.store import digest, stream_object
from filtering.storage.urls import without_query
from filtering.storage.versions import Version, change_of, refuse_change, version_of

PIECE = 1 << 20
COPIED = "while it was downloaded"


def local_copy(url: str) -> str:
    """Return the path of a copy of an object as it is now, under its own name; FileNotFoundError if there is none.

    It is downloaded once in a process, again when it has been written again, and deleted when the process ends.
    RunError if it is written again while it is downloaded.
    """
    return _copied(url, version_of(url))


@cache
def _copied(url: str, version: Version) -> str:
    folder = Path(_folder().name) / digest([url, version.size, version.mark])
    folder.mkdir(exist_ok=True)
    path = folder / PurePosixPath(without_query(url)).name
    with stream_object(url) as source:
        write_whole(path, iter(partial(source.read, PIECE), b""))
    refuse_change(url, change_of(url, version), COPIED)
    return str(path)


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="filtering-")
