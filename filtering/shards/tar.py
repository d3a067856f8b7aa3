"""Stream the members of an untrusted tar: nothing is extracted, every fault is reported, nothing raises.

`tarfile` ends silently at a damaged header and `webdataset` raises; a filter must know what it did not see.
"""

import gzip
import io
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

BLOCK = tarfile.BLOCKSIZE
CHUNK = 1 << 20
MAX_MEMBER_BYTES = 128 << 20
MAX_HEADER_BYTES = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"
# Names that are not UTF-8 stay readable and can be written to a table.
NAME_ERRORS = "backslashreplace"

# A sparse file in PAX format looks like a regular one; its data starts with a map. (No type byte of tar's own.)
PAX_SPARSE = b"pax sparse"

NOT_FILES = {
    PAX_SPARSE: "a sparse file",
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.DIRTYPE: "a directory",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """Why something cannot be used: a reason that is counted, and a detail for a person."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a tar; `data` is None if it was not wanted or has a fault.

    A member whose `ends` is true is the last: its fault kept the rest of the tar from being read, and its name
    is empty where no member was being read.
    """

    name: str
    data: bytes | None
    fault: Fault | None = None
    ends: bool = False


class _Damaged(Exception):
    """The stream cannot be read further."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.fault = Fault(reason, detail)


def read_members(stream: BinaryIO, wanted: Callable[[str], bool], limit: int = MAX_MEMBER_BYTES) -> Iterator[Member]:
    """Yield the members of a tar (gzip-compressed or not) in order; memory is bounded by `limit`.

    Parameters
    ----------
    stream : binary file
        Read from start to end, never sought.
    wanted : callable
        Whether a member's bytes are to be read, given its name.
    limit : int
        Bytes; a larger member is skipped with the fault ``member_too_large``.
    """
    reader = _Reader(_decompressed(stream))
    try:
        while (header := reader.header()) is not None:
            yield from _member(reader, *header, wanted, limit)
    except _Damaged as damage:
        yield Member(reader.name, None, damage.fault, ends=True)


def _member(
    reader: "_Reader", info: tarfile.TarInfo, name: str, wanted: Callable[[str], bool], limit: int
) -> Iterator[Member]:
    reader.name = name
    if info.type in NOT_FILES:
        if info.type == tarfile.GNUTYPE_SPARSE:
            reader.skip_sparse_maps(info)
        if info.type in (tarfile.GNUTYPE_SPARSE, PAX_SPARSE):
            reader.skip(info.size)
        yield Member(name, None, Fault("not_a_file", f"is {NOT_FILES[info.type]}"))
    elif info.size > limit:
        reader.skip(info.size)
        yield Member(name, None, Fault("member_too_large", f"{info.size} bytes, at most {limit} are read"))
    elif wanted(name):
        yield Member(name, reader.payload(info.size))
    else:
        reader.skip(info.size)
        yield Member(name, None)
    reader.name = ""


class _Reader:
    """Reads blocks and headers; knows how far it came and which member it was in."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.offset = 0
        self.name = ""

    def header(self) -> tuple[tarfile.TarInfo, str] | None:
        """Return the next file's header and name, extended headers applied; None at the end mark."""
        name, size, sparse = "", -1, False
        while True:
            info = self._block_header()
            if info is None:
                return None
            if info.type in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK):
                text = self._extension(info).rstrip(b"\0").decode("utf-8", NAME_ERRORS)
                name = text if info.type == tarfile.GNUTYPE_LONGNAME else name
            elif info.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.XGLTYPE):
                records = _pax_records(self._extension(info))
                if info.type != tarfile.XGLTYPE:
                    name, size = records.get("path", name), _pax_size(records.get("size"), size)
                    sparse = any(key.startswith("GNU.sparse.") for key in records)
            else:
                info.type = PAX_SPARSE if sparse else info.type
                info.size = size if size >= 0 else info.size
                if info.size < 0:
                    raise _Damaged("corrupt_tar", f"negative size at byte {self.offset - BLOCK}")
                return info, name or info.name

    def payload(self, size: int) -> bytes:
        """Return `size` bytes and pass the padding."""
        data = self._read(size)
        self._read(-size % BLOCK)
        return data

    def skip(self, size: int) -> None:
        """Pass `size` bytes and the padding."""
        left = size + -size % BLOCK
        while left > 0:
            left -= len(self._read(min(left, CHUNK)))

    def skip_sparse_maps(self, info: tarfile.TarInfo) -> None:
        """Pass the extension blocks of an old GNU sparse header."""
        structs = getattr(info, "_sparse_structs", None)
        more = bool(structs and structs[1])
        while more:
            more = bool(self._read(BLOCK)[504])

    def _block_header(self) -> tarfile.TarInfo | None:
        start = self.offset
        block = self._read(BLOCK, allow_end=True)
        if not block:
            reason = "truncated_tar" if start else "empty_shard"
            raise _Damaged(reason, f"ends at byte {start} without an end mark" if start else "has no bytes")
        try:
            return tarfile.TarInfo.frombuf(block, "utf-8", NAME_ERRORS)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            self._expect_nothing_more(start)
            return None
        except (tarfile.HeaderError, ValueError) as error:
            raise _Damaged("corrupt_tar", f"no tar header at byte {start} ({error})") from None

    def _expect_nothing_more(self, start: int) -> None:
        while rest := self._next(CHUNK):
            if rest.count(0) != len(rest):
                raise _Damaged("data_after_end", f"an end mark at byte {start} is followed by more, which is not read")

    def _extension(self, info: tarfile.TarInfo) -> bytes:
        if not 0 <= info.size <= MAX_HEADER_BYTES:
            raise _Damaged("corrupt_tar", f"extended header of {info.size} bytes at byte {self.offset}")
        return self.payload(info.size)

    def _read(self, size: int, allow_end: bool = False) -> bytes:
        """Return exactly `size` bytes, or none at the end if that is allowed."""
        parts: list[bytes] = []
        left = size
        while left > 0:
            part = self._next(min(left, CHUNK))
            if not part:
                break
            parts.append(part)
            left -= len(part)
            self.offset += len(part)
        if left and not (allow_end and left == size):
            raise _Damaged("truncated_tar", f"ends at byte {self.offset}, {left} bytes too early")
        return b"".join(parts)

    def _next(self, size: int) -> bytes:
        try:
            return self.stream.read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise _Damaged("corrupt_gzip", f"at byte {self.offset}: {error}") from None


def _decompressed(stream: BinaryIO) -> BinaryIO:
    head = stream.read(len(GZIP_MAGIC))
    whole = io.BufferedReader(_Rejoined(head, stream), CHUNK)
    return gzip.GzipFile(fileobj=whole) if head == GZIP_MAGIC else whole  # type: ignore[return-value]


class _Rejoined(io.RawIOBase):
    """A stream whose first bytes were already read."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        self.head = head
        self.stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]
        data = self.head or self.stream.read(len(buffer))
        self.head = data[len(buffer) :] if self.head else b""
        data = data[: len(buffer)]
        buffer[: len(data)] = data
        return len(data)


def _pax_records(data: bytes) -> dict[str, str]:
    """Return the records of a PAX header, each `length key=value` and a line end; stops at a malformed one."""
    records: dict[str, str] = {}
    at = 0
    while (space := data.find(b" ", at, at + 20)) > at and data[at:space].isdigit():
        end = at + int(data[at:space])
        if not space < end <= len(data):
            break
        key, _, value = data[space + 1 : end - 1].partition(b"=")
        records[key.decode("utf-8", "replace")] = value.decode("utf-8", NAME_ERRORS)
        at = end
    return records


def _pax_size(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isdigit() and len(text) < 20 else default
