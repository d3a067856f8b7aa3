"""What storage says of many objects at once, and which of them cannot be read as shards."""

import os
import posixpath
import stat
from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec

from filtering.core.visible import is_utf8
from filtering.shards.patterns import why_missing
from filtering.storage.local import NO_FILE
from filtering.storage.retries import retried
from filtering.storage.urls import filesystem_of, is_http, is_local

REQUESTS_AT_ONCE = 16
S3 = ("s3://", "s3a://")
# In the URL of a bucket.
BUCKET_SLASHES = 2
# An object as its filesystem describes it: its name, type and size, and what it has of a version.
Entry = Mapping[str, Any]


def listed(urls: Iterable[str]) -> dict[str, Entry]:
    """Return the entry of each URL that is there: by one listing of each folder, on the web by a request for each."""
    folders: dict[tuple[fsspec.AbstractFileSystem, str], dict[str, str]] = defaultdict(dict)
    alone: list[str] = []
    places: dict[str, tuple[fsspec.AbstractFileSystem, str]] = {}
    for url in urls:
        filesystem, path = _place(url, places)
        # A listing does not show what lies in a folder without a name.
        if is_http(url) or "//" in path:
            alone.append(url)
        else:
            folders[filesystem, posixpath.dirname(path)][path] = url
    known: dict[str, Entry] = {}
    for (filesystem, folder), members in folders.items():
        for entry in _entries(filesystem, folder, next(iter(members.values()))):
            if (found := members.get(entry["name"])) is not None:
                known[found] = entry
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as threads:
        asked = zip(alone, threads.map(_entry, alone), strict=True)
        return known | {url: entry for url, entry in asked if entry is not None}


def _place(url: str, places: dict[str, tuple[fsspec.AbstractFileSystem, str]]) -> tuple[fsspec.AbstractFileSystem, str]:
    """Return the filesystem of a URL and the path on it; of one on S3 as its folder's, which `places` keeps."""
    folder, _, name = url.rpartition("/")
    if not url.startswith(S3) or "::" in url or "?" in url or not name or folder.count("/") < BUCKET_SLASHES:
        return filesystem_of(url)
    if folder not in places:
        places[folder] = filesystem_of(folder)
    filesystem, path = places[folder]
    return filesystem, f"{path}/{name}"


def unusable(url: str, entry: Entry | None) -> str:
    """Return in words why an object cannot be read as a shard, nothing if it can."""
    if not is_utf8(url):
        return "has a name that is not UTF-8, which no table can hold; rename it"
    if is_local(url):
        return _unusable_file(url)
    if entry is None:
        return why_missing(url)
    return "is a folder" if entry.get("type") == "directory" else ""


def unusable_arrays(url: str, entry: Entry | None) -> str:
    """Return in words why what stands where an npz belongs cannot be one, nothing if it can, or none is there."""
    if not is_local(url):
        return "is a folder" if entry is not None and entry.get("type") == "directory" else ""
    try:
        Path(filesystem_of(url)[1]).stat()
    except FileNotFoundError:
        return ""
    except OSError:
        # `_unusable_file` says why.
        pass
    return _unusable_file(url)


def _entries(filesystem: fsspec.AbstractFileSystem, folder: str, url: str) -> list[Entry]:
    try:
        entries: list[Entry] = retried(lambda: filesystem.ls(folder, detail=True), posixpath.dirname(url))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return entries


def _entry(url: str) -> Entry | None:
    filesystem, path = filesystem_of(url)
    try:
        entry: Entry = retried(lambda: filesystem.info(path), url)
    except FileNotFoundError:
        return None
    return entry


def _unusable_file(url: str) -> str:
    path = Path(filesystem_of(url)[1])
    try:
        mode = path.stat().st_mode
    except PermissionError:
        return "is in a folder that may not be read (permission denied)"
    except OSError:
        return "is a link to nothing" if path.is_symlink() else why_missing(url)
    if stat.S_ISDIR(mode):
        return "is a folder"
    if not stat.S_ISREG(mode):
        return NO_FILE
    return "" if os.access(path, os.R_OK) else "may not be read (permission denied)"
