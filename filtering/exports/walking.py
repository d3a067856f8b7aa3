"""The slow way through a tar, for those that `scanning` leaves: any tar, once from start to end, by the reader's rules.

Which members make a kept sample is what `filtering.shards.grouping` says: it is given every member, without its data.
"""

import tarfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

from filtering.shards.faults import Damaged, Fault
from filtering.shards.grouping import Group, Grouping
from filtering.shards.header import BLOCK, Header
from filtering.shards.names import CAPTION, IMAGE, METADATA, Place, place
from filtering.shards.samples import MAX_CAPTION_BYTES, MAX_JSON_BYTES, WINDOW_BYTES
from filtering.shards.source import ByteSource
from filtering.shards.tar import MAX_MEMBERS, NOT_FILES, Member, TarReader

KIND = slice(156, 157)
COPIED_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Copied:
    """A member whose bytes were set aside: where they start and end, headers and padding included, and its data."""

    key: str
    name: str
    start: int
    end: int
    data: int
    stop: int


class _Recorder(ByteSource):
    """A source that remembers what it hands out, until it is asked."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(stream)
        self.blocks: list[bytes] = []

    def take_or_end(self, size: int) -> bytes:
        data = super().take_or_end(size)
        self.blocks.append(data)
        return data

    def recorded(self) -> list[bytes]:
        blocks, self.blocks = self.blocks, []
        return blocks


class _Walker(TarReader):
    """Copies the first member of each wanted key and extension; says which of them the reader made a sample of."""

    def __init__(self, stream: BinaryIO, file: BinaryIO, keys: Collection[str], max_image_bytes: int) -> None:
        self.source: _Recorder = _Recorder(stream)
        self.name = ""
        self.file, self.keys = file, keys
        self.limits = {IMAGE: max_image_bytes, CAPTION: MAX_CAPTION_BYTES, METADATA: MAX_JSON_BYTES}
        self.copied: dict[tuple[str, str], Copied | None] = {}

    def members(self) -> Iterator[Member]:
        """Yield the members as the reader of samples does, a range in place of their data."""
        try:
            for _ in range(MAX_MEMBERS):
                self.source.recorded()
                if (header := self.header()) is None:
                    return
                yield self._taken(header, self.source.recorded())
        except Damaged as damage:
            yield Member(self.name, None, damage.fault, ends=True)

    def _taken(self, header: Header, blocks: list[bytes]) -> Member:
        at = place(header.name)
        first = at is not None and at.key in self.keys and (at.key, at.extension) not in self.copied
        if header.kind in NOT_FILES:
            if at is not None and first:
                self.copied[at.key, at.extension] = None
            return self.member(header, lambda name: None)
        self.name = header.name
        if at is not None and first:
            self.copied[at.key, at.extension] = self._copy(header, at, blocks)
        else:
            self._skip(header.size)
        self.name = ""
        return _described(header, at, self.limits)

    def _copy(self, header: Header, at: Place, blocks: list[bytes]) -> Copied:
        start = self.file.tell()
        self.file.write(b"".join(_own_headers(blocks)))
        data, left = self.file.tell(), header.size + -header.size % BLOCK
        while left:
            left -= self.file.write(self.source.take(min(left, COPIED_AT_ONCE)))
            self.source.recorded()
        return Copied(at.key, header.name, start, self.file.tell(), data, data + header.size)


def walk(stream: BinaryIO, file: BinaryIO, keys: Collection[str], max_image_bytes: int) -> list[list[Copied]]:
    """Copy the members of the wanted keys from a tar to a file; return those of each sample, in the tar's order.

    Links, devices and sparse files are not copied: they have no bytes of their own.
    """
    walker, grouping = _Walker(stream, file, keys, max_image_bytes), Grouping(WINDOW_BYTES)
    found = []
    for member in walker.members():
        found += [group for group in grouping.add(member) if group.key in keys]
        grouping.entries()
    found += [group for group in grouping.close() if group.key in keys]
    return [members for group in found if (members := _members_of(group, walker.copied))]


def _members_of(group: Group, copied: dict[tuple[str, str], Copied | None]) -> list[Copied]:
    # A key has one group in a shard, and it holds the first member of each of its extensions, unless that came late.
    members = [found for extension in group.members if (found := copied.get((group.key, extension)))]
    return sorted(members, key=lambda member: member.start)


def _described(header: Header, at: Place | None, limits: dict[str, int]) -> Member:
    """Return a member as `filtering.shards.samples` would read it; a range is as long as its data, and empty memory."""
    if at is None or at.kind is None or at.too_long:
        return Member(header.name, None)
    if header.size > limits[at.kind]:
        return Member(header.name, None, Fault("member_too_large", ""))
    return Member(header.name, cast(bytes, range(header.size)))


def _own_headers(blocks: list[bytes]) -> Iterator[bytes]:
    """Yield a member's headers without global ones, which say something of all members that follow them.

    Yields
    ------
    bytes
        An extended header with what it holds, in whole blocks; last the member's own.
    """
    *extended, own = blocks
    # Of each extended header the block, then what it holds, without its padding.
    for block, held in zip(extended[::2], extended[1::2], strict=True):
        if block[KIND] != tarfile.XGLTYPE:
            yield block + held + bytes(-len(held) % BLOCK)
    yield own
