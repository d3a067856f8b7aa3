"""Reads the kept samples of a shard, as webdataset gives samples."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from filtering.config.validation import nearest
from filtering.core.errors import InputError
from filtering.loaders.members import Kept, kept_members
from filtering.loaders.offsets import Offsets, placed
from filtering.loaders.pool import ChangedShardError, as_it_is, change
from filtering.loaders.ranges import ranged_members
from filtering.manifests.finished import Source
from filtering.shards.inventory import Shard

Sample = dict[str, Any]
OnChanged = Literal["error", "skip", "read"]
ON_CHANGED = ("error", "skip", "read")
RESERVED = ("__key__", "__url__")


@dataclass(frozen=True, slots=True)
class Reader:
    """How shards are read.

    Attributes
    ----------
    on_changed : what is done with a shard that is not the one the run read.
    handler : given an error, returns whether to go on with the next shard, or raises; as webdataset's handlers.
    offsets : where the places of kept samples are written and found, if anywhere.
    """

    on_changed: OnChanged
    handler: Callable[[Exception], bool]
    offsets: Offsets | None = None

    def __post_init__(self) -> None:
        if self.on_changed not in ON_CHANGED:
            line = f"on_changed: {self.on_changed} is unknown{nearest(self.on_changed, ON_CHANGED)}"
            raise InputError(line)

    def samples(self, sources: Iterable[Source]) -> Iterator[Sample]:
        """Yield the kept samples of shards, one shard after the other; its keys are in memory, no other's.

        Raises
        ------
        ChangedShardError
            If a shard has changed, unless such shards are skipped or read.
        RunError, FileNotFoundError
            If the handler raises again what it is given: a shard is damaged or lacks kept samples.
        """
        for source in sources:
            now = self._as_it_is(source.shard)
            if now is None:
                continue
            try:
                yield from (_sample(kept, now.url) for kept in self._kept(source, now))
            except InputError:
                # Credentials or a bucket: every other shard would fail as well.
                raise
            except Exception as error:
                if not self.handler(error):
                    return

    def _as_it_is(self, shard: Shard) -> Shard | None:
        """Return a shard with its size and version of now, None if it is to be skipped."""
        try:
            now = as_it_is(shard)
            changed = change(shard, now)
        except FileNotFoundError:
            now, changed = shard, "is not there any more"
        if self.on_changed == "read" or not changed:
            return now
        if self.on_changed == "error":
            line = f"{shard.url}: {changed}; filter the pool again, or give on_changed='skip' or 'read'"
            raise ChangedShardError(line)
        warnings.warn(f"{shard.url}: {changed}; it is skipped", RuntimeWarning, stacklevel=2)
        return None

    def _kept(self, source: Source, now: Shard) -> Iterator[Kept]:
        """Yield the kept samples: from their places, if these are known and few, else from the whole tar."""
        reads = self.offsets.read(now) if self.offsets else None
        if reads is not None:
            yield from ranged_members(now, reads)
            return
        places = []
        for kept in kept_members(now.url, set(source.keys())):
            if self.offsets:
                places.append(placed(kept))
            yield kept
        if self.offsets and not self.offsets.has(now):
            self.offsets.write(now, places)


def _sample(kept: Kept, url: str) -> Sample:
    """Return a sample as webdataset gives it: the bytes of its members by extension, its key and its shard."""
    members = {part.extension: part.data for part in kept.parts if part.extension not in RESERVED}
    return {"__key__": kept.key, "__url__": url, **members}
