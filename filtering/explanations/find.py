"""Where one sample of a finished run is: by its uid, its key, shard and key, a member's name, or its image's URL."""

import posixpath
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypedDict

import pyarrow as pa
import pyarrow.compute as pc

from filtering.config.validation import nearest
from filtering.core.errors import InputError
from filtering.core.uids import is_uid
from filtering.core.visible import is_utf8
from filtering.manifests.artifacts import KINDS
from filtering.manifests.by_uid import parsed_range, range_at
from filtering.manifests.finished import FinishedRun
from filtering.manifests.written import WrittenManifest
from filtering.shards.names import place

# Shards whose tables are read at once; nearly all of the time goes by in requests.
AT_ONCE = 16


class ManifestLine(TypedDict, total=False):
    """What explanations read of a line of the manifest, of any outcome."""

    uid: str
    key: str
    shard: str
    reason: str
    member: str
    detail: str


@dataclass(frozen=True, slots=True)
class Place:
    """A line of the manifest."""

    kind: str  # kept, dropped or quarantined
    shard: int  # the place of its shard in the inventory
    line: ManifestLine


def find(finished: FinishedRun, sample: str) -> Place:
    """Return where a sample is; InputError if no shard or several have it.

    It is named by its uid, its key or SHARD/KEY, where a key may end as a member does (.jpg); or by the URL that its
    image was loaded from. A shard is named by the end of its URL: as many of its parts as needed.
    """
    run, manifest, urls = finished.store.url, finished.manifest, [source.shard.url for source in finished.sources]
    if not is_utf8(sample):
        raise InputError(f"explain: {run} has no sample {sample}; names of samples are UTF-8")
    named, key = _of_shard(urls, sample)
    # A shard that is named is looked into first: the whole pool may have a million.
    found = _searched(manifest, named, key, every=True)
    found = found or _kept(manifest, sample)
    found = found or _searched(manifest, range(len(urls)), sample, every=not is_uid(sample))
    if not found and sample != sample.lower() and is_uid(sample.lower()):
        found = _searched(manifest, range(len(urls)), sample.lower(), every=False)
    if not found and "://" in sample:
        found = _of_url(finished, sample)
        if len(found) > 1:
            uids = [one.line["uid"] for one in found]
            raise InputError(f"explain: {len(found)} samples have the URL {sample}; give a uid: {', '.join(uids[:3])}")
    elif not found and (member := place(sample)) and member.kind:
        return find(finished, member.key)
    if not found:
        raise InputError(f"explain: {run} has no sample {sample}{_hint(urls, sample)}")
    if len(shards := sorted({one.shard for one in found})) > 1:
        names = _apart(urls, shards)
        key = _of_shard(urls, sample)[1]
        raise InputError(
            f"explain: {len(names)} shards have a sample {sample}; say which one: "
            f"{', '.join(f'{name}/{key}' for name in names[:3])}{', ...' if len(names) > 3 else ''}"
        )
    return found[0]


def _kept(manifest: WrittenManifest, name: str) -> list[Place]:
    """Return the kept sample of that uid, from the one table that may have it; nothing if it is no uid."""
    ranges = manifest.uid_ranges() if is_uid(name) else []
    if not ranges:
        return []
    table = range_at(ranges, name)["table"]
    rows = parsed_range(manifest.run.path(table), manifest.read(table))
    shards = rows.filter(pc.equal(rows["uid"], name))["shard"].to_pylist()
    return [one for shard in shards for one in _in_shard(manifest, shard, name)]


def _searched(manifest: WrittenManifest, shards: Sequence[int], name: str, every: bool) -> list[Place]:
    """Return the samples of that uid or key, of all shards, or of the first that has one."""
    found = list[Place]()
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for start in range(0, len(shards), AT_ONCE):
            batch = shards[start : start + AT_ONCE]
            found += [
                one for several in threads.map(lambda at: _in_shard(manifest, at, name), batch) for one in several
            ]
            if found and not every:
                break
    return found


def _of_url(finished: FinishedRun, url: str) -> list[Place]:
    """Return the samples whose image was loaded from a URL, as far as their rows are still there and say so."""

    def uids(at: int) -> list[tuple[int, str]]:
        source = finished.sources[at]
        if source.rows is None:
            return []
        rows = source.embedded(finished.arrays).rows(["uid", "url"])
        if "url" not in rows.column_names:
            return []
        return [(at, uid) for uid in rows.filter(pc.fill_null(pc.equal(rows["url"], url), False))["uid"].to_pylist()]

    with ThreadPoolExecutor(AT_ONCE) as threads:
        named = [one for several in threads.map(uids, range(len(finished.sources))) for one in several]
    return [one for at, uid in named for one in _in_shard(finished.manifest, at, uid)]


def _in_shard(manifest: WrittenManifest, shard: int, name: str) -> list[Place]:
    for kind in KINDS:
        table = manifest.table(kind, shard)
        columns = [column for column in ("uid", "key", "member") if column in table.column_names]
        masks = [pc.fill_null(pc.equal(table[column], pa.scalar(name)), False) for column in columns]
        mask = masks[0]
        for other in masks[1:]:
            mask = pc.or_(mask, other)
        lines = table.filter(mask).to_pylist()
        if lines:
            return [Place(kind, shard, line) for line in lines]
    return []


def _of_shard(urls: Sequence[str], sample: str) -> tuple[list[int], str]:
    """Return the shards that SHARD/KEY may mean, and the key."""
    for at in (number for number, character in enumerate(sample) if character == "/"):
        shard = sample[:at]
        places = [n for n, url in enumerate(urls) if _is_named(url, shard)]
        if places:
            return places, sample[at + 1 :]
    return [], sample


def _is_named(url: str, name: str) -> bool:
    """Say whether a shard's URL is or ends in a name, with its suffix or without."""
    return any(f"/{one}".endswith(f"/{name}") for one in (url, posixpath.splitext(url)[0]))


def _apart(urls: Sequence[str], shards: Sequence[int]) -> list[str]:
    """Return names of shards: as many of the last parts of their URLs as tell them apart."""
    parts = [urls[shard].split("/") for shard in shards]
    for count in range(1, max(map(len, parts))):
        names = ["/".join(one[-count:]) for one in parts]
        if len(set(names)) == len(names):
            return names
    return [urls[shard] for shard in shards]


def _hint(urls: Sequence[str], sample: str) -> str:
    shard = sample.partition("/")[0]
    if "/" in sample and "://" not in sample and not _of_shard(urls, sample)[0]:
        return f"; and no shard {shard}{nearest(shard, {_stem(url) for url in urls[:1000]})}"
    return "; give a uid, a key, SHARD/KEY, or the URL of its image"


def _stem(url: str) -> str:
    return PurePosixPath(url).stem
