"""Objects of others that a run listed: what is read of them are the bytes that they had then."""

import contextlib
from collections.abc import Iterator
from typing import BinaryIO

from filtering.storage.retries import retried
from filtering.storage.store import filesystem_of, is_local, open_object
from filtering.storage.streams import checks_versions, count_bytes
from filtering.storage.versions import (
    LISTED,
    Version,
    change_of,
    deletion_refused,
    difference,
    opened_version,
    refuse_change,
)


@contextlib.contextmanager
def open_listed(url: str, version: Version | None) -> Iterator[BinaryIO]:
    """Open an object for reading here and there in it, as `open_object`; all of it must be read inside.

    RunError that names it if it does not have the version when it is opened, or no longer when it has been read; of
    None, which is for checks before a run lists anything, every version is read.
    """
    if version is None:
        with open_object(url) as stream:
            yield stream
        return
    with deletion_refused(url):
        stream = open_object(url)
    with stream:
        with deletion_refused(url):
            refuse_change(url, difference(version, opened_version(url, stream)), LISTED)
        try:
            yield stream
        finally:
            # Also where reading failed: it may have met half of what is being written.
            refuse_change(url, _change(url, stream, version), LISTED)


def read_listed(url: str, version: Version, size: int = -1) -> bytes:
    """Return an object, or its first `size` bytes; errors as in `open_listed`."""

    def read() -> bytes:
        with open_listed(url, version) as stream:
            data = stream.read(size)
        count_bytes(filesystem_of(url)[0], "read_bytes", len(data))
        return data

    return retried(read, url)


def _change(url: str, stream: BinaryIO, version: Version) -> str:
    """Return in words how an object that is open differs by now from what it was, nothing if it does not."""
    if is_local(url):
        # Bytes that are written over are those of the open file, too; under its name another may lie by now.
        return difference(version, opened_version(url, stream))
    # Ours hand out no other version from when an object was opened on.
    return "" if checks_versions(filesystem_of(url)[0]) else change_of(url, version)
