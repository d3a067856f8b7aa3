"""The shards of which a run kept anything, and what has become of them since."""

from dataclasses import dataclass, replace

from filtering.core.errors import InputError
from filtering.manifests.finished import Source, read_finished
from filtering.runtime import latest
from filtering.shards.inventory import Shard, size_and_version
from filtering.storage.store import Store


class ChangedShardError(InputError):
    """A shard is not the one that the run read: it was replaced, changed or deleted since."""


@dataclass(frozen=True, slots=True)
class KeptPool:
    """What a finished run kept, shard by shard, without the keys: these are read with their shard.

    Attributes
    ----------
    manifest_hash : identifies what was kept.
    sources : the shards of which something is kept, in the pool's order.
    """

    manifest_hash: str
    sources: tuple[Source, ...]

    @property
    def samples(self) -> int:
        """Kept samples in all."""
        return sum(source.kept for source in self.sources)


def read_pool(run_url: str) -> KeptPool:
    """Return what a finished run kept of a pool of tars.

    Raises
    ------
    InputError
        If no finished run is there, its input was no tars, it kept nothing, or its inventory is gone.
    """
    run = read_finished(Store(latest.run_url(run_url)))
    if run.from_metadata:
        line = "its input was DataComp metadata, so it has no tars to read; export --format datacomp gives its uids"
        raise InputError(f"{run.store.url}: {line}")
    sources = tuple(run.kept_sources())
    if not sources:
        raise InputError(f"{run.store.url}: the run kept nothing, so there is nothing to train on")
    return KeptPool(run.record["manifest_hash"], sources)


def as_it_is(shard: Shard) -> Shard:
    """Return a shard with the size and version that it has now; FileNotFoundError if it is gone."""
    size, version = size_and_version(shard.url)
    return replace(shard, size=size, version=version)


def change(before: Shard, now: Shard) -> str:
    """Return in words what has become of a shard since the run read it, nothing if it is the same."""
    if now.size != before.size:
        return f"had {before.size:,} bytes when the run read it and has {now.size:,} now"
    if now.version != before.version:
        return f"was version {before.version} when the run read it and is {now.version} now"
    return ""
