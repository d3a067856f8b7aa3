"""The shards of which a run kept anything, and their kept samples, as webdataset gives samples."""

import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from filtering.config.validation import nearest
from filtering.core.errors import InputError, RunError
from filtering.manifests.finished import Source, read_finished
from filtering.shards.grouping import Group
from filtering.shards.inventory import Shard, change_of
from filtering.shards.members import groups_at, groups_by_key, limits_of_keys
from filtering.shards.names import place
from filtering.shards.offsets import Offsets, Span, offsets_of, read_offsets, write_offsets
from filtering.storage.outputs import Layout
from filtering.storage.store import Store

MAX_MEMBER_BYTES = 1 << 30
# By the shard's identity and the run's manifest hash: another run keeps other samples of the same shards.
FOUND_NAME = "{}-{}.offsets.npy"
FOUND = Layout("offsets", re.compile(FOUND_NAME.replace(".", r"\.").format("[0-9a-f]+", "[0-9a-f]+")))
# The bytes of each member by its extension, and `RESERVED`.
Sample = dict[str, str | bytes]
OnChanged = Literal["error", "skip", "read"]
ON_CHANGED = ("error", "skip", "read")
RESERVED = ("__key__", "__url__")


class ChangedShardError(InputError):
    """A shard is not the one that the run read: it was replaced, changed or deleted since."""


@dataclass(frozen=True, slots=True)
class KeptPool:
    """The shards of which a finished run kept something, in the pool's order; their keys are read with them.

    `visits` are the reads of an epoch: each shard, and where samples are weighed, each again for each further time that
    some of its samples are seen, with those alone.
    """

    manifest_hash: str
    sources: tuple[Source, ...]
    visits: tuple[Source, ...]

    @property
    def samples(self) -> int:
        """Samples of an epoch in all: the kept ones, each as often as it is seen."""
        return sum(visit.kept for visit in self.visits)


def read_pool(store: Store) -> KeptPool:
    """Return the kept samples of a finished run over tars; InputError if none is there, or nothing was kept."""
    run = read_finished(store)
    if run.from_metadata:
        line = "its input was DataComp metadata, so it has no tars to read; export --format datacomp gives its uids"
        raise InputError(f"{run.store.url}: {line}")
    sources = tuple(run.kept_sources())
    if not sources:
        raise InputError(f"{run.store.url}: the run kept nothing, so there is nothing to train on")
    return KeptPool(run.record["manifest_hash"], sources, tuple(run.kept_times()))


@dataclass(frozen=True, slots=True)
class FoundOffsets:
    """A folder of offsets that were found while shards were read whole, for runs that did not note them."""

    store: Store
    manifest_hash: str

    def read(self, shard: Shard) -> Offsets | None:
        """Return the offsets of a shard's kept samples, None if they are not there."""
        return read_offsets(self.store, self._name(shard))

    def write(self, shard: Shard, spans: Sequence[tuple[str, Span]]) -> None:
        """Write the offsets of a shard's kept samples."""
        write_offsets(self.store, self._name(shard), offsets_of(spans))

    def _name(self, shard: Shard) -> str:
        return FOUND_NAME.format(shard.identity, self.manifest_hash[:16])


@dataclass(frozen=True, slots=True)
class Reader:
    """How shards are read, and those that are not the ones that the run read.

    `handler`, given an error, returns whether to go on with the next shard, or raises, as webdataset's handlers do.
    `found` is where offsets are written and looked up that the run did not note.
    """

    on_changed: OnChanged
    handler: Callable[[Exception], bool]
    found: FoundOffsets | None = None

    def __post_init__(self) -> None:
        if self.on_changed not in ON_CHANGED:
            line = f"on_changed: {self.on_changed} is unknown{nearest(self.on_changed, ON_CHANGED)}"
            raise InputError(line)

    def samples(self, sources: Iterable[Source]) -> Iterator[Sample]:
        """Yield the kept samples of shards, one shard after the other; its keys are in memory, no other's.

        ChangedShardError if a shard has changed, unless such shards are skipped or read. RunError or FileNotFoundError
        if a shard is damaged, gone or lacks kept samples, and the handler raises again what it is given.
        """
        for source in sources:
            now = self._current(source.shard)
            if now is None:
                continue
            try:
                yield from (_sample(group, now.url) for group in self._groups(source, now))
            except InputError:
                # Credentials or a bucket: every other shard would fail as well.
                raise
            except Exception as error:
                if not self.handler(error):
                    return

    def _current(self, shard: Shard) -> Shard | None:
        """Return a shard with its size and version of now, None if it is to be skipped."""
        now, changed = change_of(shard)
        if self.on_changed == "read" or not changed:
            return now
        if self.on_changed == "error":
            line = f"{shard.url}: {changed}; filter the pool again, or give on_changed='skip' or 'read'"
            raise ChangedShardError(line)
        warnings.warn(f"{shard.url}: {changed}; it is skipped", RuntimeWarning, stacklevel=2)
        return None

    def _groups(self, source: Source, now: Shard) -> Iterator[Group]:
        """Yield the kept samples: from where they stand if that is known, else from the whole tar."""
        keys, offsets = source.keys(), self._offsets(source, now)
        wanted = offsets.wanted(keys) if offsets else None
        if wanted is None:
            yield from self._looked_for(now, keys, found=self.found if source.time == 0 else None)
        else:
            yield from groups_at(now, wanted, _limit)

    def _offsets(self, source: Source, now: Shard) -> Offsets | None:
        noted = source.offsets() if now == source.shard else None
        return noted or (self.found.read(now) if self.found else None)

    def _looked_for(self, shard: Shard, keys: Sequence[str], found: FoundOffsets | None) -> Iterator[Group]:
        spans = list[tuple[str, Span]]()
        compressed = False
        wanted = set(keys)
        for group in groups_by_key(shard.url, wanted, limits_of_keys(wanted, _limit)):
            spans.append((group.key, group.span))
            compressed = group.compressed
            yield group
        # A compressed tar is read from its start in any case.
        if found and not compressed:
            found.write(shard, spans)


def _limit(name: str) -> int | None:
    at = place(name)
    return None if at is None or at.too_long else MAX_MEMBER_BYTES


def _sample(group: Group, url: str) -> Sample:
    """Return a sample as webdataset gives it: the bytes of its members by extension, its key and its shard."""
    found: Sample = {"__key__": group.key, "__url__": url}
    for member in group.members.values():
        # What follows the first dot of the name, as webdataset names it.
        extension = member.name.rpartition("/")[2].partition(".")[2].lower()
        if member.data is not None and extension not in RESERVED:
            found[extension] = member.data
        elif member.data is None and member.regular:
            detail = member.fault.detail if member.fault else "its members lie too far apart"
            raise RunError(f"{url}: {member.name}: {detail}")
    return found
