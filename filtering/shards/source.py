"""Exact reads of streams, gzip-compressed or not, and of tars on a disk of which only what is wanted is read."""

import gzip
import io
import os
import zlib
from collections.abc import Callable
from typing import BinaryIO

from filtering.shards.faults import Damaged
from filtering.storage.retries import count

CHUNK = 1 << 17
GZIP_MAGIC = b"\x1f\x8b"
# Pictures hardly shrink; what inflates further than this, after the first bytes, is made to keep its reader busy.
MAX_INFLATION = 100
INFLATION_FREE_BYTES = 64 << 20
# What is read where a member was passed: the headers that follow, and often the small members between two images.
FIRST_BYTES = 8 << 10


class ByteSource:
    """Hands out the bytes of a stream, which is read from start to end, never sought; knows how far it came.

    Where the stream has a method `skip`, which passes some bytes and returns how many, bytes that are not wanted are
    passed by it rather than read. `start` is the offset of its first byte in a tar that is not compressed; without it,
    the stream is a whole tar, inflated if it starts like gzip.
    """

    def __init__(self, stream: BinaryIO, start: int | None = None) -> None:
        self._held = stream.read(len(GZIP_MAGIC)) if start is None else b""
        self._at = 0
        self._passed = start or 0
        self._compressed: _Rejoined | None = None
        self._stream = stream
        self._jump: Callable[[int], int] | None = getattr(stream, "skip", None)
        if self._held == GZIP_MAGIC:
            self._compressed = _Rejoined(self._held, stream)
            self._stream = gzip.GzipFile(fileobj=io.BufferedReader(self._compressed, CHUNK))  # type: ignore[assignment]
            self._held = b""
            self._jump = None

    @property
    def compressed(self) -> bool:
        """Whether the stream is inflated: offsets are then those of the inflated bytes, which cannot be sought."""
        return self._compressed is not None

    @property
    def offset(self) -> int:
        """The offset of the next byte."""
        return self._passed + self._at

    def peek(self, size: int) -> bytes:
        """Return at most `size` of the next bytes, which stay the next ones; none at the end."""
        start, head = self.offset, self._held[self._at :]
        while len(head) < size and self._refill():
            head += self._held
        self._passed, self._held, self._at = start, head, 0
        return head[:size]

    def take(self, size: int) -> bytes:
        """Return exactly `size` bytes; Damaged if the stream ends before."""
        data = self.take_or_end(size)
        if len(data) < size:
            self._ended(size - len(data))
        return data

    def take_or_end(self, size: int) -> bytes:
        """Return `size` bytes, or none at the end; Damaged if there are some, but fewer."""
        end = self._at + size
        data = self._held[self._at : end]
        if end <= len(self._held):
            self._at = end
            return data
        parts, left = [data], size - len(data)
        while left and self._refill():
            parts.append(self._held[:left])
            self._at = len(parts[-1])
            left -= self._at
        if 0 < left < size:
            self._ended(left)
        return b"".join(parts)

    def skip(self, size: int) -> None:
        """Pass `size` bytes; Damaged if there are fewer."""
        self._at += size
        if self._jump is not None and (left := self._at - len(self._held)) > 0:
            passed = self._jump(left)
            self._passed, self._held, self._at = self.offset - left + passed, b"", 0
            if passed < left:
                self._ended(left - passed)
        while (left := self._at - len(self._held)) > 0:
            self._at = len(self._held)
            if not self._refill():
                self._ended(left)
            self._at = left

    def rest_is_zero(self) -> bool:
        """Read to the end, or to the first byte that is not zero."""
        rest = self._held[self._at :]
        while rest.count(0) == len(rest):
            self._at = len(self._held)
            if not self._refill():
                return True
            rest = self._held
        return False

    def _ended(self, left: int) -> None:
        raise Damaged("truncated_tar", f"ends at byte {self.offset}, {left} bytes too early")

    def _refill(self) -> bool:
        self._passed += len(self._held)
        self._at = 0
        try:
            self._held = self._stream.read(CHUNK)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            self._held = b""
            raise Damaged("corrupt_gzip", f"at byte {self._passed}: {error}") from None
        if self._compressed:
            self._check_inflation(self._compressed.given)
        return bool(self._held)

    def _check_inflation(self, compressed: int) -> None:
        if self._passed > max(INFLATION_FREE_BYTES, MAX_INFLATION * compressed):
            raise Damaged("gzip_bomb", f"{compressed} bytes inflate to more than {self._passed}; the rest is not read")


class _Rejoined(io.RawIOBase):
    """A stream whose first bytes were already read; counts what it gives."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        self.head = head
        self.stream = stream
        self.given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]
        data = self.head or self.stream.read(len(buffer))
        self.head = data[len(buffer) :] if self.head else b""
        data = data[: len(buffer)]
        buffer[: len(data)] = data
        self.given += len(data)
        return len(data)


class SparseFile(io.RawIOBase):
    """A file read forward, in which bytes are passed without being read; counts what it reads.

    Reads are small after bytes were passed and double up to `CHUNK` from there, so that both tars of which nearly
    everything and tars of which nearly nothing is wanted are read in few requests and few bytes.
    """

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._size = self._end = os.fstat(self._file).st_size
        self._at = 0
        self._most = FIRST_BYTES

    def move(self, start: int, end: int, whole: bool) -> None:
        """Go on at an offset and let the file end at another; `whole` if nothing in between is to be passed."""
        self._at, self._end = start, min(end, self._size)
        self._most = CHUNK if whole else FIRST_BYTES

    def readable(self) -> bool:
        """Return that the file can be read."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return some bytes, perhaps fewer than asked for, none at the end."""
        most = min(self._most, self._end - self._at)
        data = os.pread(self._file, most if size < 0 else min(size, most), self._at) if most > 0 else b""
        self._at += len(data)
        self._most = min(2 * self._most, CHUNK)
        count("read_bytes", len(data))
        return data

    def skip(self, size: int) -> int:
        """Pass bytes and return how many there were."""
        passed = min(size, max(self._end - self._at, 0))
        self._at += passed
        if passed > FIRST_BYTES:
            self._most = FIRST_BYTES
        return passed

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            os.close(self._file)
        super().close()
