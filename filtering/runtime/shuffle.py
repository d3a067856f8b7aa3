"""Rows on their way from many writers to many readers: one object a writer, a contiguous range of it a reader.

W writers and R readers make W objects, not W x R. An object is a header of JSON (where each group starts), then
fixed-size records sorted by group, so that a reader asks each object for its header and one range.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from filtering.storage.store import Store, read_range, write_chunks

Records = npt.NDArray[np.void]
Positions = npt.NDArray[np.int64]

# What a writer holds at once, whatever it writes.
CHUNK_BYTES = 16 << 20
# The header's length, then the header: read in one request where it is not longer than usual.
LENGTH_BYTES = 8
HEADER_BYTES = 1 << 14


def write_groups(
    store: Store,
    name: str,
    groups: npt.NDArray[np.integer[Any]],
    dtype: np.dtype[Any],
    records: Callable[[Positions], Records],
) -> list[int]:
    """Write records sorted by group (a partition, a shard), int (n,), as one object; return its groups, ascending.

    `records` returns the records that stand at some positions of `groups`, and is asked for about 16 MB at a time. The
    order inside a group is that of the positions.
    """
    order = np.argsort(groups, kind="stable")
    spans = list(runs(groups[order]))
    present = [int(groups[order[span.start]]) for span in spans]
    header = {
        "dtype": dtype.descr,
        "groups": present,
        "starts": [span.start for span in spans] + [len(order)],
    }
    write_chunks(store.path(name), _chunks(json.dumps(header).encode(), order, dtype, records))
    return present


def read_groups(store: Store, names: Sequence[str], first: int, last: int | None = None) -> Records | None:
    """Return the records of the groups [first, last), or of `first` alone, from many objects; None if there are none.

    They come in the order of `names`, inside an object by group.
    """
    end = first + 1 if last is None else last
    places = [place for name in names if (place := _find(store.path(name), first, end)) is not None]
    if not places:
        return None
    records = np.empty(sum(place.count for place in places), dtype=places[0].dtype)
    at = 0
    for place in places:
        data = read_range(place.url, place.start, place.start + place.count * place.dtype.itemsize)
        records[at : at + place.count] = np.frombuffer(data, dtype=place.dtype)
        at += place.count
    return records


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


def _chunks(
    header: bytes, order: Positions, dtype: np.dtype[Any], records: Callable[[Positions], Records]
) -> Iterator[bytes]:
    yield len(header).to_bytes(LENGTH_BYTES, "little") + header
    step = max(1, CHUNK_BYTES // dtype.itemsize)
    for start in range(0, len(order), step):
        yield records(order[start : start + step]).tobytes()


class _Header(TypedDict):
    """The fields of an object's records, its groups, and where each of these starts and the last one ends."""

    dtype: list[list[Any]]
    groups: list[int]
    starts: list[int]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where records lie: from which byte of which object, how many, of which dtype."""

    url: str
    start: int
    count: int
    dtype: np.dtype[Any]


def _find(url: str, first: int, last: int) -> _Place | None:
    header, offset = _header(url)
    groups, starts = header["groups"], header["starts"]
    begin, end = np.searchsorted(groups, [first, last]).tolist()
    if begin == end:
        return None
    dtype = np.dtype([_field(entry) for entry in header["dtype"]])
    return _Place(url, offset + starts[begin] * dtype.itemsize, starts[end] - starts[begin], dtype)


def _header(url: str) -> tuple["_Header", int]:
    data = read_range(url, 0, HEADER_BYTES)
    end = LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES], "little")
    if end > len(data):
        data += read_range(url, len(data), end)
    header: _Header = json.loads(data[LENGTH_BYTES:end])
    return header, end


def _field(entry: list[Any]) -> tuple[Any, ...]:
    # JSON has no tuples: a field is (name, type) or (name, type, shape).
    name, kind, *shape = entry
    return (name, kind, *(tuple(part) for part in shape))
