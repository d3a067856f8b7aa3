"""A tar on a disk, of which only what is wanted is read."""

import io
import os

from filtering.shards.source import CHUNK
from filtering.storage.retries import count

# What is read where a member was passed: the headers that follow, and often the small members between two images.
FIRST_BYTES = 8 << 10


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
