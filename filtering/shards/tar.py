"""Stream the members of an untrusted tar: nothing is extracted, every fault is reported, nothing raises.

`tarfile` ends silently at a damaged header and `webdataset` raises; a filter must know what it did not see.
"""

import re
import tarfile
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from filtering.shards.faults import Damaged, Fault
from filtering.shards.foreign import LONGEST, foreign_kind
from filtering.shards.source import ByteSource

BLOCK = tarfile.BLOCKSIZE
# Names that are not UTF-8 stay readable and can be written to a table.
NAME_ERRORS = "backslashreplace"

# What nearly every block looks like from its byte 100 on: a regular file or a PAX header, all numbers octal.
# Everything else is left to `tarfile`, which is slower and knows more.
ORDINARY = re.compile(
    rb"(?:[0-7]{7}[\0 ]){3}([0-7]{11})[\0 ][0-7]{11}[\0 ]([0-7]{6})\0 ([0x])(?s:.{172})(?:[0-7]{7}[\0 ]|\0{8}){2}"
)
NUMBERS, CHECKSUM, PREFIX, SPARSE_MORE = 100, slice(148, 156), slice(345, 500), 482
RELEVANT = re.compile(rb"path=|size=|GNU\.sparse\.")

MAX_MEMBERS = 1_000_000
MAX_HEADER_BYTES = 1 << 20
# A member needs four at most: global, PAX, and GNU's long name and long link.
MAX_EXTENDED_HEADERS = 64

PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
EXTENDED = (*PAX, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
# A sparse file in PAX format looks like a regular one; its data starts with a map. (No type byte of tar's own.)
PAX_SPARSE = b"pax sparse"
MULTI_VOLUME = b"M"
# Folders, what dumps and volumes note of themselves, and attributes of Solaris: never members of a sample.
PASSED = frozenset({tarfile.DIRTYPE, b"D", b"V", b"N", b"A", b"E", b"I"})

NOT_A_FILE = "not_a_file"
NOT_FILES = {
    PAX_SPARSE: "a sparse file",
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
    MULTI_VOLUME: "the rest of a file whose beginning is in another volume",
}


class Header(NamedTuple):
    """A member's header: its name as in the tar, never to be used as a path, bytes of its data, tar's type byte.

    `more_maps`: whether further blocks of an old GNU sparse header follow.
    """

    name: str
    size: int
    kind: bytes
    more_maps: bool = False


class Records(NamedTuple):
    """What a PAX header says of the member that follows it; None where it says nothing."""

    name: str | None = None
    size: int | None = None
    sparse: bool = False


def parse_block(block: bytes, at: int) -> Header | None:
    """Return the header in a block of 512 bytes, None if it is the end mark; `at` is its offset, for messages.

    Damaged if it is no header, or its checksum or one of its numbers is wrong.
    """
    found = ORDINARY.match(block, NUMBERS)
    if found is None or int(found[2], 8) != _checksum(block):
        return _parse_any(block, at)
    name = text(block[:NUMBERS])
    if block[PREFIX.start]:
        name = f"{text(block[PREFIX])}/{name}"
    return Header(name, int(found[1], 8), found[3])


def usual_name(head: bytes) -> str:
    """Return the name in the first three blocks of a member as most tars have them, nothing where it takes a reader.

    That is its header alone, or behind a PAX header of one block of records that say nothing of its name or size.
    Damaged as in `parse_block`.
    """
    header = parse_block(head[:BLOCK], 0)
    if header and header.kind == tarfile.XHDTYPE and header.size <= BLOCK and not RELEVANT.search(head, BLOCK):
        header = parse_block(head[2 * BLOCK :], 0)
    return header.name if header and header.kind == tarfile.REGTYPE else ""


def text(field: bytes) -> str:
    """Return the text up to the first NUL."""
    return field.partition(b"\0")[0].decode("utf-8", NAME_ERRORS)


def parse_records(data: bytes) -> Records:
    """Return what the records of a PAX header say, each `length key=value` and a line end.

    What follows a malformed record is not read.
    """
    if not RELEVANT.search(data):
        return Records()
    name = size = real = None
    sparse, at = False, 0
    while (space := data.find(b" ", at, at + 20)) > at and data[at:space].isdigit():
        end = at + int(data[at:space])
        if not space < end <= len(data):
            break
        key, _, value = data[space + 1 : end - 1].partition(b"=")
        if key == b"path":
            name = value.decode("utf-8", NAME_ERRORS)
        elif key == b"size" and value.isdigit() and len(value) < 20:
            size = int(value)
        elif key == b"GNU.sparse.name":
            real = value.decode("utf-8", NAME_ERRORS)
        sparse = sparse or key.startswith(b"GNU.sparse.")
        at = end
    # Of a sparse file, the path and the header hold a name made up by the writer.
    return Records(name if real is None else real, size, sparse)


def _parse_any(block: bytes, at: int) -> Header | None:
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", NAME_ERRORS)
    except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
        return None
    except (tarfile.HeaderError, ValueError) as error:
        raise Damaged("corrupt_tar", f"no tar header at byte {at} ({error})") from None
    return Header(info.name, info.size, info.type, bool(block[SPARSE_MORE]))


def _checksum(block: bytes) -> int:
    """Return the sum of a block's bytes, its checksum field read as spaces."""
    # The low half of Adler-32 is the plain sum of up to 256 bytes, taken in C.
    first, second = zlib.adler32(block[:256], 0) & 0xFFFF, zlib.adler32(block[256:], 0) & 0xFFFF
    return first + second - sum(block[CHECKSUM]) + 8 * ord(" ")


class Member(NamedTuple):
    """A member of a tar. Offsets are bytes of the tar, inflated where it is compressed."""

    # As in the tar, never to be used as a path.
    name: str
    # None if it was not wanted or has a fault.
    data: bytes | None
    fault: Fault | None = None
    # Whether its fault kept the rest of the tar from being read; its name is empty where no member was being read.
    ends: bool = False
    # Bytes of `data`, or that it would have if data were held.
    size: int = 0
    # Offsets of its first header and of the next member; -1 where it ends the tar.
    start: int = -1
    end: int = -1
    # Offsets of global headers among its headers: they say something of all members that follow.
    foreign: tuple[tuple[int, int], ...] = ()

    @property
    def regular(self) -> bool:
        """Whether it has bytes of its own; links, devices and sparse files have none."""
        return self.fault is None or self.fault.reason != NOT_A_FILE


class TarReader:
    """Reads headers and members from where a source stands; knows which member it is in.

    Without `hold`, data are passed rather than read, and members have a size alone.
    """

    def __init__(self, source: ByteSource, hold: bool = True) -> None:
        self.source, self.hold = source, hold
        self.name = ""
        self.start = 0
        self.foreign: tuple[tuple[int, int], ...] = ()

    def members(self, limit_of: Callable[[str], int | None], max_members: int = MAX_MEMBERS) -> Iterator[Member]:
        """Yield the members up to the end mark; memory is bounded by the largest limit.

        `limit_of` returns, given a member's name, how many bytes of data it may have, or None if they are not wanted; a
        larger member is skipped with the fault ``member_too_large``. What follows `max_members` is not read; the last
        one then has the fault ``shard_too_long``.
        """
        try:
            for _ in range(max_members):
                header = self.header()
                if header is None:
                    return
                yield self.member(header, limit_of(header.name))
            if self.header() is not None:
                raise Damaged("shard_too_long", f"more than {max_members} members; the rest is not read")
        except Damaged as damage:
            yield Member(self.name, None, damage.fault, ends=True)

    def member(self, header: Header, limit: int | None) -> Member:
        """Return the member after its header, its data read or passed; at most `limit` bytes, None for no data."""
        self.name = header.name
        data, fault, size = None, None, 0
        if header.kind in NOT_FILES:
            fault = self._not_a_file(header)
        elif limit is None or header.size > limit:
            self._skip(header.size)
            if limit is not None:
                fault = Fault("member_too_large", f"{header.size} bytes, at most {limit} are read")
        elif self.hold:
            data, size = self._payload(header.size), header.size
        else:
            self._skip(header.size)
            size = header.size
        self.name = ""
        return Member(header.name, data, fault, False, size, self.start, self.source.offset, self.foreign)

    def header(self) -> Header | None:
        """Return the header of the next member that may be a sample's, extended headers applied; None at the end."""
        while (header := self._any_header()) is not None and header.kind in PASSED:
            if header.kind != tarfile.DIRTYPE:
                self._skip(header.size)
        return header

    def _any_header(self) -> Header | None:
        name, size, sparse = "", None, False
        self.start, self.foreign = self.source.offset, ()
        for _ in range(MAX_EXTENDED_HEADERS):
            begin = self.source.offset
            header = self._block()
            if header is None or header.kind not in EXTENDED:
                return header and _applied(header, name, size, sparse)
            data = self._extension(header.size)
            if header.kind == tarfile.GNUTYPE_LONGNAME:
                name = data.rstrip(b"\0").decode("utf-8", NAME_ERRORS)
            elif header.kind in PAX:
                records = parse_records(data)
                name = name if records.name is None else records.name.rstrip("/")
                size = size if records.size is None else records.size
                sparse = records.sparse
            elif header.kind == tarfile.XGLTYPE:
                self.foreign += ((begin, self.source.offset),)
        raise Damaged("corrupt_tar", f"more than {MAX_EXTENDED_HEADERS} extended headers in front of one member")

    def _block(self) -> Header | None:
        if self.source.offset:
            return self._next_block()
        first = self.source.peek(LONGEST)
        try:
            return self._next_block()
        except Damaged as damage:
            kind = foreign_kind(first)
            raise Damaged("corrupt_tar", kind) if kind else damage from None

    def _next_block(self) -> Header | None:
        start = self.source.offset
        block = self.source.take_or_end(BLOCK)
        if not block:
            reason = "truncated_tar" if start else "empty_shard"
            raise Damaged(reason, f"ends at byte {start} without an end mark" if start else "has no bytes")
        header = parse_block(block, start)
        if header is None and not self.source.rest_is_zero():
            raise Damaged("data_after_end", f"an end mark at byte {start} is followed by more, which is not read")
        if header is not None and header.size < 0 and header.kind not in EXTENDED:
            raise Damaged("corrupt_tar", f"negative size at byte {start}")
        return header

    def _extension(self, size: int) -> bytes:
        if not 0 <= size <= MAX_HEADER_BYTES:
            raise Damaged("corrupt_tar", f"extended header of {size} bytes at byte {self.source.offset}")
        return self._payload(size)

    def _not_a_file(self, header: Header) -> Fault:
        more = header.kind == tarfile.GNUTYPE_SPARSE and header.more_maps
        while more:
            more = bool(self.source.take(BLOCK)[504])
        if header.kind in (tarfile.GNUTYPE_SPARSE, PAX_SPARSE, MULTI_VOLUME):
            self._skip(header.size)
        return Fault(NOT_A_FILE, f"is {NOT_FILES[header.kind]}")

    def _payload(self, size: int) -> bytes:
        data = self.source.take(size)
        self.source.skip(-size % BLOCK)
        return data

    def _skip(self, size: int) -> None:
        self.source.skip(size + -size % BLOCK)


def _applied(header: Header, name: str, size: int | None, sparse: bool) -> Header:
    if not name and size is None and not sparse:
        return header
    kind = PAX_SPARSE if sparse else header.kind
    return Header(name or header.name, header.size if size is None else size, kind, header.more_maps)
