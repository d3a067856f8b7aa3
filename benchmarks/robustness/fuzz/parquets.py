"""Parquet files of many codecs, encodings and page versions, and of columns that are something else."""

import datetime
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.robustness.fuzz.kinds import Input
from benchmarks.robustness.fuzz.metadata import ROWS, Metadata, valid_columns
from tests.support.mutations import EDGES, Noise, mutated

CODECS = ("none", "snappy", "gzip", "zstd", "lz4", "brotli")
CELLS: tuple[Any, ...] = (None, "", "x", "\u200b", "\x1b[2J", "\0", "x" * 70_000, b"\xff\xfe", b"", "None", "3")
CELLS += (-1, 2**31, 2**63 - 1, 0.5, float("nan"), 1e300, True, [], ["x"], [[None]], {"a": 1})
CELLS += (datetime.date(2020, 1, 1), datetime.timedelta(1), datetime.datetime(1, 1, 1))
NAMES = (
    "uid",
    "text",
    "TEXT",
    "caption",
    "url",
    "key",
    "original_width",
    "width",
    "height",
    "UID",
    "",
    "a.b",
    "sha256",
)


class Parquets(Metadata):
    """Reads the shard whose parquet an input is."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.forms = dict(_forms())

    def make(self, noise: Noise) -> Input:
        """Change bytes anywhere, the footer's bytes alone, or columns; the rest is as valid as before."""
        if noise.random() < 0.2:
            return Input("columns", "columns", _odd_table(noise), consistent=True)
        form = noise.choice([*self.forms])
        whole, others = self.forms[form], [*self.forms.values()]
        if noise.random() < 0.5:
            return Input(form, *mutated(noise, whole, others))
        length = int.from_bytes(whole[-8:-4], "little")
        start = len(whole) - 8 - length
        change, footer = mutated(noise, whole[start:-8])
        return Input(form, f"footer {change}", whole[:start] + footer + len(footer).to_bytes(4, "little") + b"PAR1")

    def read(self, given: Input) -> str:
        """Read it beside valid arrays."""
        self.table.write_bytes(given.data)
        return self.outcome()


def _forms() -> Iterator[tuple[str, bytes]]:
    columns = valid_columns()
    for codec in CODECS:
        yield codec, _written(columns, compression=codec)
    yield "v2 pages", _written(columns, data_page_version="2.0", use_dictionary=False)
    yield "plain", _written(columns, use_dictionary=False, compression="none")
    yield "sums", _written(columns, write_page_checksum=True, row_group_size=16, data_page_size=64)
    yield "no statistics", _written(columns, write_statistics=False, write_page_index=False, store_schema=False)
    yield "page index", _written(columns, write_page_index=True, row_group_size=8)
    yield "byte streams", _written(columns, use_dictionary=False, use_byte_stream_split=["clip_l14_similarity_score"])
    for encoding in ("DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"):
        encoded = dict.fromkeys(("uid", "text", "url"), encoding) | {"original_width": "DELTA_BINARY_PACKED"}
        yield encoding, _written(columns, use_dictionary=False, column_encoding=encoded)
    for kind in (pa.large_string(), pa.binary(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())):
        texts = {name: columns[name].cast(kind) for name in ("uid", "text")}
        yield str(kind), _written(columns | texts)
    yield "fixed", _written(columns | {"uid": columns["uid"].cast(pa.binary()).cast(pa.binary(32))})


def _written(columns: dict[str, pa.Array], **options: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, **options)
    return buffer.getvalue()


def _odd_table(noise: Noise) -> bytes:
    """Return a parquet of which some columns have other cells, types or names, or are missing."""
    columns = valid_columns()
    for name in noise.sample([*columns], noise.randint(1, 3)):
        how = noise.choice(["cells", "cells", "numbers", "missing", "nulls", "renamed"])
        column = columns.pop(name)
        if how == "cells":
            columns[name] = _cells(noise, column)
        elif how == "numbers":
            kind = noise.choice([pa.int8(), pa.uint64(), pa.float16(), pa.float64(), pa.decimal128(38, 2), pa.bool_()])
            values = [noise.choice([*EDGES, -1, None]) for _ in range(ROWS)]
            columns[name] = pa.array([value and min(value, 100) for value in values], pa.float64()).cast(
                kind, safe=False
            )
        elif how == "nulls":
            columns[name] = pa.nulls(ROWS, noise.choice([pa.null(), column.type]))
        elif how == "renamed":
            columns[noise.choice(NAMES)] = column
    rows = noise.choice([0, 1, ROWS, ROWS, ROWS])
    return _written({name: column[:rows] for name, column in columns.items()} or {"x": pa.array([1])})


def _cells(noise: Noise, column: pa.Array) -> pa.Array:
    """Return a column of one odd cell repeated, or with some cells of its own kind that are odd."""
    cell = noise.choice(CELLS)
    if not isinstance(cell, str | bytes) or not pa.types.is_string(column.type):
        return pa.array([cell if noise.random() < 0.7 else None for _ in range(ROWS)])
    kind = pa.binary() if isinstance(cell, bytes) else column.type
    cells = [cell if noise.random() < 0.3 else value for value in column.cast(kind).to_pylist()]
    return pa.array(cells, kind)
