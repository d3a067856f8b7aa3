"""The tar format: kept members, byte for byte, in new shards of a wanted size. What its tasks do.

Headers are copied with their members, so that a sample is one range of bytes of its shard. Positions are those of the
kept samples in a row, in samples or in bytes; the tar n of the output has the samples that start in
[n * each, n * each + each).
"""

import json
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from filtering.core.errors import InputError
from filtering.exports.copying import Piece, RangeCopier, scratch_folder
from filtering.exports.members import Positions, Ranges, check_unchanged, excerpt_of, kept_ranges
from filtering.exports.parts import Samples
from filtering.manifests.finished import Source
from filtering.shards.inventory import Shard
from filtering.shards.members import keys_at
from filtering.shards.offsets import key_hash
from filtering.storage.store import Store, commit_file

NAME = "{:08d}.tar"
STATISTICS = "{:08d}_stats.json"
EXCERPT = "{}.excerpt"
RANGES = "{}.ranges.npz"
# Two blocks of zeros end a tar, which is a whole number of records.
END_MARK = bytes(2 * tarfile.BLOCKSIZE)


@dataclass(frozen=True, slots=True)
class Target:
    """The tars that are written, of `each` samples or bytes, with a folder of objects for later tasks."""

    out: Store
    scratch: Store
    each: int
    by_bytes: bool
    max_image_bytes: int


@dataclass(frozen=True, slots=True)
class Placed:
    """A shard of the pool, the position of its first kept sample, and whether they are read from the shard itself."""

    source: Source
    position: int
    whole: bool = True

    def holder(self, scratch: Store) -> Shard:
        """Return the shard, or its excerpt once it is indexed; InputError if the shard is read and has changed."""
        shard = self.source.shard
        if not self.whole:
            return excerpt_of(shard, scratch.path(EXCERPT.format(shard.identity)))
        check_unchanged(self.source)
        return shard


class Indexed(TypedDict):
    """The result of indexing shards, a value for each: bytes of all its kept samples, of the largest, of the last one.

    `whole`: whether samples are read from the shard itself.
    """

    bytes: list[int]
    largest: list[int]
    last: list[int]
    whole: list[bool]


class Keys:
    """The keys of one tar, each of which may be there once."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.seen: dict[str, str] = {}

    def add(self, keys: Iterable[str], url: str) -> None:
        """Take the keys of a shard's samples; InputError if another shard has one of them."""
        for key in keys:
            if (other := self.seen.setdefault(key, url)) != url:
                raise repeated(self.number, key, other, url)


def repeated(number: int, key: str, first: str, second: str) -> InputError:
    """Return the error of two shards that have samples of one key which go into one tar."""
    return InputError(
        f"{NAME.format(number)} would hold two samples of key {key}, of {first} and {second}; "
        "export them from runs of their own"
    )


def misplaced(source: Source, key: str) -> InputError:
    """Return the error of a shard that has other bytes where a kept sample was."""
    return InputError(f"{source.shard.url}: kept sample {key} is not where it was when the run read it; run it again")


def copy_samples(number: int, sources: Sequence[Placed], target: Target) -> Samples:
    """Write a tar of `target.each` samples, from the shards that have them.

    Memory is that of `kept_ranges` for one shard, and the keys of the tar.
    """
    keys, samples = Keys(number), 0
    with written_tar(number, target) as tar:
        for placed in sources:
            with kept_ranges(placed.source, target.max_image_bytes) as (holder, ranges):
                here = between(placed.position + np.arange(len(ranges.rows)), number, target)
                samples += _copy(tar, keys, placed.source, holder, ranges.of(here))
    return counted(number, samples, target)


def index_shards(sources: Sequence[Source], target: Target) -> Indexed:
    """Write the ranges of the kept samples of some shards for later tasks, and excerpts of compressed shards.

    Memory is that of `kept_ranges` for one shard.
    """
    found = [_indexed(source, target) for source in sources]
    return Indexed(
        bytes=[int(sizes.sum()) for sizes, _ in found],
        largest=[int(sizes.max()) for sizes, _ in found],
        last=[int(sizes[-1]) for sizes, _ in found],
        whole=[whole for _, whole in found],
    )


def _indexed(source: Source, target: Target) -> tuple[Positions, bool]:
    scratch, shard = target.scratch, source.shard
    with scratch_folder(scratch) as folder, kept_ranges(source, target.max_image_bytes, folder) as (holder, ranges):
        if holder != shard:
            commit_file(scratch.path(EXCERPT.format(shard.identity)), holder.url)
        scratch.write_arrays(RANGES.format(shard.identity), ranges.arrays())
        return ranges.sizes(), holder == shard


def copy_bytes(number: int, sources: Sequence[Placed], target: Target) -> Samples:
    """Write a tar of `target.each` bytes, of ranges that `index_shards` has written. Memory: 32 bytes a range."""
    keys, samples = Keys(number), 0
    with written_tar(number, target) as tar:
        for placed in sources:
            ranges = read_ranges(target.scratch, placed.source)
            sizes = ranges.sizes()
            here = between(placed.position + np.cumsum(sizes) - sizes, number, target)
            samples += _copy(tar, keys, placed.source, placed.holder(target.scratch), ranges.of(here))
    return counted(number, samples, target)


def read_ranges(scratch: Store, source: Source) -> Ranges:
    """Return the ranges that `index_shards` has written of a shard."""
    return Ranges(**scratch.read_arrays(RANGES.format(source.shard.identity)))


def between(positions: Positions, number: int, target: Target) -> slice:
    """Return which samples start in the tar of a number, by their ascending positions."""
    first, last = np.searchsorted(positions, [number * target.each, (number + 1) * target.each]).tolist()
    return slice(first, last)


def _copy(tar: RangeCopier, keys: Keys, source: Source, holder: Shard, ranges: Ranges) -> int:
    """Append samples to a tar and return how many."""
    known = source.keys()
    own = [known[row] for row in ranges.rows.tolist()]
    keys.add(own, source.shard.url)
    wrong = append(tar, ranges.pieces(holder), ranges.sizes(), [key_hash(key) for key in own])
    if wrong is not None:
        raise misplaced(source, own[wrong])
    return len(own)


def append(tar: RangeCopier, pieces: Iterable[Piece], sizes: Positions, keys: Sequence[int]) -> int | None:
    """Append samples to a tar; return the first one that does not begin with a member of its key, None if all do.

    Their pieces follow each other; `sizes`, int64 (n,), are their bytes, `keys` the hashes of their keys.
    """
    starts = tar.file.tell() + np.cumsum(sizes) - sizes
    tar.copy(pieces)
    found = keys_at(tar.path, starts.tolist())
    wrong = (at for at, (key, hashed) in enumerate(zip(found, keys, strict=True)) if key_hash(key) != hashed)
    return next(wrong, None)


@contextmanager
def written_tar(number: int, target: Target) -> Iterator[RangeCopier]:
    """Give the tar of a number to append to; it is ended and becomes an object when the context is left in order."""
    with scratch_folder(target.scratch) as folder:
        path = folder / "tar"
        with RangeCopier(path) as copier:
            yield copier
            copier.write(END_MARK)
            copier.write(bytes(-copier.file.tell() % tarfile.RECORDSIZE))
        commit_file(target.out.path(NAME.format(number)), str(path))


def counted(number: int, samples: int, target: Target) -> Samples:
    """Write the statistics of a tar as img2dataset does, and return how many samples it has."""
    counts = {"count": samples, "successes": samples, "failed_to_download": 0, "failed_to_resize": 0}
    # The same bytes whenever it is written: no times.
    times = {"duration": 0.0, "start_time": 0.0, "end_time": 0.0}
    found = json.dumps(counts | times | {"status_dict": {"success": samples}}, indent=4)
    target.out.write(STATISTICS.format(number), found.encode())
    return Samples(samples=samples)
