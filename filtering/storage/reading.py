"""Objects read as what their names promise; DamagedError names the object that is something else, in one line."""

import json
from collections.abc import Collection, Iterable, Iterator
from typing import Any, TypeVar

import numpy.typing as npt
import pyarrow as pa

from filtering.core.errors import MAKE_ANEW
from filtering.core.parsing import parsed
from filtering.storage.at_once import each_at_once
from filtering.storage.decoding import check_arrays, check_table
from filtering.storage.store import Store

T = TypeVar("T")
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
    return each_at_once(store.read_arrays, list(names), at_once)


def read_columns(store: Store, name: str, **columns: Any) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of an npz, those that are named of one dimension and length and of the dtypes given."""
    arrays = store.read_arrays(name)
    check_arrays(arrays, columns, store.path(name))
    return arrays
