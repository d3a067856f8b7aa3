"""Where the kept samples of a shard lie in it, written when it was read once, so that it is never read whole again."""

import io
from collections.abc import Iterable
from itertools import groupby
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from filtering.loaders.members import Kept
from filtering.shards.inventory import Shard
from filtering.shards.source import GZIP_MAGIC
from filtering.storage.store import Store, is_local, read_range

OFFSETS = pa.schema([("key", pa.string()), ("extension", pa.string()), ("start", pa.int64()), ("size", pa.int64())])
"""A line for each member of a kept sample, in the order of samples."""

# What is read for nothing rather than asking a second time: a request over a network costs about as much.
GAP_BYTES, LOCAL_GAP_BYTES = 128 << 10, 4 << 10
# One request, unless a sample alone is larger.
READ_BYTES = 1 << 20
# Above this share of a shard's bytes it is read from start to end.
WORTH = 0.5


class Slice(NamedTuple):
    """A member's place in a tar: the bytes from `start` to `end`."""

    extension: str
    start: int
    end: int


class Placed(NamedTuple):
    """A kept sample and where its members lie."""

    key: str
    slices: list[Slice]

    @property
    def start(self) -> int:
        """The first byte of its members."""
        return min(part.start for part in self.slices)

    @property
    def end(self) -> int:
        """The byte after its members."""
        return max(part.end for part in self.slices)


class Read(NamedTuple):
    """One request: the bytes from `start` to `end`, which hold the members of some samples."""

    start: int
    end: int
    samples: list[Placed]


class Offsets:
    """The offsets of a run's shards, an object for each in one folder.

    Parameters
    ----------
    folder : str
        Path or URL.
    manifest_hash : str
        Of the run: another run keeps other samples of the same shards.
    """

    def __init__(self, folder: str, manifest_hash: str) -> None:
        self._store, self._mark = Store(folder), manifest_hash[:16]

    def read(self, shard: Shard) -> list[Read] | None:
        """Return the requests that read a shard's kept samples, None if it is as good or necessary to read it whole."""
        try:
            data = self._store.read(self._name(shard))
        except FileNotFoundError:
            return None
        reads = planned(_placed(pq.read_table(io.BytesIO(data))), LOCAL_GAP_BYTES if is_local(shard.url) else GAP_BYTES)
        return reads if sum(read.end - read.start for read in reads) <= WORTH * shard.size else None

    def has(self, shard: Shard) -> bool:
        """Say whether the offsets of a shard are known."""
        return self._store.exists(self._name(shard))

    def write(self, shard: Shard, samples: Iterable[Placed]) -> None:
        """Write where all kept samples of a shard lie; nothing for a compressed one, which has no such places."""
        if read_range(shard.url, 0, len(GZIP_MAGIC)) == GZIP_MAGIC:
            return
        lines = [(one.key, part.extension, part.start, part.end - part.start) for one in samples for part in one.slices]
        columns = zip(*lines, strict=True) if lines else [[]] * 4
        self._store.write_table(self._name(shard), pa.table([pa.array(column) for column in columns], schema=OFFSETS))

    def _name(self, shard: Shard) -> str:
        return f"{shard.identity}-{self._mark}.parquet"


def placed(kept: Kept) -> Placed:
    """Return where a sample that was read lies."""
    return Placed(kept.key, [Slice(part.extension, part.start, part.start + len(part.data)) for part in kept.parts])


def planned(samples: Iterable[Placed], gap: int) -> list[Read]:
    """Return the requests that read samples, in their order.

    A sample is one request, whatever lies between its members; two whose gap is small share one. So samples whose
    members lie far apart come to more bytes than their shard has, and are read with it.
    """
    reads: list[Read] = []
    for sample in samples:
        last = reads[-1] if reads else None
        if last and 0 <= sample.start - last.end <= gap and sample.end - last.start <= READ_BYTES:
            last.samples.append(sample)
            reads[-1] = last._replace(end=sample.end)
        else:
            reads.append(Read(sample.start, sample.end, [sample]))
    return reads


def _placed(table: pa.Table) -> list[Placed]:
    columns = (table[name].to_pylist() for name in OFFSETS.names)
    # A key is kept once in a shard.
    return [
        Placed(key, [Slice(extension, start, start + size) for _, extension, start, size in lines])
        for key, lines in groupby(zip(*columns, strict=True), key=lambda line: line[0])
    ]
