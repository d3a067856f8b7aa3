"""The cells of tables that anyone may have written: what a column holds is taken cell by cell, and never trusted.

A cell that is not what its column is read for costs its sample, or is taken for missing; only a column whose type holds
no such cells at all is refused, by name.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Flags = npt.NDArray[np.bool_]
# A size in a column of text: 512, or 512.0 as tables are written that once had gaps.
SIZE_TEXT = r"^[0-9]{1,18}(\.0*)?$"
LARGEST_SIZE = 2**31 - 1
# What is shown of a cell that cannot be used.
SHOWN_BYTES = 60


class ColumnError(ValueError):
    """A column whose type holds nothing that can be read as what is asked of it."""


@dataclass(frozen=True, slots=True)
class Texts:
    """A column as text, string (n,), null where a cell is missing; `not_utf8` and `too_long`, bool (n,).

    Of cells that are not UTF-8 or too long there is the beginning, with a mark for each byte that is no text.
    """

    values: pa.StringArray
    not_utf8: Flags
    too_long: Flags

    def __len__(self) -> int:
        """Return how many cells there are."""
        return len(self.values)


def texts(name: str, column: pa.Array, most: int) -> Texts:
    """Return a column as text; cells of more than `most` bytes are too long. ColumnError if its type holds none.

    What a dictionary repeats is decoded after long cells were cut: one that a million rows refer to takes its own
    length, not theirs.
    """
    data, too_long = _bounded(name, column, most)
    try:
        # From bytes: that looks at each of them, which a cast of texts does not.
        return Texts(data.cast(pa.string()), np.zeros(len(data), dtype=bool), too_long)
    except pa.ArrowInvalid:
        cells = [(None, False) if cell is None else _decoded(cell) for cell in data.to_pylist()]
        not_utf8 = np.array([wrong for _, wrong in cells], dtype=bool) & ~too_long
        return Texts(pa.array([text for text, _ in cells], pa.string()), not_utf8, too_long)


def sizes(name: str, column: pa.Array) -> pa.Int32Array:
    """Return a column of pixels as int32 (n,), null where a cell is no whole number from 0 to 2**31 - 1.

    ColumnError if its type holds no numbers, nor text that may spell them.
    """
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_null(kind):
        return pa.nulls(len(column), pa.int32())
    if _is_text(kind):
        numbers = _spelled(texts(name, column, SHOWN_BYTES).values)
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        plain = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        # Whole numbers that a float64 cannot hold are beyond any size.
        numbers = plain.cast(pa.float64(), safe=False)
    else:
        raise ColumnError(f"column {name} holds {column.type}, not numbers")
    values = numbers.to_numpy(zero_copy_only=False)
    with np.errstate(invalid="ignore"):
        good = (values >= 0) & (values <= LARGEST_SIZE) & (np.floor(values) == values)
    return pa.array(np.where(good, values, 0).astype(np.int32), mask=~good)


def _bounded(name: str, column: pa.Array, most: int) -> tuple[pa.BinaryArray, Flags]:
    """Return a column as bytes, and which cells were longer than `most`: those are cut."""
    if pa.types.is_dictionary(column.type):
        values, long = _bounded(name, column.dictionary, most)
        places = column.indices
        return values.take(places), _flags(pa.array(long).take(places))
    data = _bytes(name, column)
    long = _flags(pc.greater(pc.binary_length(data), most))
    if long.any():
        data = pc.if_else(pa.array(long), pc.binary_slice(data, 0, SHOWN_BYTES), data)
    return data, long


def _flags(values: pa.BooleanArray) -> Flags:
    return np.asarray(values.fill_null(False).to_numpy(zero_copy_only=False), dtype=bool)


def _bytes(name: str, column: pa.Array) -> pa.BinaryArray:
    given = column.type
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    kind, refused = column.type, ColumnError(f"column {name} holds {given}, not text")
    # Times and truth values have words, but nobody wrote those.
    if pa.types.is_boolean(kind) or pa.types.is_temporal(kind) or given == pa.bool8():
        raise refused
    try:
        if _is_text(kind):
            return column.cast(pa.binary())
        if pa.types.is_floating(kind):
            # What tables have in gaps; a half is cast to no text.
            column = column.cast(pa.float32()) if pa.types.is_float16(kind) else column
            column = pc.if_else(pc.is_nan(column), None, column)
        return column.cast(pa.string()).cast(pa.binary())
    except pa.ArrowNotImplementedError:
        raise refused from None


def _decoded(cell: bytes) -> tuple[str, bool]:
    """Return a cell as text, and whether it is none."""
    try:
        return cell.decode(), False
    except UnicodeDecodeError:
        return cell[:SHOWN_BYTES].decode(errors="replace"), True


def _is_text(kind: pa.DataType) -> bool:
    known = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_string_view,
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_binary_view,
        pa.types.is_fixed_size_binary,
    )
    # Decimals are kept as bytes of a fixed size, too.
    return any(one(kind) for one in known) and not pa.types.is_decimal(kind)


def _spelled(cells: pa.StringArray) -> pa.DoubleArray:
    trimmed = pc.ascii_trim_whitespace(cells)
    return pc.if_else(pc.match_substring_regex(trimmed, SIZE_TEXT), trimmed, None).cast(pa.float64())
