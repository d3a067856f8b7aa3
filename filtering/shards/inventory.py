"""The inventory: which shards a pool has, each with an identity that changes when its content does."""

import logging
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NotRequired

from typing_extensions import TypedDict

from filtering.config.input import Folders, Input, Kind
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
TABLE_STEM = "metadata_"
LINKED = "it would be in every manifest; name objects whose URLs hold none, by a list or a brace range"


@dataclass(frozen=True, slots=True)
class VectorFile:
    """A file of vectors that belongs to a table; its version is `ABSENT` where there is none."""

    url: str
    version: Version


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard of the pool: a tar, or a parquet file of rows; `index` is its place in the inventory.

    Its version is the store's etag, or the modification time on a disk. `vectors` are the files that hold the vectors
    of its rows: DataComp's npz, or clip-retrieval's npy of images, of captions and, where they are others, of
    concepts; none of tars, and of tables that hold vectors themselves.
    """

    index: int
    url: str
    size: int
    version: str
    vectors: tuple[VectorFile, ...] = ()

    @property
    def name(self) -> str:
        """Base name, such as 00000000.tar."""
        return base_name(self.url)

    @property
    def vectors_url(self) -> str:
        """The first object that vectors are looked for in, or the first of several that is not there."""
        first = next((file for file in self.vectors if file.version == ABSENT), *self.vectors[:1] or (None,))
        return self.url if first is None else first.url

    @property
    def bytes(self) -> int:
        """The bytes of its objects."""
        return self.size + sum(file.version.size for file in self.vectors)

    @property
    def identity(self) -> str:
        """16 hex digits that name the shard's objects and change with its content."""
        versions = [part for file in self.vectors for part in (file.version.size, file.version.mark)]
        return digest([self.url, self.size, self.version, *versions])

    def plain(self) -> dict[str, Any]:
        """Return the shard as JSON-able data."""
        found = {"index": self.index, "url": self.url, "size": self.size, "version": self.version}
        versions = [(file.url, file.version) for file in self.vectors]
        vectors = [{"url": url, "version": {"size": one.size, "mark": one.mark}} for url, one in versions]
        return found | ({"vectors": vectors} if vectors else {})


@dataclass(frozen=True, slots=True)
class InventoryResult:
    """How many shards a pool has, and their bytes together."""

    shards: int
    bytes: int

    @property
    def summary(self) -> str:
        """One line for a person."""
        return f"{counted(self.shards, 'shard')}, {self.bytes / 1e6:,.1f} MB"


class StoredShard(TypedDict):
    """A shard on disk; older versions wrote the version of an npz, whose URL follows from the table's, as `arrays`."""

    index: int
    url: str
    size: int
    version: str
    vectors: NotRequired[tuple[VectorFile, ...]]
    arrays: NotRequired[Version]


class StoredInventory(TypedDict):
    """The inventory on disk."""

    shards: list[StoredShard]


def write_inventory(store: Store, shards: Sequence[Shard]) -> InventoryResult:
    """Write an inventory into a folder; return how much it holds."""
    store.write_record(INVENTORY, {"shards": [shard.plain() for shard in shards]})
    return InventoryResult(len(shards), sum(shard.size for shard in shards))


def read_inventory(store: Store) -> list[Shard]:
    """Return the inventory in a folder; MissingError if there is none, DamagedError if it is something else."""
    shards = [_shard(**stored) for stored in read_record_as(store, INVENTORY, StoredInventory)["shards"]]
    if [shard.index for shard in shards] != list(range(len(shards))):
        raise DamagedError(store.path(INVENTORY), "is damaged: its shards are not numbered from 0")
    return shards


def _shard(arrays: Version | None = None, **stored: Any) -> Shard:
    found = Shard(**stored)
    return found if arrays is None else replace(found, vectors=(VectorFile(npz_url(found.url), arrays),))


def base_name(url: str) -> str:
    """Return the last part of a path or URL."""
    return posixpath.basename(without_query(url))


def list_shards(source: Input) -> list[Shard]:
    """Return the pool's shards in the order of their patterns; InputError where one matches nothing or is missing."""
    key, suffix = f"input.{source.kind}", ".tar" if source.has_pictures else ".parquet"
    urls = _expanded(key, source.table_patterns, suffix)
    if not urls:
        raise InputError(f"{key}: names no shard")
    return _found(key, {url: vector_urls(source.kind, source.folders, url, source.concepts) for url in urls})


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
            raise InputError(
                f"input.{source.kind}: {pair} differ in nothing that uids follow from, only in a query or their "
                "spelling; if they are one shard, name it once, else set input.uids: name"
            )


def vector_urls(kind: Kind, folders: Folders, url: str, concepts: str = "") -> tuple[str, ...]:
    """Return the files that hold the vectors of a shard's rows, in the order of `Shard.vectors`.

    `concepts` is the folder of the vectors of concepts, of clip-retrieval's tables; empty where there is none.
    InputError if a table of clip-retrieval is called by another name than metadata_N.parquet.
    """
    if kind == "metadata":
        return (npz_url(url),)
    if kind != "clip_retrieval":
        return ()
    path = without_query(url)
    folder, name = posixpath.split(path)
    number = name.removeprefix(TABLE_STEM)
    if number == name:
        raise InputError(f"input.clip_retrieval: {url} is not called {TABLE_STEM}N.parquet, as clip-retrieval calls it")
    root, query = posixpath.dirname(folder), url[len(path) :]
    stems = [(folders.image, "img_emb_"), (folders.text, "text_emb_")] + [(concepts, "img_emb_")] * bool(concepts)
    return tuple(f"{root}/{side}/{stem}{number.removesuffix('.parquet')}.npy{query}" for side, stem in stems)


def npz_url(url: str) -> str:
    """Return the npz that belongs to a parquet file of DataComp metadata."""
    return beside(url, ".parquet", ".npz")


def current(shard: Shard) -> Shard:
    """Return a shard with the size and version that it has now; FileNotFoundError if it is gone."""
    now = version_of(shard.url)
    vectors = tuple(VectorFile(file.url, _version_now(file.url)) for file in shard.vectors)
    return replace(shard, size=now.size, version=now.mark, vectors=vectors)


def difference(before: Shard, now: Shard) -> str:
    """Return in words how a shard differs from an earlier inventory, nothing if it does not."""
    changed = version_difference(Version(before.size, before.version), Version(now.size, now.version))
    if changed or before.vectors == now.vectors or len(before.vectors) != len(now.vectors):
        return changed
    pairs = list(zip(before.vectors, now.vectors, strict=True))
    first = next((old, new) for old, new in pairs if old != new)
    name = base_name(first[1].url) if len(pairs) > 1 else "npz"
    return f"its {name} has changed: {version_difference(first[0].version, first[1].version)}"


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


def _version_now(url: str) -> Version:
    try:
        return version_of(url)
    except FileNotFoundError:
        return ABSENT


def _found(key: str, urls: Mapping[str, tuple[str, ...]]) -> list[Shard]:
    """Return the shards of some URLs, each with those of its files of vectors."""
    beside_them = [url for several in urls.values() for url in several]
    known = listed([*urls, *beside_them])
    faults = {url: fault for url in urls if (fault := unusable(url, known.get(url)))}
    faults |= {url: fault for url in beside_them if (fault := unusable_arrays(url, known.get(url)))}
    if faults:
        url, fault = next(iter(faults.items()))
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise InputError(f"{key}: {url} {fault}{more}")
    versions = [entry_version(url, known[url]) for url in urls]
    files = [tuple(VectorFile(url, _version(url, known)) for url in several) for several in urls.values()]
    found = enumerate(zip(urls, versions, files, strict=True))
    shards = [Shard(index, url, version.size, version.mark, vectors) for index, (url, version, vectors) in found]
    _warn_of_versions(key, [shard.url for shard in shards if not shard.version])
    return shards


def _version(url: str, known: Mapping[str, Entry]) -> Version:
    try:
        return entry_version(url, known[url])
    except (KeyError, FileNotFoundError):
        return ABSENT


def _warn_of_versions(key: str, urls: Sequence[str]) -> None:
    if urls:
        more = f" (and {len(urls) - 1} more)" if len(urls) > 1 else ""
        line = "has neither an etag nor a date, so a change that keeps its size will not be noticed"
        LOG.warning("filtering: %s: %s %s%s", key, visible(redacted(urls[0])), line, more)
