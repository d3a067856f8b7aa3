"""JSON, tables and arrays that were read, checked to be what their names promise; the line names the object."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filtering.core.errors import DamagedError
from filtering.core.uids import UID_LENGTH


def decoded_json(data: bytes, where: str) -> Any:
    """Return JSON of any form; `filtering.core.parsing.parsed` returns it as a type."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise DamagedError(where, "is no JSON, it is damaged") from None


def check_table(
    table: pa.Table, schema: pa.Schema, columns: Sequence[str], nullable: Collection[str], where: str
) -> None:
    """Raise DamagedError unless a table has the columns, of the schema's types, with nulls only where they may be.

    Texts must be UTF-8, which reading a table does not look at, and uids as long as uids are.
    """
    for name in columns:
        at = table.schema.get_field_index(name)
        if at < 0 or table.schema.types[at] != schema.field(name).type:
            raise DamagedError(where, f"is damaged: its column {name} must be {schema.field(name).type}")
        if name not in nullable and table.column(at).null_count:
            raise DamagedError(where, f"is damaged: its column {name} has rows without a value")
        if fault := _fault(name, table.column(at)):
            raise DamagedError(where, f"is damaged: its column {name} holds {fault}")


def _fault(name: str, column: pa.ChunkedArray) -> str:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return "text that is not UTF-8"
    if name != "uid" or pc.all(pc.equal(pc.binary_length(column), UID_LENGTH), min_count=0).as_py():
        return ""
    return f"what is no uid of {UID_LENGTH} characters"


def check_arrays(arrays: Mapping[str, npt.NDArray[Any]], wanted: Mapping[str, Any], where: str) -> None:
    """Raise DamagedError unless each wanted array is there: of one dimension and length, of the dtype given."""
    for name, dtype in wanted.items():
        found = arrays.get(name)
        if found is None or found.dtype != np.dtype(dtype) or found.ndim != 1:
            raise DamagedError(where, f"is damaged: its array {name} must be {np.dtype(dtype)} of one dimension")
    if len({len(arrays[name]) for name in wanted}) > 1:
        raise DamagedError(where, f"is damaged: its arrays {', '.join(wanted)} must be of one length")
