"""Whose an output is: names that this program writes are known exactly, and all else is left alone."""

import hashlib
import os
import posixpath
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from filtering.core.errors import FilteringError, InputError, one_line
from filtering.core.visible import is_utf8
from filtering.storage.local import whole_name
from filtering.storage.store import Store, filesystem_of, is_local, stream_object
from filtering.storage.urls import last_link

SHOWN = 3
READ_AT_ONCE = 1 << 20
EMPTY = "); choose an empty folder"
INSIST = "); choose an empty folder, or give --into-existing, which leaves them as they are"


@dataclass(frozen=True, slots=True)
class Layout:
    """What is written into an output: the key or option that names it, and the names directly inside it."""

    key: str  # such as "output"
    names: re.Pattern[str]  # matches the whole name of a file or folder
    insisting: bool = True  # whether who writes it has the option --into-existing


def check_utf8(key: str, url: str) -> None:
    """Refuse an output whose name is not UTF-8: InputError."""
    if not is_utf8(url):
        raise InputError(f"{key}: {url} is not UTF-8, which no record can hold; choose another name")


def check_folder(key: str, url: str) -> None:
    """Refuse an output whose name is not UTF-8, or on a disk that is, or lies inside, what is no folder: InputError."""
    check_utf8(key, url)
    if not is_local(url):
        return
    path = Path(filesystem_of(url)[1])
    there = next((one for one in (path, *path.parents) if os.path.lexists(one)), path)
    if there.is_dir() or not os.path.lexists(there):
        return
    if there == path:
        raise InputError(f"{key}: {url} is no folder; choose another")
    raise InputError(f"{key}: {url} lies in {there}, which is no folder; choose another")


def check_inputs(out: Store, layout: Layout, inputs: Iterable[str]) -> None:
    """Refuse an output where a name that is written could be that of an object of the input, a URL or a path each."""
    top = place_of(out.url)
    for url in inputs:
        for place in _places(url):
            inside = place.removeprefix(f"{top}/")
            direct = inside != place and ("/" not in inside or layout.names.fullmatch(inside.partition("/")[0]))
            if direct or f"{top}/".startswith(f"{place}/"):
                raise InputError(f"{layout.key}: {out.url} is where the input has {url}; choose a folder of its own")


def check_output(out: Store, layout: Layout, known: Collection[str], into_existing: bool) -> None:
    """Refuse an output that holds what this program did not write; `known` are the names that it did write.

    With `into_existing` other files may be there, but for those whose names are written.
    """
    names = [name for name in _names(out, layout.key) if name not in known and not _is_half(name, layout)]
    taken = next((name for name in names if layout.names.fullmatch(name)), None)
    if taken is not None:
        raise InputError(
            f"{layout.key}: {out.path(taken)} is there and was not written by filtering, which would write that name; "
            "move it away, or choose another folder"
        )
    if names and not into_existing:
        more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
        raise InputError(
            f"{layout.key}: {out.url} holds files that do not belong to this output "
            f"({', '.join(names[:SHOWN])}{more}" + (INSIST if layout.insisting else EMPTY)
        )


def delete_halves(folder: Store, is_own: Callable[[str], object] = bool) -> None:
    """Delete the temporary files directly inside, those of names that are `is_own`, which killed writes have left.

    Nobody may write there now. Only disks have any: other stores show no object before it is whole.
    """
    for name in folder.names(".tmp") if is_local(folder.url) else ():
        if whole_name(name) != name and is_own(whole_name(name)):
            folder.delete(name)


def checksum_of(url: str) -> str:
    """Return the sha256 of the object of a URL, in hex; 1 MiB of it is in memory at a time."""
    found = hashlib.sha256()
    with stream_object(url) as stream:
        while part := stream.read(READ_AT_ONCE):
            found.update(part)
    return found.hexdigest()


def place_of(url: str) -> str:
    """Return the place of a folder, however its URL is spelled; links on a disk are followed."""
    filesystem, path = filesystem_of(url)
    if is_local(url):
        return os.path.realpath(path).rstrip("/")
    protocol = filesystem.protocol if isinstance(filesystem.protocol, str) else filesystem.protocol[0]
    return path.rstrip("/") if "://" in path else f"{protocol}://{posixpath.normpath(path)}"


# A pool has few folders and many shards.
_folder_place = lru_cache(maxsize=4096)(place_of)


def _places(url: str) -> Iterator[str]:
    """Find where an object lies, of a chain the one that the others are in.

    Yields
    ------
    str
        Its place and, if that is a link on a disk, what the link leads to.
    """
    folder, slash, name = last_link(url).rpartition("/")
    place = f"{_folder_place(folder + slash or '.')}/{name}"
    yield place
    if place.startswith("/") and Path(place).is_symlink():
        yield os.path.realpath(place)


def _is_half(name: str, layout: Layout) -> bool:
    """Return whether a write of this program that was killed left a file of that name."""
    return whole_name(name) != name and layout.names.fullmatch(whole_name(name)) is not None


def _names(out: Store, key: str) -> list[str]:
    try:
        names = out.names()
    except FilteringError:
        raise
    except Exception as error:
        # Every filesystem has errors of its own, and each of them means the same here.
        raise InputError(f"{key}: {out.url} cannot be listed ({one_line(error)})") from error
    own = out.url.rstrip("/").rpartition("/")[2]
    # A file in the place of the folder, or the object that some stores keep for a folder, is listed by its own name.
    return [] if names == [own] and not out.exists(own) else names
