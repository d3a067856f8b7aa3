"""The inventory: which shards a pool has, each with an identity that changes when its content does."""

import logging
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from typing_extensions import TypedDict

from filtering.config.input import Input
from filtering.core.errors import DamagedError, InputError
from filtering.core.formatting import counted
from filtering.core.secrets import redacted, refused_secret
from filtering.core.visible import visible
from filtering.shards.listing import Entry, listed, unusable, unusable_arrays
from filtering.shards.patterns import expand
from filtering.storage.reading import read_record_as
from filtering.storage.store import Store, digest
from filtering.storage.urls import beside, without_query
from filtering.storage.versions import ABSENT, DELETED, LISTED, Version, entry_version, refuse_change, version_of
from filtering.storage.versions import difference as version_difference

LOG = logging.getLogger(__name__)
INVENTORY = "shards.json"
TARS = "input.shards"
LINKED = "it would be in every manifest; name objects whose URLs hold none, by a list or a brace range"


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard of the pool: a tar, or a parquet file of DataComp metadata; `index` is its place in the inventory.

    Its version is the store's etag, or the modification time on a disk. `arrays` is the version of the npz that belongs
    to a parquet file, `ABSENT` where there is none; None for tars.
    """

    index: int
    url: str
    size: int
    version: str
    arrays: Version | None = None

    @property
    def name(self) -> str:
        """Base name, such as 00000000.tar."""
        return base_name(self.url)

    @property
    def identity(self) -> str:
        """16 hex digits that name the shard's objects and change with its content."""
        arrays = [] if self.arrays is None else [self.arrays.size, self.arrays.mark]
        return digest([self.url, self.size, self.version, *arrays])

    def plain(self) -> dict[str, Any]:
        """Return the shard as JSON-able data."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class InventoryResult:
    """How many shards a pool has, and their bytes together."""

    shards: int
    bytes: int

    @property
    def summary(self) -> str:
        """One line for a person."""
        return f"{counted(self.shards, 'shard')}, {self.bytes / 1e6:,.1f} MB"


class StoredInventory(TypedDict):
    """The inventory on disk."""

    shards: list[Shard]


def write_inventory(store: Store, shards: Sequence[Shard]) -> InventoryResult:
    """Write an inventory into a folder; return how much it holds."""
    store.write_record(INVENTORY, {"shards": [shard.plain() for shard in shards]})
    return InventoryResult(len(shards), sum(shard.size for shard in shards))


def read_inventory(store: Store) -> list[Shard]:
    """Return the inventory in a folder; MissingError if there is none, DamagedError if it is something else."""
    shards = read_record_as(store, INVENTORY, StoredInventory)["shards"]
    if [shard.index for shard in shards] != list(range(len(shards))):
        raise DamagedError(store.path(INVENTORY), "is damaged: its shards are not numbered from 0")
    return shards


def base_name(url: str) -> str:
    """Return the last part of a path or URL."""
    return posixpath.basename(without_query(url))


def list_shards(source: Input) -> list[Shard]:
    """Return the pool's shards in the order of their patterns; InputError where one matches nothing or is missing."""
    if source.shards is not None:
        return _found(TARS, _expanded(TARS, source.shards, ".tar"))
    return _found("input.metadata", _expanded("input.metadata", source.metadata or (), ".parquet"))


def _expanded(key: str, given: str | Iterable[str], suffix: str) -> list[str]:
    try:
        urls = expand(given, suffix)
    except InputError as error:
        raise InputError(*(f"{key}: {line}" for line in error.args)) from error
    # Those that were given were looked at; what an index links to is given by a server.
    for url in urls:
        if line := refused_secret(key, url, LINKED):
            raise InputError(line)
    return urls


def check_uids(source: Input, shards: Sequence[Shard]) -> None:
    """Refuse two shards whose samples would be given the same uids, and a shard outside the root, by an InputError."""
    seen: dict[str, str] = {}
    for shard in shards:
        if (other := seen.setdefault(source.uid_rule.place(shard.url), shard.url)) != shard.url:
            pair = f"{other} and {shard.url}"
            if source.uids == "name":
                raise InputError(f"input.uids: {pair} have one name, so their samples would share uids; set it to url")
            key = "shards" if source.shards is not None else "metadata"
            raise InputError(
                f"input.{key}: {pair} differ in nothing that uids follow from, only in a query or their spelling; if "
                "they are one shard, name it once, else set input.uids: name"
            )


def arrays_url(shard: Shard) -> str:
    """Return the npz that belongs to a parquet file of DataComp metadata."""
    return beside(shard.url, ".parquet", ".npz")


def current(shard: Shard) -> Shard:
    """Return a shard with the size and version that it has now; FileNotFoundError if it is gone."""
    now = version_of(shard.url)
    arrays = None if shard.arrays is None else _arrays_now(shard)
    return replace(shard, size=now.size, version=now.mark, arrays=arrays)


def difference(before: Shard, now: Shard) -> str:
    """Return in words how a shard differs from an earlier inventory, nothing if it does not."""
    changed = version_difference(Version(before.size, before.version), Version(now.size, now.version))
    if changed or before.arrays == now.arrays or before.arrays is None or now.arrays is None:
        return changed
    return f"its npz has changed: {version_difference(before.arrays, now.arrays)}"


def change_of(shard: Shard) -> tuple[Shard, str]:
    """Return a shard as it is now, and in words how it differs from what it was, nothing if it does not.

    One that is gone is returned as it was.
    """
    try:
        now = current(shard)
    except FileNotFoundError:
        return shard, DELETED
    return now, difference(shard, now)


def check_shard(shard: Shard) -> None:
    """Check that a shard is what it was when the run listed it; RunError names the object that is not."""
    refuse_change(shard.url, change_of(shard)[1], LISTED)


def _arrays_now(shard: Shard) -> Version:
    try:
        return version_of(arrays_url(shard))
    except FileNotFoundError:
        return ABSENT


def _found(key: str, urls: list[str]) -> list[Shard]:
    if not urls:
        raise InputError(f"{key}: names no shard")
    beside_them = [] if key == TARS else [beside(url, ".parquet", ".npz") for url in urls]
    known = listed([*urls, *beside_them])
    faults = {url: fault for url in urls if (fault := unusable(url, known.get(url)))}
    faults |= {url: fault for url in beside_them if (fault := unusable_arrays(url, known.get(url)))}
    if faults:
        url, fault = next(iter(faults.items()))
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise InputError(f"{key}: {url} {fault}{more}")
    versions = [entry_version(url, known[url]) for url in urls]
    arrays = [None if key == TARS else _arrays(beside(url, ".parquet", ".npz"), known) for url in urls]
    found = enumerate(zip(urls, versions, arrays, strict=True))
    shards = [Shard(index, url, version.size, version.mark, npz) for index, (url, version, npz) in found]
    _warn_of_versions(key, [shard.url for shard in shards if not shard.version])
    return shards


def _arrays(url: str, known: Mapping[str, Entry]) -> Version:
    try:
        return entry_version(url, known[url])
    except (KeyError, FileNotFoundError):
        return ABSENT


def _warn_of_versions(key: str, urls: Sequence[str]) -> None:
    if urls:
        more = f" (and {len(urls) - 1} more)" if len(urls) > 1 else ""
        line = "has neither an etag nor a date, so a change that keeps its size will not be noticed"
        LOG.warning("filtering: %s: %s %s%s", key, visible(redacted(urls[0])), line, more)
