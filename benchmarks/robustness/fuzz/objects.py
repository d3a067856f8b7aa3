"""Damage to the objects of a run: JSON, tables and arrays of another structure, or other bytes; sums made right."""

import contextlib
import io
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from filtering.storage.checksums import (
    KEY,
    array_bytes,
    arrays_bytes,
    has_slot,
    moved,
    parsed_array,
    parsed_arrays,
    record_bytes,
    table_bytes,
)
from tests.support.mutations import EDGES, Noise, mutated
from tests.support.wrong_json import ENTIRE, WRONG, changed, places

DTYPES = ("int64", "float32", "float16", "uint8", "bool", "S32", "U4", "complex64", "datetime64[s]", "uint64", "int8")
NUMBERS = (-1, 0, 1, 2**31, 2**62, -(2**63), float("nan"), float("inf"), 1e300)
TYPES = (pa.string(), pa.int64(), pa.float64(), pa.binary(), pa.list_(pa.int64()), pa.null(), pa.bool_(), pa.int8())


def damaged(noise: Noise, url: str, whole: bytes, others: Sequence[bytes]) -> tuple[str, bytes]:
    """Return how an object was damaged, and its bytes, in half of all cases with a right checksum if it has any."""
    summed = has_slot(whole) and noise.random() < 0.5
    change = next((change for suffix, change in STRUCTURES.items() if url.endswith(suffix)), None)
    if change is None or noise.random() < 0.35:
        name, data = mutated(noise, whole, others)
        return (f"{name}, right sum", moved(url, data)) if summed and has_slot(data) else (name, data)
    data = change(noise, url, whole, summed)
    return f"structure{', right sum' if summed else ''}", data


def _json(noise: Noise, url: str, whole: bytes, summed: bool) -> bytes:
    if noise.random() < 0.15 and not summed:
        return noise.choice(ENTIRE).encode()
    value = json.loads(whole)
    if summed:
        value.pop(KEY, None)
    value = _changed(noise, value)
    if summed and isinstance(value, dict):
        return record_bytes(url, value)
    return json.dumps(value).encode()


def _changed(noise: Noise, value: Any) -> Any:
    for _ in range(noise.choice([1, 1, 2])):
        found = [place for place in places(value) if place]
        if found:
            value = changed(
                value, noise.choice(found), noise.choice([*WRONG, *EDGES, "", "../x", 0.5, "x" * 3000, "\x1b[2J"])
            )
    return value


def _lines(noise: Noise, url: str, whole: bytes, summed: bool) -> bytes:
    lines = whole.splitlines()
    at, how = noise.randrange(len(lines)), noise.choice(["change", "change", "change", "lose", "repeat", "entire"])
    if how == "change":
        lines[at] = json.dumps(_changed(noise, json.loads(lines[at]))).encode()
    elif how == "entire":
        lines[at] = noise.choice(ENTIRE).encode()
    else:
        lines[at : at + 1] = [lines[at]] * (2 if how == "repeat" else 0)
    return b"\n".join(lines) + b"\n"


def _table(noise: Noise, url: str, whole: bytes, summed: bool) -> bytes:
    table = pq.read_table(io.BytesIO(whole)).replace_schema_metadata(None)
    for _ in range(noise.choice([1, 1, 2])):
        how = noise.choice(TABLE_CHANGES)
        with contextlib.suppress(pa.ArrowException):
            table = how(noise, table)
    if summed:
        return table_bytes(url, table)
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def _rows(noise: Noise, table: pa.Table) -> pa.Table:
    """Return a table with other rows: fewer, none, twice as many, in another order."""
    count = len(table)
    order = [*range(count)]
    noise.shuffle(order)
    return noise.choice(
        [table[:0], table[: count // 2], pa.concat_tables([table, table]), table.take(pa.array(order, pa.int64()))]
    )


def _cells(noise: Noise, table: pa.Table) -> pa.Table:
    """Return a table with other values in a column."""
    if not table.num_columns:
        return table
    at = noise.randrange(table.num_columns)
    field, cells = table.schema.field(at), table.column(at).to_pylist()
    fill = noise.choice([None, *NUMBERS, "", "x", "\x1b[2J", "g" * 32, b"\xff"])
    kept = noise.random()
    cells = [fill if noise.random() < kept else cell for cell in cells]
    return table.set_column(at, pa.field(field.name, field.type), pa.array(cells, field.type))


def _columns(noise: Noise, table: pa.Table) -> pa.Table:
    """Return a table without a column, or with one of another name or type."""
    if not table.num_columns:
        return table
    at, how = noise.randrange(table.num_columns), noise.choice(["lose", "rename", "type", "type"])
    if how == "lose":
        return table.remove_column(at)
    if how == "rename":
        return table.rename_columns([f"{name}{'x' if n == at else ''}" for n, name in enumerate(table.column_names)])
    kind, name = noise.choice(TYPES), table.column_names[at]
    try:
        return table.set_column(at, name, table.column(at).cast(kind))
    except pa.ArrowException:
        return table.set_column(at, name, pa.nulls(len(table), kind))


TABLE_CHANGES: Sequence[Callable[[Noise, pa.Table], pa.Table]] = (_rows, _cells, _cells, _columns)


def _arrays(noise: Noise, url: str, whole: bytes, summed: bool) -> bytes:
    arrays = parsed_arrays(url, whole)
    for _ in range(noise.choice([1, 1, 2])):
        name = noise.choice([*arrays]) if arrays else ""
        how = noise.choice(["other", "other", "other", "lose", "rename", "swap"])
        if how == "other" and arrays:
            arrays[name] = _other_array(noise, arrays[name])
        elif how in ("lose", "rename") and arrays:
            values = arrays.pop(name)
            arrays |= {f"{name}x": values} if how == "rename" else {}
        elif how == "swap" and arrays:
            arrays[name] = arrays[noise.choice([*arrays])]
    if summed:
        return arrays_bytes(url, arrays)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _array(noise: Noise, url: str, whole: bytes, summed: bool) -> bytes:
    values = _other_array(noise, parsed_array(url, whole))
    if summed:
        return array_bytes(url, values)
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def _other_array(noise: Noise, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    how = noise.choice(["numbers", "numbers", "dtype", "shorter", "longer", "shape", "empty", "scalar"])
    with np.errstate(all="ignore"):
        if how == "dtype":
            with contextlib.suppress(ValueError, TypeError):
                return values.astype(noise.choice(DTYPES))
        if how == "numbers" and values.dtype.kind in "iuf" and values.size:
            return _numbered(noise, values)
    if how == "shorter":
        return values[: len(values) // 2] if values.ndim else values
    if how == "longer":
        return np.concatenate([values, values]) if values.ndim else values[None]
    if how == "shape":
        return noise.choice([values.reshape(-1), values[..., None], values.reshape(1, -1), values.T])
    return values.ravel()[:0] if how == "empty" else np.int64(7) * np.ones((), np.int64)


def _numbered(noise: Noise, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    found = values.copy()
    number = np.array(noise.choice(NUMBERS)).astype(values.dtype)
    for _ in range(noise.choice([1, 1, 3, found.size])):
        found.flat[noise.randrange(found.size)] = number
    return found


STRUCTURES: dict[str, Callable[[Noise, str, bytes, bool], bytes]] = {
    ".json": _json,
    ".jsonl": _lines,
    ".parquet": _table,
    ".npz": _arrays,
    ".npy": _array,
}
