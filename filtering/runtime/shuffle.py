"""Rows on their way from many writers to many readers: one object a writer, a contiguous range of it a reader.

W writers and R readers make W objects, not W x R. An object is a header of JSON (where each group starts, and the
checksum of its records), then fixed-size records sorted by group, so that a reader asks each object for its header and
one range, and checks both.
"""

import json
import zlib
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, TypedDict

import numpy as np
import numpy.typing as npt

from filtering.core.errors import DamagedError
from filtering.runtime.shard_groups import current_packs
from filtering.storage.at_once import REQUESTS_AT_ONCE
from filtering.storage.checksums import MissingError, name_sum
from filtering.storage.reading import each_inside, read_into
from filtering.storage.store import Store, read_range, write_chunks

Records = npt.NDArray[np.void]
Positions = npt.NDArray[np.int64]

# What a writer holds at once, whatever it writes.
CHUNK_BYTES = 4 << 20
# The header's length, then the header: read in one request where it is not longer than usual.
LENGTH_BYTES = SUM_BYTES = 8
HEADER_BYTES = 1 << 14
# Ranges are asked for at once as far as they are not more together.
AHEAD_BYTES = 16 << 20
CHANGED = "is damaged (its checksum differs)"
# No header is longer: a damaged length must not make anyone read a whole object.
MOST_HEADER_BYTES = 1 << 30


def write_groups(
    store: Store,
    name: str,
    groups: npt.NDArray[np.integer[Any]],
    dtype: np.dtype[Any],
    records: Callable[[Positions], Records],
) -> list[int]:
    """Write records sorted by group (a partition, a shard), int (n,), as one object; return its groups, ascending.

    `records` returns the records that stand at some positions of `groups`, and is asked for about 4 MB at a time. The
    order inside a group is that of the positions. Where a task has several shards, their records become one object.
    """
    if (packs := current_packs()) is not None and packs.shares(name):
        packs.add(store, name, (groups, records(np.arange(len(groups)))), _write_parts)
        return [int(group) for group in np.unique(groups)]
    return _write_groups(store, name, groups, dtype, records)


def _write_parts(store: Store, name: str, parts: list[tuple[npt.NDArray[np.integer[Any]], Records]]) -> None:
    """Write the groups and records of several shards as one object: in a group, those of the first shard first."""
    records = np.concatenate([part for _, part in parts])
    _write_groups(store, name, np.concatenate([groups for groups, _ in parts]), records.dtype, records.__getitem__)


def _write_groups(
    store: Store,
    name: str,
    groups: npt.NDArray[np.integer[Any]],
    dtype: np.dtype[Any],
    records: Callable[[Positions], Records],
) -> list[int]:
    order = np.argsort(groups, kind="stable")
    spans = list(runs(groups[order]))
    present = [int(groups[order[span.start]]) for span in spans]
    sums = _Sums([span.start * dtype.itemsize for span in spans])
    starts = [span.start for span in spans] + [len(order)]
    header = _Header(dtype=dtype.descr, groups=present, starts=starts, sums=sums.digits())
    url = store.path(name)

    def chunks() -> Iterator[bytes | memoryview]:
        yield _head(url, header)
        step = max(1, CHUNK_BYTES // dtype.itemsize)
        for start in range(0, len(order), step):
            data = records(order[start : start + step]).view(np.uint8).data
            sums.add(data)
            yield data

    def finish(file: BinaryIO) -> None:
        # Of the same length: the checksums of the groups are known now.
        file.seek(0)
        file.write(_head(url, {**header, "sums": sums.digits()}))

    write_chunks(url, chunks(), finish)
    return present


def read_groups(store: Store, names: Sequence[str], first: int, last: int | None = None) -> Records | None:
    """Return the records of the groups [first, last), or of `first` alone, from many objects; None if there are none.

    They come in the order of `names`, inside an object by group. DamagedError if what is read of an object is damaged,
    or the object is missing.
    """
    end = first + 1 if last is None else last
    found = each_inside(store, lambda name: _find(store.path(name), first, end), names)
    places = [place for place in found if place is not None]
    if not places:
        return None
    records = np.empty(sum(place.count for place in places), dtype=places[0].dtype)
    data, size = records.view(np.uint8).data, records.itemsize
    ends = np.cumsum([place.count for place in places]).tolist()
    parts = [(place, data[(end - place.count) * size : end * size]) for place, end in zip(places, ends, strict=True)]
    largest = max(place.count for place in places) * size
    ahead = min(REQUESTS_AT_ONCE, AHEAD_BYTES // max(2 * largest, 1))
    deque(each_inside(store, lambda part: part[0].read_into(part[1]), parts, ahead), maxlen=0)
    return records


def read_all_groups(store: Store, name: str) -> Records | None:
    """Return the records of a whole object, by group; None if there are none, DamagedError as `read_groups`."""
    return read_groups(store, [name], np.iinfo(np.int64).min, np.iinfo(np.int64).max)


def check_groups(store: Store, name: str) -> None:
    """Read a whole object and check it; DamagedError if it is damaged or missing."""
    read_all_groups(store, name)


def moved_groups(url: str, before: str, data: bytes) -> bytes:
    """Return the whole object of a URL, `data`, as the object of another; DamagedError if it is damaged."""
    header, start = _parsed_head(before, data)
    dtype, records = _dtype_of(header), memoryview(data)[start:]
    whole = len(records) == header["starts"][-1] * dtype.itemsize
    _check(before, records, whole, [first * dtype.itemsize for first in header["starts"][:-1]], header["sums"])
    return b"".join([_head(url, header), records])


def runs(values: npt.NDArray[Any]) -> Iterator[slice]:
    """Yield the slice of each run of equal values in a sorted array."""
    if len(values):
        starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]]).tolist()
        for start, end in zip(starts, [*starts[1:], len(values)], strict=True):
            yield slice(start, end)


def packed(dtype: np.dtype[Any], **columns: npt.NDArray[Any]) -> Records:
    """Return columns of one length as records."""
    records = np.empty(len(next(iter(columns.values()))), dtype=dtype)
    for name, values in columns.items():
        records[name] = values
    return records


class _Header(TypedDict):
    """The fields of an object's records, its groups, and where each of these starts and the last one ends.

    `sums` are the checksums of each group's records, 8 hex digits each.
    """

    dtype: list[Any]
    groups: list[int]
    starts: list[int]
    sums: list[str]


class _Sums:
    """Checksums of the groups of an object, of which the bytes come in order; `starts` are the groups' first bytes."""

    def __init__(self, starts: Sequence[int]) -> None:
        self._starts, self._sums, self._at = starts, [0] * len(starts), 0

    def add(self, data: bytes | memoryview) -> None:
        """Take the next bytes."""
        view, end = memoryview(data), self._at + len(data)
        for group in range(max(bisect_right(self._starts, self._at) - 1, 0), len(self._starts)):
            if (start := max(self._starts[group], self._at)) >= end:
                break
            last = self._starts[group + 1] if group + 1 < len(self._starts) else end
            part = view[start - self._at : min(last, end) - self._at]
            self._sums[group] = zlib.crc32(part, self._sums[group])
        self._at = end

    def digits(self) -> list[str]:
        return [f"{found:08x}" for found in self._sums]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where records lie: from which byte of which object, how many, of which dtype, and the groups' checksums."""

    url: str
    start: int
    count: int
    dtype: np.dtype[Any]
    starts: list[int]  # the first record of each group, counted from the first of all
    sums: list[str]
    held: bytes = b""  # the records, where they came with the header

    def read_into(self, target: memoryview) -> None:
        """Fill a buffer with the bytes of the records; DamagedError if they are not those that were written."""
        found = len(target)
        if self.held:
            target[:] = self.held
        else:
            with _missing(self.url):
                found = read_into(self.url, self.start, target)
        starts = [start * self.dtype.itemsize for start in self.starts]
        _check(self.url, target, found == len(target), starts, self.sums)


def _check(url: str, data: memoryview, whole: bool, starts: Sequence[int], expected: Sequence[str]) -> None:
    """Raise DamagedError unless groups that start at some bytes are `whole` and have the checksums expected."""
    sums = _Sums(starts)
    sums.add(data)
    if not whole or sums.digits() != expected:
        raise DamagedError(url, CHANGED)


def _head(url: str, header: _Header) -> bytes:
    data = json.dumps(header).encode()
    return len(data).to_bytes(LENGTH_BYTES, "little") + f"{zlib.crc32(data, name_sum(url)):08x}".encode() + data


def _find(url: str, first: int, last: int) -> _Place | None:
    header, offset, beginning = _header(url)
    groups, starts = header["groups"], header["starts"]
    begin, end = np.searchsorted(groups, [first, last]).tolist()
    if begin == end:
        return None
    dtype = _dtype_of(header)
    at, count = offset + starts[begin] * dtype.itemsize, starts[end] - starts[begin]
    inside = [start - starts[begin] for start in starts[begin:end]]
    held = beginning[at : at + count * dtype.itemsize]
    whole = len(held) == count * dtype.itemsize
    return _Place(url, at, count, dtype, inside, header["sums"][begin:end], held if whole else b"")


def _header(url: str) -> tuple["_Header", int, bytes]:
    """Return the header of an object, where its records begin, and the object's first bytes that came with it."""
    data = _range(url, 0, HEADER_BYTES)
    if len(data) < (end := _head_end(data)) <= MOST_HEADER_BYTES:
        data += _range(url, len(data), end)
    return *_parsed_head(url, data), data


def _head_end(data: bytes) -> int:
    return LENGTH_BYTES + SUM_BYTES + int.from_bytes(data[:LENGTH_BYTES], "little")


def _parsed_head(url: str, data: bytes) -> tuple["_Header", int]:
    """Return the header at the beginning of an object's bytes, and where its records begin."""
    start, end = LENGTH_BYTES + SUM_BYTES, _head_end(data)
    if len(data) < end or data[LENGTH_BYTES:start] != f"{zlib.crc32(data[start:end], name_sum(url)):08x}".encode():
        raise DamagedError(url, "is damaged (its header is)")
    header: _Header = json.loads(data[start:end])
    return header, end


def _dtype_of(header: "_Header") -> np.dtype[Any]:
    return np.dtype([_field(entry) for entry in header["dtype"]])


def _range(url: str, start: int, end: int) -> bytes:
    with _missing(url):
        return read_range(url, start, end)


@contextmanager
def _missing(url: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise MissingError(url) from None


def _field(entry: list[Any]) -> tuple[Any, ...]:
    # JSON has no tuples: a field is (name, type) or (name, type, shape).
    name, kind, *shape = entry
    return (name, kind, *(tuple(part) for part in shape))
