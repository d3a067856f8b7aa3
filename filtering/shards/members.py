"""The members of wanted samples of a tar: read where they stand, or found by their keys from start to end."""

import sys
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from filtering.core.errors import RunError
from filtering.shards.faults import Damaged, Fault
from filtering.shards.grouping import Group, Grouping, shortly_named
from filtering.shards.inventory import Shard
from filtering.shards.names import place
from filtering.shards.offsets import COMPRESSED, Span, Wanted
from filtering.shards.regions import Region, gap_bytes, joined, open_tar, region_sources
from filtering.shards.samples import WINDOW_BYTES
from filtering.shards.source import ByteSource, SparseFile
from filtering.shards.tar import BLOCK, NOT_FILES, TarReader, usual_name

# Given a member's name, returns how many bytes of data it may have, None where its data are not wanted.
Limits = Callable[[str], int | None]


class MissingSamplesError(RunError):
    """A tar lacks samples that are looked for by their keys, or they cannot be read."""


def limits_of_keys(keys: Collection[str], limit_of: Limits) -> Limits:
    """Return the limits of members of some keys; data of others are not wanted."""

    def limited(name: str) -> int | None:
        at = place(name)
        return limit_of(name) if at is not None and at.key in keys else None

    return limited


def groups_at(
    shard: Shard, wanted: Sequence[Wanted], limit_of: Limits, hold: bool = True, whole: bool = True
) -> Iterator[Group]:
    """Yield samples from where they stand, in the order in which they end.

    Only their spans are read, and of a compressed tar what precedes them. Memory is that of `region_sources`, and the
    samples that are interleaved, at most `WINDOW_BYTES` of them unless a single one has more.

    Whoever calls has compared the shard's size and version. Without `hold`, members have their offsets and no data;
    `whole` as in `region_sources`. RunError if other bytes are at a span than were noted: the tar or the offsets are
    damaged.
    """
    ordered = deque(sorted(wanted, key=lambda one: one.span.start))
    compressed = any(one.span.layout & COMPRESSED for one in ordered)
    regions = joined([(one.span.start, one.span.end) for one in ordered], gap_bytes(shard))
    try:
        for region, source in zip(regions, region_sources(shard, regions, compressed, whole), strict=True):
            yield from _groups(TarReader(source, hold), region, ordered, limit_of)
    except Damaged as damage:
        raise RunError(f"{shard.url}: {damage.fault.detail}") from None


def groups_by_key(url: str, keys: Collection[str], limit_of: Limits, hold: bool = True) -> Iterator[Group]:
    """Yield the samples of some keys, read from the start of the tar to the last of them, in the order of their ends.

    For tars whose offsets were not noted, or are no longer those of the tar. A key has one sample, the first.
    MissingSamplesError if some are not there; the others have been yielded.
    """
    left, fault = set(keys), None
    with open_tar(url) as stream:
        source = ByteSource(stream)
        grouping = Grouping(WINDOW_BYTES, source.compressed)
        for member in TarReader(source, hold).members(limit_of):
            fault = member.fault if member.ends else None
            yield from _taken(grouping.add(member), left)
            grouping.entries()
            if not left:
                return
        yield from _taken(grouping.close(), left)
    if left:
        raise MissingSamplesError(_missing(url, left, len(keys), fault))


def keys_at(path: Path, starts: Sequence[int]) -> Iterator[str]:
    """Yield the key of the member that begins at each offset of a tar on a disk; an empty one where none does."""
    with SparseFile(str(path)) as file:
        for start in starts:
            try:
                file.move(start, sys.maxsize, whole=False)
                name = usual_name(file.read(3 * BLOCK))
                if not name:
                    file.move(start, sys.maxsize, whole=False)
                    header = TarReader(ByteSource(cast(BinaryIO, file), start)).header()
                    name = header.name if header else ""
            except Damaged:
                name = ""
            at = place(name)
            yield at.key if at else ""


def _groups(reader: TarReader, region: Region, ordered: deque[Wanted], limit_of: Limits) -> Iterator[Group]:
    """Yield the samples of a region, and take them from those that are wanted, whose first ones stand in it."""
    source, opened, held = reader.source, dict[str, tuple[Span, Group]](), 0
    while opened or (ordered and ordered[0].span.start < region.end):
        if not opened:
            source.skip(max(0, ordered[0].span.start - source.offset))
        while ordered and ordered[0].span.start <= source.offset:
            key, span = ordered.popleft()
            opened[key] = span, Group(key, source.compressed)
        if source.offset >= region.end or (header := reader.header()) is None:
            raise _misplaced(next(iter(opened)))
        at = place(header.name)
        foreign = at is None or at.key not in opened or (at.kind is None and header.kind in NOT_FILES)
        if at is None or foreign or at.extension in opened[at.key][1].members:
            reader.member(header, None)
            continue
        span, group = opened[at.key]
        held += group.add(at, shortly_named(reader.member(header, limit_of(header.name))))
        if group.end >= span.end:
            del opened[at.key]
            held -= group.size
            if group.span != span:
                raise _misplaced(at.key)
            yield group
        elif held > WINDOW_BYTES and len(opened) > 1:
            raise Damaged("members_too_far_apart", f"{at.key}: its members lie too far apart")


def _misplaced(key: str) -> Damaged:
    return Damaged("corrupt_tar", f"sample {key} is not where it was when the shard was embedded")


def _taken(groups: Iterator[Group] | list[Group], left: set[str]) -> Iterator[Group]:
    """Yield the groups that are looked for, and take their keys from those that are left; one cut off is left."""
    for group in groups:
        if group.key in left and group.lost is None:
            left.remove(group.key)
            yield group


def _missing(url: str, left: set[str], kept: int, fault: Fault | None) -> str:
    end = f"; {fault.detail}" if fault else ""
    return f"{url}: {len(left):,} of {kept:,} kept samples are not there, {min(left)} for one{end}"
