"""Objects read by ranged requests that are made ahead: from start to end, or here and there."""

import io
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, BinaryIO, TypeVar, cast

from filtering.core.clock import CLOCK, Clock
from filtering.core.errors import RunError
from filtering.storage.local import check_is_file
from filtering.storage.retries import ShortBodyError, count, retried
from filtering.storage.urls import filesystem_of, is_http
from filtering.storage.versions import Version, entry_version

BLOCK_BYTES = 8 << 20
BUFFER_BYTES = 1 << 20
Request = TypeVar("Request")


class BlockStream(io.RawIOBase):
    """The `size` bytes of an object in order; at most three blocks are in memory.

    `fetch` returns the bytes from one offset to another, and is called again after a transient error. Reading raises
    RunError if a block cannot be fetched, or is shorter than it should be.
    """

    def __init__(
        self,
        url: str,
        size: int,
        fetch: Callable[[int, int], bytes],
        block: int = BLOCK_BYTES,
        clock: Clock = CLOCK,
    ) -> None:
        self._url, self._fetch, self._clock = url, fetch, clock
        self._starts = iter(range(0, size, block))
        self._size, self._block = size, block
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="stream")
        self._left = memoryview(b"")
        self._ahead = self._started()

    def readable(self) -> bool:
        """Say that the stream can be read."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill a part of the buffer and return how many bytes; 0 at the end."""
        if self.closed:
            raise ValueError(f"{self._url}: the stream is closed")
        if not self._left and self._ahead is not None:
            self._left = memoryview(self._ahead.result())
            self._ahead = self._started()
        part = self._left[: len(buffer)]
        buffer[: len(part)] = part
        self._left = self._left[len(part) :]
        return len(part)

    def close(self) -> None:
        """Stop fetching: the thread ends with the request it is at."""
        if not self.closed:
            self._thread.shutdown(cancel_futures=True)
            self._left, self._ahead = memoryview(b""), None
        super().close()

    def _started(self) -> Future[bytes] | None:
        start = next(self._starts, None)
        if start is None:
            return None
        end = min(start + self._block, self._size)
        return self._thread.submit(retried, lambda: self._whole(start, end), self._url, self._clock)

    def _whole(self, start: int, end: int) -> bytes:
        data = self._fetch(start, end)
        if len(data) != end - start:
            raise ShortBodyError(f"{self._url}: {len(data):,} bytes came where {end - start:,} were asked for")
        return data


def fetched_ahead(
    fetch: Callable[[Request], bytes], requests: Iterable[Request], at_once: int
) -> Generator[tuple[Request, bytes], None, None]:
    """Yield requests with what they fetch, in order; up to `at_once` are under way, and in memory, at a time."""
    threads = ThreadPoolExecutor(at_once, thread_name_prefix="ahead")
    under_way: deque[tuple[Request, Future[bytes]]] = deque()
    try:
        for request in requests:
            under_way.append((request, threads.submit(fetch, request)))
            if len(under_way) == at_once:
                first, data = under_way.popleft()
                yield first, data.result()
        for last, data in under_way:
            yield last, data.result()
    finally:
        threads.shutdown(cancel_futures=True)


class CountedFile(io.FileIO):
    """A file on a disk whose bytes are counted as they are read."""

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill a part of the buffer and return how many bytes; 0 at the end."""
        size = super().readinto(buffer) or 0
        count("read_bytes", size)
        return size

    def readall(self) -> bytes:
        """Return the rest of the file."""
        data = super().readall()
        count("read_bytes", len(data))
        return data


def disk_stream(path: str) -> BinaryIO:
    """Open a file on a disk for reading from start to end."""
    check_is_file(path)
    return io.BufferedReader(CountedFile(path), BUFFER_BYTES)


def block_stream(filesystem: Any, path: str, url: str) -> BinaryIO:
    """Open an object of any fsspec filesystem for reading from start to end; FileNotFoundError if there is none.

    Reading raises RunError if the object was replaced or deleted, or a block of it cannot be fetched.
    """
    opened = retried(lambda: filesystem.info(path), url)
    if not opened.get("ranges", True):
        return cast(BinaryIO, filesystem.stream(path))
    before = entry_version(url, opened)

    def fetch(start: int, end: int) -> bytes:
        try:
            data = _block(filesystem, path, start, end, url, before)
        except FileNotFoundError:
            raise RunError(f"{url}: was deleted while it was read") from None
        if data is None:
            raise RunError(f"{url}: was replaced while it was read")
        count_bytes(filesystem, "read_bytes", len(data))
        return data

    return cast(BinaryIO, io.BufferedReader(BlockStream(url, before.size, fetch), BUFFER_BYTES))


def offers_ranges(url: str) -> bool:
    """Say whether parts of an object can be read, as anywhere but on some web servers; else it is read from its start.

    FileNotFoundError if there is none.
    """
    if not is_http(url):
        return True
    filesystem, path = filesystem_of(url)
    return bool(retried(lambda: filesystem.info(path), url)["ranges"])


def _block(filesystem: Any, path: str, start: int, end: int, url: str, before: Version) -> bytes | None:
    """Return some bytes of an object, None if it no longer has the version with which it was opened."""
    data: bytes
    if checks_versions(filesystem):
        data = filesystem.read_block(path, start, end, before.mark)
        return data
    data = filesystem.cat_file(path, start=start, end=end)
    return data if entry_version(url, filesystem.info(path)) == before else None


def is_s3(filesystem: Any) -> bool:
    """Say whether a filesystem is `filtering.storage.s3.RetryingS3`, without importing it."""
    return "s3" in filesystem.protocol


def checks_versions(filesystem: Any) -> bool:
    """Say whether a filesystem is one of ours, whose `read_block` reads a part of an object of one version."""
    return not {"s3", "http"}.isdisjoint(filesystem.protocol)


def next_bytes(stream: BinaryIO, size: int) -> bytes:
    """Return the next bytes of a stream: fewer only where it ends."""
    parts, left = list[bytes](), size
    while left and (data := stream.read(left)):
        parts.append(data)
        left -= len(data)
    return b"".join(parts)


def count_bytes(filesystem: Any, name: str, amount: int) -> None:
    """Count what was read or written on a filesystem, but on ours, whose requests are counted where they are made."""
    if not checks_versions(filesystem):
        count(name, amount)
