"""The shards of which a run kept anything."""

from dataclasses import dataclass

from filtering.core.errors import InputError
from filtering.manifests.finished import Source, read_finished
from filtering.runtime import latest
from filtering.storage.store import Store


class ChangedShardError(InputError):
    """A shard is not the one that the run read: it was replaced, changed or deleted since."""


@dataclass(frozen=True, slots=True)
class KeptPool:
    """The kept samples of a finished run, shard by shard, without their keys: these are read with their shard.

    Attributes
    ----------
    manifest_hash : str
        Of the run.
    sources : tuple of Source
        The shards of which something is kept, in the pool's order.
    """

    manifest_hash: str
    sources: tuple[Source, ...]

    @property
    def samples(self) -> int:
        """Kept samples in all."""
        return sum(source.kept for source in self.sources)


def read_pool(run_url: str) -> KeptPool:
    """Return the kept samples of a finished run over tars.

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
