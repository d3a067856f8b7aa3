"""Which objects a pattern stands for: a path, a brace range, a glob, a directory."""

from collections.abc import Iterable

import fsspec
from braceexpand import UnbalancedBracesError, braceexpand  # type: ignore[attr-defined]
from fsspec.implementations.local import LocalFileSystem

from filtering.core.errors import InputError
from filtering.storage.retries import retried
from filtering.storage.store import absolute, filesystem_of, is_pattern


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
    if is_pattern(path):
        found = sorted(retried(lambda: filesystem.glob(path), url))
    elif path.endswith(suffix) or (listed := _listed(filesystem, path, url)) is None:
        return [absolute(url)]
    else:
        found = sorted(entry for entry in listed if entry.endswith(suffix))
    if not found:
        raise InputError(f"{url}: no {suffix} file is there")
    local = isinstance(filesystem, LocalFileSystem)
    return [entry if local else filesystem.unstrip_protocol(entry) for entry in found]


def _listed(filesystem: fsspec.AbstractFileSystem, folder: str, url: str) -> list[str] | None:
    """Return what is directly inside a folder, in one listing, or None if it is none."""
    try:
        listed: list[str] = retried(lambda: filesystem.ls(folder, detail=False), url)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return None if listed == [folder] else listed
