"""The inventory: which shards a pool has, each with an identity that changes when its content does."""

import logging
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from filtering.config.run import Input
from filtering.core.errors import InputError
from filtering.core.secrets import redacted
from filtering.shards.listing import listed, unusable
from filtering.shards.patterns import expand
from filtering.storage.retries import retried
from filtering.storage.store import Store, digest, filesystem_of
from filtering.storage.urls import beside, without_query

LOG = logging.getLogger(__name__)
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
    return posixpath.basename(without_query(url))


def list_shards(source: Input) -> list[Shard]:
    """Return the pool's shards in the order of their patterns; InputError where one matches nothing or is missing."""
    if source.shards is not None:
        return _found("input.shards", expand(source.shards, ".tar"))
    return _found("input.metadata", expand(source.metadata or (), ".parquet"))


def arrays_url(shard: Shard) -> str:
    """Return the npz that belongs to a parquet file of DataComp metadata."""
    return beside(shard.url, ".parquet", ".npz")


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
    known = listed(urls)
    faults = {url: fault for url in urls if (fault := unusable(url, known.get(url)))}
    if faults:
        url, fault = next(iter(faults.items()))
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise InputError(f"{key}: {url} {fault}{more}")
    shards = [Shard(index, url, int(known[url]["size"]), _version(known[url])) for index, url in enumerate(urls)]
    _warn_of_versions(key, [shard.url for shard in shards if not shard.version])
    return shards


def _warn_of_versions(key: str, urls: Sequence[str]) -> None:
    if urls:
        more = f" (and {len(urls) - 1} more)" if len(urls) > 1 else ""
        line = "has neither an etag nor a date, so a change that keeps its size will not be noticed"
        LOG.warning("filtering: %s: %s %s%s", key, redacted(urls[0]), line, more)


def _version(entry: Mapping[str, object]) -> str:
    names = ("ETag", "etag", "md5Hash", "mtime", "LastModified")
    return next((str(entry[name]) for name in names if entry.get(name) is not None), "")
