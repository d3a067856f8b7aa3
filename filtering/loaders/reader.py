"""Reads the kept samples of a shard, as webdataset gives samples."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from filtering.config.validation import nearest
from filtering.core.errors import InputError, RunError
from filtering.loaders.pool import ChangedShardError
from filtering.manifests.finished import Source
from filtering.shards.grouping import Group
from filtering.shards.inventory import Shard, current, difference
from filtering.shards.members import groups_at, groups_by_key, limits_of_keys
from filtering.shards.names import place
from filtering.shards.offsets import Offsets, Span, offsets_of, read_offsets, write_offsets
from filtering.shards.tar import Member
from filtering.storage.store import Store

MAX_MEMBER_BYTES = 1 << 30
# By the shard's identity and the run's manifest hash: another run keeps other samples of the same shards.
FOUND_NAME = "{}-{}.offsets.npy"
# The bytes of each member by its extension, and `RESERVED`.
Sample = dict[str, str | bytes]
OnChanged = Literal["error", "skip", "read"]
ON_CHANGED = ("error", "skip", "read")
RESERVED = ("__key__", "__url__")


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
    """How shards are read.

    Attributes
    ----------
    on_changed : str
        What is done with a shard that is not the one that the run read.
    handler : callable
        Given an error, returns whether to go on with the next shard, or raises; as webdataset's handlers.
    found : FoundOffsets or None
        Where offsets are written and looked up that the run did not note.
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

        Raises
        ------
        ChangedShardError
            If a shard has changed, unless such shards are skipped or read.
        RunError, FileNotFoundError
            If the handler raises again what it is given: a shard is damaged or lacks kept samples.
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
        try:
            now = current(shard)
            changed = difference(shard, now)
        except FileNotFoundError:
            now, changed = shard, "is not there any more"
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
            yield from self._looked_for(now, keys)
        else:
            yield from groups_at(now, wanted, _limit)

    def _offsets(self, source: Source, now: Shard) -> Offsets | None:
        noted = source.offsets() if now == source.shard else None
        return noted or (self.found.read(now) if self.found else None)

    def _looked_for(self, shard: Shard, keys: Sequence[str]) -> Iterator[Group]:
        spans = list[tuple[str, Span]]()
        compressed = False
        wanted = set(keys)
        for group in groups_by_key(shard.url, wanted, limits_of_keys(wanted, _limit)):
            spans.append((group.key, group.span))
            compressed = group.compressed
            yield group
        # A compressed tar is read from its start in any case.
        if self.found and not compressed:
            self.found.write(shard, spans)


def _limit(name: str) -> int | None:
    at = place(name)
    return None if at is None or at.too_long else MAX_MEMBER_BYTES


def _sample(group: Group, url: str) -> Sample:
    """Return a sample as webdataset gives it: the bytes of its members by extension, its key and its shard."""
    found: Sample = {"__key__": group.key, "__url__": url}
    for member in group.members.values():
        extension = _extension(member)
        if member.data is not None and extension not in RESERVED:
            found[extension] = member.data
        elif member.data is None and member.regular:
            detail = member.fault.detail if member.fault else "its members lie too far apart"
            raise RunError(f"{url}: {member.name}: {detail}")
    return found


def _extension(member: Member) -> str:
    """Return what follows the first dot of a member's name, in lower case, as webdataset names it."""
    return member.name.rpartition("/")[2].partition(".")[2].lower()
