"""Which objects are meant: by paths, brace ranges, globs, folders, and webdataset's lists joined with `::`."""

import glob
import re
from collections.abc import Iterable, Iterator

import fsspec
from braceexpand import UnbalancedBracesError, braceexpand  # type: ignore[attr-defined]
from fsspec.implementations.local import LocalFileSystem

from filtering.core.errors import FilteringError, InputError, first_line
from filtering.core.uid_rule import CACHES
from filtering.shards.braces import check_braces
from filtering.storage.retries import retried
from filtering.storage.urls import (
    ARCHIVES,
    absolute,
    filesystem_of,
    is_http,
    is_pattern,
    scheme,
    without_query,
)

SPECIAL = re.compile(r"[*?\[{\\]")
# What stands before `::` in a chain of fsspec: filesystems over another one. Anything else there ends an entry.
SEVERAL = re.compile(r"\.(tar|tgz|parquet|gz)[\s,;|]+\S")
# A path was made absolute: what stood at its beginning stands after a slash.
ONE_SLASH = re.compile(r"^(?:/.*)?/(s3a?|gc?s|az|abfss?|hf|https?|hdfs|oss):/?[^/]")


def expand(patterns: str | Iterable[str], suffix: str) -> list[str]:
    """Return the URLs that paths, brace ranges, globs, folders or joined lists stand for, in order, each once.

    Names that are there as they are written come first: their braces and wildcards stand for themselves. A folder
    stands for the objects in it that end in `suffix`. InputError if a pattern matches nothing.
    """
    given = [patterns] if isinstance(patterns, str) else list(patterns)
    check_braces(given)
    entries = (entry for pattern in given for entry in _entries(pattern))
    return list(dict.fromkeys(url for entry in entries for url in _expanded(entry, suffix)))


def why_missing(url: str) -> str:
    """Return in words that a URL is not there, and what was probably meant."""
    if SEVERAL.search(url):
        return "is not there; write several as a YAML list, [a.tar, b.tar]"
    if match := ONE_SLASH.search(url):
        return f"is not there; a URL begins with {match[1]}://"
    return "is not there"


def _entries(pattern: str) -> Iterator[str]:
    """Yield the entries of a list joined with `::`; a chain such as simplecache::s3://bucket/x is one entry."""
    if "::" not in pattern or _is_there(pattern):
        yield pattern
        return
    chain: list[str] = []
    for part in pattern.split("::"):
        chain.append(part)
        if not part:
            raise InputError(f"{pattern}: an entry between :: is empty")
        if part.partition("://")[0] not in CACHES | ARCHIVES:
            yield "::".join(chain)
            chain = []
    if chain:
        raise InputError(f"{pattern}: nothing follows {chain[-1]}, which reads another URL: {chain[-1]}::s3://bucket/x")


def _is_there(path: str) -> bool:
    """Say whether there is such a local path."""
    return "://" not in path and LocalFileSystem().exists(path)


def _expanded(entry: str, suffix: str) -> Iterator[str]:
    if entry.startswith("pipe:"):
        raise InputError(
            f"{entry}: pipe: runs a command, which is not done here; name the objects (s3://..., https://...)"
        )
    head, rest = _literal(entry)
    try:
        ranges = list(braceexpand(rest)) if "{" in rest or "}" in rest else [rest]
    except UnbalancedBracesError:
        raise InputError(f"{entry}: its braces do not match") from None
    for one in ranges:
        # What the braces gave may be a name with wildcards that is there, too.
        yield from _matches(*(_literal(head + one) if one else (head, "")), suffix)


def _literal(url: str) -> tuple[str, str]:
    """Split off the longest beginning, of whole names, that is there with all the special characters in it."""
    if not SPECIAL.search(url) or "::" in url or is_http(url):
        return "", url
    parts = url.split("/")
    known, first = 0, 4 if "://" in url and not url.startswith("file:") else 1
    for at in range(first, len(parts) + 1):
        if SPECIAL.search(parts[at - 1]):
            if not _exists("/".join(parts[:at])):
                break
            known = at
    head = "/".join(parts[:known])
    return head, url[len(head) :]


def _exists(url: str) -> bool:
    filesystem, path = filesystem_of(url)
    try:
        return bool(retried(lambda: filesystem.exists(path), url))
    except InputError:
        # A store may deny a name that only a pattern makes; what it stands for is listed next, with its own error.
        return False


def _matches(head: str, rest: str, suffix: str) -> list[str]:
    """Return what a URL stands for whose first part is to be taken as it is."""
    url = head + rest
    filesystem, path = filesystem_of(url)
    if is_pattern(url if is_http(url) else rest):
        beginning = filesystem_of(head)[1] if head else ""
        pattern = glob.escape(beginning) + path[len(beginning) :]
        try:
            found = sorted(retried(lambda: filesystem.glob(pattern), url))
        except FilteringError:
            raise
        except ValueError as error:
            raise InputError(f"{url}: is no pattern ({first_line(error)})") from None
    elif without_query(path).endswith(suffix) or (listed := _folder(filesystem, path, url)) is None:
        return [absolute(url)]
    else:
        found = sorted(entry for entry in listed if without_query(entry).endswith(suffix))
    if not found:
        raise InputError(f"{url}: no {suffix} file is there{_remedy(url)}")
    return [_url(filesystem, entry, url) for entry in found]


def _remedy(url: str) -> str:
    if is_http(url):
        return "; without an index that links to them, name them by a brace range"
    return "; subfolders are not searched" + ("" if is_pattern(url) else "; name them by a glob, */*")


def _url(filesystem: fsspec.AbstractFileSystem, entry: str, pattern: str) -> str:
    """Return the URL of an entry of the filesystem that a pattern is on."""
    if isinstance(filesystem, LocalFileSystem):
        return entry
    outer, chained, inner = pattern.partition("::")
    if chained and outer not in CACHES:
        return f"{scheme(outer)}://{entry}::{inner}"
    unstripped: str = filesystem.unstrip_protocol(entry)
    return f"{outer}::{unstripped}" if chained else unstripped


def _folder(filesystem: fsspec.AbstractFileSystem, folder: str, url: str) -> list[str] | None:
    """Return what is directly inside a folder, in one listing, or None if it is none."""
    try:
        listed: list[str] = retried(lambda: filesystem.ls(folder, detail=False), url)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return None if listed == [folder] else listed
