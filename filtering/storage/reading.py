"""Objects read as what their names promise; DamagedError names the object that is something else, in one line."""

from collections.abc import Collection
from typing import Any, TypeVar

import numpy.typing as npt
import pyarrow as pa

from filtering.core.parsing import parsed
from filtering.storage.decoding import check_arrays, check_table
from filtering.storage.store import Store

T = TypeVar("T")


def read_as(store: Store, name: str, kind: type[T]) -> T:
    """Return a JSON object as a type; FileNotFoundError if there is none."""
    return parsed(kind, store.read(name), store.path(name))


def read_record_as(store: Store, name: str, kind: type[T]) -> T:
    """Return a JSON object with a checksum as a type; DamagedError if it is damaged, missing or something else."""
    return parsed(kind, store.read_checked(name), store.path(name))


def read_rows(
    store: Store, name: str, schema: pa.Schema, columns: list[str] | None = None, nullable: Collection[str] = ()
) -> pa.Table:
    """Return a table of a schema, or some of its columns, of which those in `nullable` may lack values."""
    table = store.read_table(name, columns)
    check_table(table, schema, columns or schema.names, nullable, store.path(name))
    return table


def read_columns(store: Store, name: str, **columns: Any) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of an npz, those that are named of one dimension and length and of the dtypes given."""
    arrays = store.read_arrays(name)
    check_arrays(arrays, columns, store.path(name))
    return arrays
