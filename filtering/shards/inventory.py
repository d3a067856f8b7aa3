"""The inventory: which shards a pool has, each with an identity that changes when its content does."""

import posixpath
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import fsspec
from braceexpand import UnbalancedBracesError, braceexpand  # type: ignore[attr-defined]
from fsspec.implementations.local import LocalFileSystem

from filtering.config.run import Input
from filtering.core.errors import InputError
from filtering.storage.retries import retried
from filtering.storage.store import Store, absolute, digest, filesystem_of, is_pattern

INVENTORY = "shards.json"


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard of the pool: a tar, or a parquet file of DataComp metadata; `index` is its place in the inventory.

    Its version is the store's etag, or the modification time on a disk.
    """

    index: int
    url: str
    size: int
    version: str

    @property
    def name(self) -> str:
        """Base name, such as 00000000.tar."""
        return base_name(self.url)

    @property
    def identity(self) -> str:
        """16 hex digits that name the shard's objects and change with its content."""
        return digest([self.url, self.size, self.version])

    def plain(self) -> dict[str, str | int]:
        """Return the shard as JSON-able data."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class InventoryResult:
    """How many shards a pool has, and their bytes together."""

    shards: int
    bytes: int

    @property
    def summary(self) -> str:
        """One line for a person."""
        return f"{self.shards:,} shards, {self.bytes / 1e6:,.1f} MB"


def write_inventory(store: Store, shards: Sequence[Shard]) -> None:
    """Write an inventory into a folder."""
    store.write_record(INVENTORY, {"shards": [shard.plain() for shard in shards]})


def read_inventory(store: Store) -> list[Shard]:
    """Return the inventory in a folder; FileNotFoundError if there is none."""
    return [Shard(**shard) for shard in store.read_record(INVENTORY)["shards"]]


def base_name(url: str) -> str:
    """Return the last part of a path or URL."""
    return posixpath.basename(url)


def list_shards(source: Input) -> list[Shard]:
    """Return the pool's shards in the order of their patterns; InputError where one matches nothing or is missing."""
    if source.shards is not None:
        return _found("input.shards", expand(source.shards, ".tar"))
    return _found("input.metadata", expand(source.metadata or (), ".parquet"))


def arrays_url(shard: Shard) -> str:
    """Return the npz that belongs to a parquet file of DataComp metadata."""
    return shard.url.removesuffix(".parquet") + ".npz"


def size_and_version(url: str) -> tuple[int, str]:
    """Return an object's size and version as an inventory has them; FileNotFoundError if there is none."""
    filesystem, path = filesystem_of(url)
    entry = retried(lambda: filesystem.info(path), url)
    return int(entry["size"]), _version(entry)


def current(shard: Shard) -> Shard:
    """Return a shard with the size and version that it has now; FileNotFoundError if it is gone."""
    size, version = size_and_version(shard.url)
    return replace(shard, size=size, version=version)


def difference(before: Shard, now: Shard) -> str:
    """Return in words how a shard differs from an earlier inventory, nothing if it does not."""
    if now.size != before.size:
        return f"its size has changed from {before.size:,} to {now.size:,} bytes"
    return "" if now.version == before.version else "it was written again"


def _found(key: str, urls: list[str]) -> list[Shard]:
    if not urls:
        raise InputError(f"{key}: names no shard")
    known = _listed(urls)
    missing = [url for url in urls if url not in known]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise InputError(f"{key}: {missing[0]} is not there{more}")
    return [Shard(index, url, *known[url]) for index, url in enumerate(urls)]


def _listed(urls: Iterable[str]) -> dict[str, tuple[int, str]]:
    """Return size and version of each URL, with one listing for each folder rather than one request each."""
    folders: dict[str, list[str]] = defaultdict(list)
    for url in urls:
        folders[posixpath.dirname(url)].append(url)
    known: dict[str, tuple[int, str]] = {}
    for members in folders.values():
        filesystem, path = filesystem_of(members[0])
        try:
            entries = {entry["name"]: entry for entry in filesystem.ls(posixpath.dirname(path), detail=True)}
        except (FileNotFoundError, NotADirectoryError):
            continue
        for url in members:
            entry = entries.get(filesystem_of(url)[1])
            if entry is not None:
                known[url] = int(entry["size"]), _version(entry)
    return known


def _version(entry: Mapping[str, object]) -> str:
    names = ("ETag", "etag", "md5Hash", "mtime", "LastModified")
    return next((str(entry[name]) for name in names if entry.get(name) is not None), "")


def expand(patterns: str | Iterable[str], suffix: str) -> list[str]:
    """Return the URLs that paths, brace ranges, globs or directories stand for, in order, each once.

    A directory stands for the objects in it that end in `suffix`. InputError if a pattern matches nothing.
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
    elif path.endswith(suffix) or (listed := _folder(filesystem, path, url)) is None:
        return [absolute(url)]
    else:
        found = sorted(entry for entry in listed if entry.endswith(suffix))
    if not found:
        raise InputError(f"{url}: no {suffix} file is there")
    local = isinstance(filesystem, LocalFileSystem)
    return [entry if local else filesystem.unstrip_protocol(entry) for entry in found]


def _folder(filesystem: fsspec.AbstractFileSystem, folder: str, url: str) -> list[str] | None:
    """Return what is directly inside a folder, in one listing, or None if it is none."""
    try:
        listed: list[str] = retried(lambda: filesystem.ls(folder, detail=False), url)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return None if listed == [folder] else listed
