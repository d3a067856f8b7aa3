"""JSON, tables and arrays that were read, checked to be what their names promise; the line names the object."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filtering.core.errors import DamagedError


def decoded_json(data: bytes, where: str) -> Any:
    """Return JSON of any form; `filtering.core.parsing.parsed` returns it as a type."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise DamagedError(where, "is no JSON, it is damaged") from None


def check_table(
    table: pa.Table, schema: pa.Schema, columns: Sequence[str], nullable: Collection[str], where: str
) -> None:
    """Raise DamagedError unless a table has the columns, of the schema's types, with nulls only where they may be."""
    for name in columns:
        at = table.schema.get_field_index(name)
        if at < 0 or table.schema.types[at] != schema.field(name).type:
            raise DamagedError(where, f"is damaged: its column {name} must be {schema.field(name).type}")
        if name not in nullable and table.column(at).null_count:
            raise DamagedError(where, f"is damaged: its column {name} has rows without a value")


def check_arrays(arrays: Mapping[str, npt.NDArray[Any]], wanted: Mapping[str, Any], where: str) -> None:
    """Raise DamagedError unless each wanted array is there: of one dimension and length, of the dtype given."""
    for name, dtype in wanted.items():
        found = arrays.get(name)
        if found is None or found.dtype != np.dtype(dtype) or found.ndim != 1:
            raise DamagedError(where, f"is damaged: its array {name} must be {np.dtype(dtype)} of one dimension")
    if len({len(arrays[name]) for name in wanted}) > 1:
        raise DamagedError(where, f"is damaged: its arrays {', '.join(wanted)} must be of one length")
