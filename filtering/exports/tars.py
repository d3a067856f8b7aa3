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

import numpy as np

from filtering.core.errors import InputError
from filtering.exports.copying import Piece, RangeCopier, scratch_folder
from filtering.exports.members import Positions, check_unchanged, kept_members
from filtering.manifests.finished import Source
from filtering.storage.store import Store, commit_file

NAME = "{:08d}.tar"
STATISTICS = "{:08d}_stats.json"
EXCERPT = "{}.excerpt"
RANGES = "{}.ranges.npz"
# Two blocks of zeros end a tar, which is a whole number of records.
END_MARK = bytes(2 * tarfile.BLOCKSIZE)


@dataclass(frozen=True, slots=True)
class Target:
    """The tars that are written, and their size.

    Attributes
    ----------
    out : Store
        The output.
    scratch : Store
        The folder of objects that tasks write for later tasks.
    each : int
        Samples or bytes in a tar.
    by_bytes : bool
        Whether `each` is in bytes.
    max_image_bytes : int
        The run's `embedding.max_image_bytes`.
    """

    out: Store
    scratch: Store
    each: int
    by_bytes: bool
    max_image_bytes: int


@dataclass(frozen=True, slots=True)
class Placed:
    """A shard of the pool, the position at which its kept samples start, and whether they are read from itself."""

    source: Source
    position: int
    whole: bool = True

    def url(self, scratch: Store) -> str:
        """Return what holds the samples, once indexed; InputError if that is the shard and it has changed."""
        if not self.whole:
            return scratch.path(EXCERPT.format(self.source.shard.identity))
        check_unchanged(self.source)
        return self.source.shard.url


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
    """Return what is wrong when two shards have samples of one key that go into one tar."""
    return InputError(
        f"{NAME.format(number)} would hold two samples of key {key}, of {first} and {second}; "
        "export them from runs of their own"
    )


def copy_samples(number: int, sources: Sequence[Placed], target: Target) -> dict[str, int]:
    """Write a tar of so many samples, straight from the shards that they are in.

    Memory is that of `kept_members` for one shard, and the keys of the tar.
    """
    keys, samples = Keys(number), 0
    with written_tar(number, target) as copier:
        for placed in sources:
            with kept_members(placed.source, target.max_image_bytes) as members:
                positions = placed.position + np.arange(len(members.rows))
                here = _between(positions, number, target)
                keys.add(_some(placed.source, members.rows[here]), placed.source.shard.url)
                copier.copy(_pieces(str(members.path), members.ranges(), here))
                samples += here.stop - here.start
    return told(number, samples, target)


def index_shards(sources: Sequence[Source], target: Target) -> dict[str, list[int]]:
    """Leave where each kept sample of some shards is, in a tar on a disk or in an excerpt that is left, too.

    Returns, for each shard: `bytes` of its kept samples, those of the `largest` and of the `last`, `whole` if it is
    read from where it is. Memory is that of `kept_members` for one shard.
    """
    found: dict[str, list[int]] = {name: [] for name in ("bytes", "largest", "last", "whole")}
    for source in sources:
        sizes, whole = _indexed(source, target)
        values = (sizes.sum(), sizes.max(), sizes[-1], whole)
        for name, value in zip(found, values, strict=True):
            found[name].append(int(value))
    return found


def _indexed(source: Source, target: Target) -> tuple[Positions, bool]:
    scratch = target.scratch
    with scratch_folder(target.scratch) as folder, kept_members(source, target.max_image_bytes, folder) as members:
        if not members.whole:
            commit_file(scratch.path(EXCERPT.format(source.shard.identity)), str(members.path))
        sample, start, end = members.ranges()
        arrays = {"rows": members.rows, "sample": sample, "start": start, "end": end}
        scratch.write_arrays(RANGES.format(source.shard.identity), arrays)
        return _sizes(len(members.rows), sample, start, end), members.whole


def _sizes(count: int, sample: Positions, start: Positions, end: Positions) -> Positions:
    """Return how many bytes each kept sample has, headers and padding included, int64 (n,)."""
    sizes = np.zeros(count, dtype=np.int64)
    np.add.at(sizes, sample, end - start)
    return sizes


def copy_bytes(number: int, sources: Sequence[Placed], target: Target) -> dict[str, int]:
    """Write a tar of so many bytes, from what `index_shards` has left. Memory: 24 bytes a range of one shard."""
    keys, samples, scratch = Keys(number), 0, target.scratch
    with written_tar(number, target) as copier:
        for placed in sources:
            found = scratch.read_arrays(RANGES.format(placed.source.shard.identity))
            sizes = _sizes(len(found["rows"]), found["sample"], found["start"], found["end"])
            here = _between(placed.position + np.cumsum(sizes) - sizes, number, target)
            keys.add(_some(placed.source, found["rows"][here]), placed.source.shard.url)
            ranges = (found["sample"], found["start"], found["end"])
            copier.copy(_pieces(placed.url(scratch), ranges, here))
            samples += here.stop - here.start
    return told(number, samples, target)


def _between(positions: Positions, number: int, target: Target) -> slice:
    """Return which samples start in the tar of a number, by their ascending positions."""
    first, last = np.searchsorted(positions, [number * target.each, (number + 1) * target.each]).tolist()
    return slice(first, last)


def _some(source: Source, rows: Positions) -> Iterable[str]:
    keys = source.keys()
    return (keys[row] for row in rows.tolist())


def _pieces(url: str, ranges: tuple[Positions, Positions, Positions], here: slice) -> Iterator[Piece]:
    samples, starts, ends = ranges
    begin, end = np.searchsorted(samples, [here.start, here.stop]).tolist()
    for start, stop in zip(starts[begin:end].tolist(), ends[begin:end].tolist(), strict=True):
        yield Piece(url, start, stop)


@contextmanager
def written_tar(number: int, target: Target) -> Iterator[RangeCopier]:
    """Give what appends to the tar of a number; it is ended and becomes an object when the context is left in order."""
    with scratch_folder(target.scratch) as folder:
        path = folder / "tar"
        with RangeCopier(path) as copier:
            yield copier
            copier.write(END_MARK)
            copier.write(bytes(-copier.file.tell() % tarfile.RECORDSIZE))
        commit_file(target.out.path(NAME.format(number)), str(path))


def told(number: int, samples: int, target: Target) -> dict[str, int]:
    """Write the statistics of a tar as img2dataset does, and return how many samples it has."""
    counts = {"count": samples, "successes": samples, "failed_to_download": 0, "failed_to_resize": 0}
    # The same bytes whenever it is written: no times.
    times = {"duration": 0.0, "start_time": 0.0, "end_time": 0.0}
    found = json.dumps(counts | times | {"status_dict": {"success": samples}}, indent=4)
    target.out.write(STATISTICS.format(number), found.encode())
    return {"samples": samples}
