"""Tar headers: what one block of 512 bytes, and the records of a PAX header, say about a member."""

import re
import tarfile
import zlib
from typing import NamedTuple

from filtering.shards.faults import Damaged

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


class Header(NamedTuple):
    """A member's header.

    Attributes
    ----------
    name : as in the tar, never to be used as a path.
    size : bytes of the data that follow.
    kind : tar's type byte.
    more_maps : whether further blocks of an old GNU sparse header follow.
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
    """Return the header in a block, None if it is the end mark.

    Parameters
    ----------
    block : bytes
        512 of them.
    at : int
        Where in the tar they stand, for messages.

    Raises
    ------
    Damaged
        If it is no header, or its checksum or one of its numbers is wrong.
    """
    found = ORDINARY.match(block, NUMBERS)
    if found is None or int(found[2], 8) != _checksum(block):
        return _parse_any(block, at)
    name = text(block[:NUMBERS])
    if block[PREFIX.start]:
        name = f"{text(block[PREFIX])}/{name}"
    return Header(name, int(found[1], 8), found[3])


def text(field: bytes) -> str:
    """Return the text up to the first NUL."""
    return field.partition(b"\0")[0].decode("utf-8", NAME_ERRORS)


def parse_records(data: bytes) -> Records:
    """Return what the records of a PAX header say, each `length key=value` and a line end.

    What follows a malformed record is not read.
    """
    if not RELEVANT.search(data):
        return Records()
    name = size = None
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
        sparse = sparse or key.startswith(b"GNU.sparse.")
        at = end
    return Records(name, size, sparse)


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
