"""Reads the parts of a shard that hold kept samples, several at a time."""

from collections.abc import Callable, Iterable, Iterator

from filtering.core.errors import RunError
from filtering.loaders.members import Kept, Part
from filtering.loaders.offsets import Placed, Read
from filtering.shards.inventory import Shard
from filtering.storage.store import filesystem_of, is_local, read_range
from filtering.storage.streams import fetched_ahead, is_s3

REQUESTS_AT_ONCE = 8


def ranged_members(shard: Shard, reads: Iterable[Read]) -> Iterator[Kept]:
    """Yield the samples of the requests, in order; as many requests as are under way are in memory.

    Raises
    ------
    RunError
        If the shard was replaced or is shorter than it was.
    """
    parts: Iterator[tuple[Read, bytes]]
    if is_local(shard.url):
        parts = ((read, read_range(shard.url, read.start, read.end)) for read in reads)
    else:
        parts = fetched_ahead(_fetch(shard), reads, REQUESTS_AT_ONCE)
    for read, data in parts:
        if len(data) < read.end - read.start:
            raise RunError(f"{shard.url}: ends at byte {read.start + len(data):,}, too early")
        yield from (_kept(sample, data, read.start) for sample in read.samples)


def _fetch(shard: Shard) -> Callable[[Read], bytes]:
    filesystem, path = filesystem_of(shard.url)

    def pinned(read: Read) -> bytes:
        data: bytes = filesystem.read_block(path, read.start, read.end, shard.version)
        return data

    # Elsewhere a part of an object cannot be asked for together with its version.
    return pinned if is_s3(filesystem) else lambda read: read_range(shard.url, read.start, read.end)


def _kept(sample: Placed, data: bytes, start: int) -> Kept:
    return Kept(
        sample.key,
        [Part(part.extension, part.start, data[part.start - start : part.end - start]) for part in sample.slices],
    )
