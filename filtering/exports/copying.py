"""Byte ranges of files and objects, one after the other, into a new file."""

import contextlib
import errno
import fcntl
import io
import os
import tempfile
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from filtering.core.errors import InputError
from filtering.shards.regions import GAP_BYTES
from filtering.storage.local import writing
from filtering.storage.retries import count
from filtering.storage.store import Store, filesystem_of, is_local, read_range
from filtering.storage.streams import fetched_ahead

# What is fetched of a remote object at once, how many such requests are in flight, and how many files are open.
FETCHED_BYTES = 8 << 20
IN_FLIGHT = 8
OPEN_FILES = 128
READ_BYTES = 1 << 20
PIPE_BYTES = 1 << 20
WRITEBACK_BYTES = 32 << 20
# What a filesystem says that cannot copy from file to file by itself.
NOT_HERE = (errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class Piece(NamedTuple):
    """The bytes [start, end) of a local path or a URL; of an object of S3 as long as it has this version, if any."""

    url: str
    start: int
    end: int
    version: str = ""


class Fetch(NamedTuple):
    """One request: bytes of a remote object that hold some pieces of it."""

    url: str
    start: int
    end: int
    version: str
    pieces: list[Piece]


class RangeCopier:
    """Appends pieces to a new file; those on a disk are copied by the kernel. Use it as a context.

    Memory: 2 MiB, and 8 pieces of at most 8 MiB that are fetched ahead from remote objects.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path.open("wb", buffering=0)
        self.sources: OrderedDict[str, io.FileIO] = OrderedDict()
        self.begun = 0
        self.pipe = _Pipe(self.file.fileno()) if hasattr(os, "splice") else None

    def __enter__(self) -> "RangeCopier":
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close all files."""
        for file in (*self.sources.values(), self.file):
            file.close()
        if self.pipe:
            self.pipe.close()

    def copy(self, pieces: Iterable[Piece]) -> None:
        """Append pieces in their order; InputError if one ends after its file."""
        for local, together in groupby(merged(pieces), key=lambda piece: _is_local(piece.url)):
            if local:
                for piece in together:
                    self._copy_local(piece)
                    self._begin_writeback()
                self._flush()
            else:
                for data in _fetched(together):
                    self.write(data)
                    self._begin_writeback()

    def write(self, data: bytes) -> None:
        """Append bytes."""
        left = memoryview(data)
        while left:
            left = left[self.file.write(left) :]

    def _copy_local(self, piece: Piece) -> None:
        source, at = self._opened(piece.url), piece.start
        while at < piece.end:
            copied = self._some(source.fileno(), at, piece.end - at)
            if not copied:
                raise InputError(f"{piece.url}: ends at byte {at:,}, but had more when it was looked at")
            at += copied
        count("read_bytes", piece.end - piece.start)

    def _some(self, source: int, at: int, size: int) -> int:
        if self.pipe:
            try:
                return self.pipe.take(source, at, size)
            except OSError as error:
                if error.errno not in NOT_HERE:
                    raise
                self._flush()
                self.pipe.close()
                self.pipe = None
        data = os.pread(source, min(size, READ_BYTES), at)
        self.write(data)
        return len(data)

    def _flush(self) -> None:
        if self.pipe:
            self.pipe.flush()

    def _begin_writeback(self) -> None:
        """Have the disk write while more is copied, rather than all at the end: what this advice does on Linux."""
        if self.file.tell() - self.begun >= WRITEBACK_BYTES and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self.file.fileno(), self.begun, 0, os.POSIX_FADV_DONTNEED)
            self.begun = self.file.tell()

    def _opened(self, url: str) -> io.FileIO:
        if url not in self.sources:
            if len(self.sources) >= OPEN_FILES:
                self.sources.popitem(last=False)[1].close()
            self.sources[url] = io.FileIO(filesystem_of(url)[1])
        self.sources.move_to_end(url)
        return self.sources[url]


class _Pipe:
    """Carries pages from files to a file without copying them into this process: the kernel copies once.

    Many ranges are in the pipe before they are written, because one large write costs less than one for each sample.
    """

    def __init__(self, target: int) -> None:
        self.target, self.held = target, 0
        self.exit, self.entry = os.pipe()
        # Without the right to a larger pipe there are more writes, of 64 KiB.
        with contextlib.suppress(OSError):
            fcntl.fcntl(self.entry, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def take(self, source: int, at: int, size: int) -> int:
        """Take bytes of a file, at most so many, and return how many; none at its end."""
        try:
            taken = os.splice(source, self.entry, size, offset_src=at, flags=os.SPLICE_F_NONBLOCK)
        except BlockingIOError:
            self.flush()
            return self.take(source, at, size)
        self.held += taken
        return taken

    def flush(self) -> None:
        """Write all that was taken."""
        while self.held:
            self.held -= os.splice(self.exit, self.target, self.held)

    def close(self) -> None:
        """Close both ends."""
        os.close(self.exit)
        os.close(self.entry)


@contextlib.contextmanager
def scratch_folder(scratch: Store) -> Iterator[Path]:
    """Give a folder of this machine, which is removed afterwards: on the output's own disk if that is on one."""
    near = None
    if is_local(scratch.url):
        near = Path(filesystem_of(scratch.url)[1])
        near.mkdir(parents=True, exist_ok=True)
    with (
        writing(near or Path(tempfile.gettempdir())),
        tempfile.TemporaryDirectory(prefix="filtering-", dir=near, ignore_cleanup_errors=True) as folder,
    ):
        yield Path(folder)


def merged(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Yield pieces, those that go on where the one before ended as one with it."""
    before: Piece | None = None
    for piece in pieces:
        if before and before.url == piece.url and before.end == piece.start:
            before = before._replace(end=piece.end)
            continue
        if before:
            yield before
        before = piece
    if before:
        yield before


def _fetched(pieces: Iterable[Piece]) -> Iterator[bytes]:
    """Yield the bytes of remote pieces in order, some requests ahead; pieces a small gap apart share a request."""
    for fetch, data in fetched_ahead(_whole, _requests(pieces), IN_FLIGHT):
        for piece in fetch.pieces:
            yield data[piece.start - fetch.start : piece.end - fetch.start]


def _requests(pieces: Iterable[Piece]) -> Iterator[Fetch]:
    fetch: Fetch | None = None
    for part in (part for piece in pieces for part in _parts(piece)):
        if fetch and _goes_on(fetch, part):
            fetch.pieces.append(part)
            fetch = fetch._replace(end=part.end)
            continue
        if fetch:
            yield fetch
        fetch = Fetch(*part, [part])
    if fetch:
        yield fetch


def _goes_on(fetch: Fetch, part: Piece) -> bool:
    near = fetch.url == part.url and 0 <= part.start - fetch.end <= GAP_BYTES
    return near and part.end - fetch.start <= FETCHED_BYTES


def _parts(piece: Piece) -> Iterator[Piece]:
    for start in range(piece.start, piece.end, FETCHED_BYTES):
        yield piece._replace(start=start, end=min(start + FETCHED_BYTES, piece.end))


def _whole(fetch: Fetch) -> bytes:
    url, start, end = fetch.url, fetch.start, fetch.end
    data = read_range(url, start, end, fetch.version)
    if len(data) != end - start:
        raise InputError(f"{url}: ends at byte {start + len(data):,}, but had more when it was looked at")
    return data


@lru_cache(maxsize=1024)
def _is_local(url: str) -> bool:
    return is_local(url)
