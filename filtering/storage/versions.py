"""What tells one content of an object from another: its size, and its etag or the time of its last change."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filtering.core.errors import RunError
from filtering.storage.retries import retried
from filtering.storage.urls import filesystem_of, is_local

# What filesystems call it; the first that an object has is taken.
NAMES = ("ETag", "etag", "md5Hash", "blob_id", "mtime", "LastModified", "last_modified", "created")
DELETED = "it was deleted"
ADDED = "it was added"
WRITTEN_AGAIN = "it was written again"
LISTED = "since the run listed it"
WHILE_READ = "while the run read it"


@dataclass(frozen=True, slots=True)
class Version:
    """The size of an object in bytes, and its etag or, on a disk, the time of its last change.

    Of a file that is reached through a link it is the version of the file that the link leads to, and where that is.
    """

    size: int
    mark: str


# What is not there has a version too, so that its arrival is a change.
ABSENT = Version(0, "")


def version_of(url: str) -> Version:
    """Return the version of an object now; FileNotFoundError if there is none."""
    filesystem, path = filesystem_of(url)
    return entry_version(url, retried(lambda: filesystem.info(path), url))


def entry_version(url: str, entry: Mapping[str, object]) -> Version:
    """Return the version of an object that its filesystem describes so."""
    size = int(str(entry["size"]))
    if is_local(url):
        path = filesystem_of(url)[1]
        # The description is the link's own, also where a folder above is the link.
        if (real := os.path.realpath(path)) != path:
            return _linked(Path(real).stat(), real)
    return Version(size, mark_of(entry))


def _linked(led_to: os.stat_result, real: str) -> Version:
    return Version(led_to.st_size, f"{led_to.st_mtime} {real}")


def mark_of(entry: Mapping[str, object]) -> str:
    """Return what tells a content of an object from others of its size, nothing if its filesystem tells nothing."""
    return next((str(entry[name]) for name in NAMES if entry.get(name) is not None), "")


def opened_version(url: str, stream: Any) -> Version:
    """Return the version of an object that is open, without another request where that is known.

    S3 and the web describe an object when it is opened, and hand out no other one from then on. On a disk it is the
    version of the file that is open, although its name may stand for another one by now.
    """
    if is_local(url):
        path, now = filesystem_of(url)[1], os.fstat(stream.fileno())
        real = os.path.realpath(path)
        return _linked(now, real) if real != path else Version(now.st_size, str(now.st_mtime))
    described = getattr(stream, "details", None)
    return entry_version(url, described) if isinstance(described, Mapping) else version_of(url)


def difference(before: Version, now: Version) -> str:
    """Return in words how an object differs from what it was, nothing if it does not."""
    if now != before and ABSENT in (before, now):
        return DELETED if now == ABSENT else ADDED
    if now.size != before.size:
        return f"its size has changed from {before.size:,} to {now.size:,} bytes"
    return "" if now == before else WRITTEN_AGAIN


def versions_of(urls: Iterable[str]) -> dict[str, Version]:
    """Return the version of each of some objects that a run has listed; RunError names one that is gone since."""
    found = dict[str, Version]()
    for url in urls:
        with deletion_refused(url):
            found[url] = version_of(url)
    return found


def change_of(url: str, before: Version) -> str:
    """Return in words how an object differs now from what it was, nothing if it does not."""
    try:
        return difference(before, version_of(url))
    except FileNotFoundError:
        return DELETED


def check_unchanged(versions: Mapping[str, Version]) -> None:
    """Check that objects are what they were; RunError names the first that is not."""
    for url, before in versions.items():
        refuse_change(url, change_of(url, before), WHILE_READ)


def refuse_change(url: str, changed: str, since: str) -> None:
    """Refuse an object of which there is to be said how it has changed: RunError; nothing happens otherwise."""
    if changed:
        raise changed_error(url, changed, since)


@contextlib.contextmanager
def deletion_refused(url: str) -> Iterator[None]:
    """Refuse an object that was listed and is gone when the block looks at it or reads it: RunError names it."""
    try:
        yield
    except FileNotFoundError:
        raise changed_error(url, DELETED, LISTED) from None


def changed_error(url: str, changed: str, since: str) -> RunError:
    """Return the error of an object that is no longer what it was."""
    return RunError(f"{url}: {changed} {since}; give the same command again")
