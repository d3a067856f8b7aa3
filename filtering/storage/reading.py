"""Objects read as what their names promise; DamagedError names the object that is something else, in one line."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy.typing as npt
import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem

from filtering.core.errors import MAKE_ANEW
from filtering.core.parsing import parsed
from filtering.storage.at_once import REQUESTS_AT_ONCE, each_at_once, each_from_disk
from filtering.storage.decoding import check_arrays, check_table
from filtering.storage.local import check_is_file
from filtering.storage.retries import retried
from filtering.storage.store import Store, filesystem_of, is_local, read_range
from filtering.storage.streams import count_bytes

T = TypeVar("T")
R = TypeVar("R")
Arrays = dict[str, npt.NDArray[Any]]
# Twice as many may be in memory.
ARRAYS_AT_ONCE = 16


def read_as(store: Store, name: str, kind: type[T], remedy: str = MAKE_ANEW) -> T:
    """Return a JSON object as a type; FileNotFoundError if there is none, DamagedError if it is something else."""
    return parsed(kind, store.read(name), store.path(name), remedy)


def read_record_as(store: Store, name: str, kind: type[T]) -> T:
    """Return a JSON object with a checksum as a type; DamagedError if it is damaged, missing or something else."""
    return parsed(kind, store.read_checked(name), store.path(name))


def read_mapping_as(store: Store, name: str, kind: type[T]) -> T:
    """Return a JSON object with a checksum, of which every key is data, as a mapping; errors as `read_record_as`."""
    return parsed(kind, json.dumps(store.read_record(name)), store.path(name))


def read_rows(
    store: Store, name: str, schema: pa.Schema, columns: list[str] | None = None, nullable: Collection[str] = ()
) -> pa.Table:
    """Return a table of a schema, or some of its columns, of which those in `nullable` may lack values."""
    table = store.read_table(name, columns)
    check_table(table, schema, columns or schema.names, nullable, store.path(name))
    return table


def each_arrays(store: Store, names: Iterable[str], at_once: int = ARRAYS_AT_ONCE) -> Iterator[Arrays]:
    """Yield the arrays of many npz, in order, of which some are read at once; DamagedError as `Store.read_arrays`."""
    return each_inside(store, store.read_arrays, list(names), at_once)


def each_inside(
    store: Store, function: Callable[[T], R], items: Sequence[T], at_once: int = REQUESTS_AT_ONCE
) -> Iterator[R]:
    """Yield what a function that reads objects of a folder returns of each item, in order, some at once."""
    each = each_from_disk if is_local(store.url) else each_at_once
    return each(function, items, at_once)


def read_columns(store: Store, name: str, **columns: Any) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of an npz, those that are named of one dimension and length and of the dtypes given."""
    arrays = store.read_arrays(name)
    check_arrays(arrays, columns, store.path(name))
    return arrays


def read_into(url: str, start: int, buffer: memoryview) -> int:
    """Fill a buffer with the bytes of an object from `start` on; return how many there are, fewer where it ends before.

    FileNotFoundError if there is none. What is on a disk is read into the buffer without a copy.
    """
    filesystem, path = filesystem_of(url)
    if isinstance(filesystem, LocalFileSystem):
        check_is_file(path)
        filled = retried(lambda: _filled(path, start, buffer), url)
        count_bytes(filesystem, "read_bytes", filled)
        return filled
    data = read_range(url, start, start + len(buffer))
    buffer[: len(data)] = data
    return len(data)


def _filled(path: str, start: int, buffer: memoryview) -> int:
    filled = 0
    with Path(path).open("rb", buffering=0) as file:
        file.seek(start)
        while found := file.readinto(buffer[filled:]):
            filled += found
    return filled
