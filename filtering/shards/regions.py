"""Parts of a tar, read in their order: by offset on a disk, by ranged requests made ahead from a remote store."""

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from typing import BinaryIO, NamedTuple, cast

from fsspec.implementations.local import LocalFileSystem

from filtering.core.errors import RunError
from filtering.shards.inventory import Shard
from filtering.shards.source import ByteSource, SparseFile
from filtering.storage.store import filesystem_of, is_local, read_range, stream_object
from filtering.storage.streams import fetched_ahead, offers_ranges

# Bytes of one request, and requests that are under way, and in memory, at a time.
REQUEST_BYTES = 1 << 20
REQUESTS_AT_ONCE = 8
# What is read for nothing rather than making a second request: one over a network costs about as much.
GAP_BYTES, LOCAL_GAP_BYTES = 128 << 10, 4 << 10


class Region(NamedTuple):
    """The bytes [start, end) of a tar."""

    start: int
    end: int


def joined(spans: Iterable[tuple[int, int]], gap: int) -> list[Region]:
    """Return regions that hold spans (start, end), which ascend by their starts; those a gap apart share one."""
    regions: list[Region] = []
    for start, end in spans:
        if regions and start - regions[-1].end <= gap:
            regions[-1] = Region(regions[-1].start, max(end, regions[-1].end))
        else:
            regions.append(Region(start, end))
    return regions


def open_tar(url: str) -> BinaryIO:
    """Open a tar that is read once, from start to end: on a disk, bytes that are passed are not read."""
    filesystem, path = filesystem_of(url)
    return cast(BinaryIO, SparseFile(path)) if isinstance(filesystem, LocalFileSystem) else stream_object(url)


def gap_bytes(shard: Shard) -> int:
    """Return how far apart two regions of a shard may be to be read as one."""
    return LOCAL_GAP_BYTES if is_local(shard.url) else GAP_BYTES


def region_sources(
    shard: Shard, regions: Sequence[Region], compressed: bool = False, whole: bool = True
) -> Iterator[ByteSource]:
    """Yield, for each region, a source that stands at its start and is read before the next one is asked for.

    Regions ascend without overlaps. A compressed tar is inflated from its start, as one
    of a web server without ranges is read. Unless the `whole` of the regions is
    wanted, those on a disk are read in small steps. An object of S3 or the web is read only as long
    as it has the shard's version.
    Memory: a chunk of 128 KiB; of a remote tar, `REQUESTS_AT_ONCE` requests of `REQUEST_BYTES`.

    RunError if a remote shard is shorter than that, or was replaced; Damaged if a compressed one ends before a region.
    """
    if compressed or not offers_ranges(shard.url):
        yield from _inflated(shard, regions)
    elif is_local(shard.url):
        with SparseFile(filesystem_of(shard.url)[1]) as file:
            for region in regions:
                file.move(region.start, region.end, whole)
                yield ByteSource(cast(BinaryIO, file), region.start)
    else:
        yield from _requested(shard, regions)


def _inflated(shard: Shard, regions: Iterable[Region]) -> Iterator[ByteSource]:
    with stream_object(shard.url) as stream:
        source = ByteSource(stream)
        for region in regions:
            source.skip(region.start - source.offset)
            yield source


def _requested(shard: Shard, regions: Sequence[Region]) -> Iterator[ByteSource]:
    requests = (request for region in regions for request in _requests(region))
    with closing(fetched_ahead(partial(_fetch, shard), requests, REQUESTS_AT_ONCE)) as blocks:
        for region in regions:
            own = islice(blocks, -(-(region.end - region.start) // REQUEST_BYTES))
            yield ByteSource(cast(BinaryIO, _Blocks(own)), region.start)
            for _ in own:
                pass


def _requests(region: Region) -> Iterator[Region]:
    for start in range(region.start, region.end, REQUEST_BYTES):
        yield Region(start, min(start + REQUEST_BYTES, region.end))


def _fetch(shard: Shard, request: Region) -> bytes:
    data = read_range(shard.url, request.start, request.end, shard.version)
    if len(data) < request.end - request.start:
        raise RunError(f"{shard.url}: ends at byte {request.start + len(data):,}, too early")
    return data


class _Blocks(io.RawIOBase):
    """The bytes of blocks, one after the other."""

    def __init__(self, blocks: Iterator[tuple[Region, bytes]]) -> None:
        self._blocks, self._held, self._at = blocks, b"", 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Return some bytes, none at the end."""
        if self._at == len(self._held):
            self._held, self._at = next((data for _, data in self._blocks), b""), 0
        end = len(self._held) if size < 0 else self._at + size
        data = self._held[self._at : end]
        self._at += len(data)
        return data
