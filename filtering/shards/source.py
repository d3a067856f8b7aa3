"""Exact reads from the start of a stream to its end, gzip-compressed or not, in bounded memory."""

import gzip
import io
import zlib
from collections.abc import Callable
from typing import BinaryIO

from filtering.shards.faults import Damaged

CHUNK = 1 << 17
GZIP_MAGIC = b"\x1f\x8b"
# Pictures hardly shrink; what inflates further than this, after the first bytes, is made to keep its reader busy.
MAX_INFLATION = 100
INFLATION_FREE_BYTES = 64 << 20


class ByteSource:
    """Hands out a stream's bytes; knows how far it came.

    Parameters
    ----------
    stream : binary file
        Read from start to end, never sought; inflated if it starts like gzip. Where it has a method `skip`, which
        passes some bytes and returns how many, bytes that are not wanted are passed by it rather than read.
    start : int, optional
        The offset of the stream's first byte in a tar that is not compressed; without it, the stream is a whole tar.
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

    def take(self, size: int) -> bytes:
        """Return exactly `size` bytes.

        Raises
        ------
        Damaged
            If the stream ends before.
        """
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
