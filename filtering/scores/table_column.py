"""A score the user brings: a numeric column of a parquet table, joined by uid."""

import io
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filtering.config.scores import ScoreTable
from filtering.config.validation import nearest
from filtering.core.errors import InputError
from filtering.shards.cells import ColumnError, texts
from filtering.shards.metadata import UnreadableError, opened
from filtering.shards.parquet import BoundedParquet
from filtering.storage.versions import Version

# No uid is longer, so that longer cells name no sample.
UID_BYTES = 32
WHAT = "the table of scores"


def check_table(source: ScoreTable) -> None:
    """Refuse a table that is not there, lacks its columns (with the nearest name) or holds more than it may."""
    try:
        with opened(source.table, WHAT) as watched:
            _checked(watched.stream, source)
    except OSError as error:
        raise InputError(f"table: {source.table} cannot be read ({error})") from None
    except UnreadableError as error:
        raise InputError(f"table: {error}") from None


def column_scores(uids: pa.ChunkedArray, source: ScoreTable, version: Version | None = None) -> npt.NDArray[np.float64]:
    """Return the column's value for each uid, float64 (n,), turned round where lower values are worth keeping.

    InputError if a uid is not in the table, a value is null, NaN, infinite or beyond what a float32 can be, or a whole
    number has more digits than a float64 keeps: their order would not be the column's. RunError if the table does not
    have the version, where one is given.
    """
    with opened(source.table, WHAT, version) as watched:
        file = _checked(watched.stream, source)
        names = ["uid", source.column]
        parts = [_columns(batch, source) for group in file.groups for batch in file.batches(group, names)]
    known = pa.chunked_array([uid for uid, _ in parts], pa.string())
    known, uids = known.combine_chunks(), uids.cast(pa.string())
    places = pc.index_in(uids, value_set=known)
    if places.null_count:
        missing = uids.filter(pc.is_null(places))[0].as_py()
        raise InputError(f"{places.null_count} samples have no row in {source.table}, such as {missing}")
    if not parts:
        return np.zeros(0)
    column = pa.chunked_array([column for _, column in parts])
    _refuse_conflicts(known, column, uids, source)
    values = _values(column.take(places), source)
    return values if source.keep == "higher" else -values


def _refuse_conflicts(
    known: pa.StringArray, column: pa.ChunkedArray, uids: pa.ChunkedArray, source: ScoreTable
) -> None:
    """Refuse a table that has several values for a uid of the pool: which of them is meant, nobody can tell."""
    first = pc.index_in(known, value_set=known).to_numpy(zero_copy_only=False)
    again = np.flatnonzero(first != np.arange(len(known)))
    again = again[np.asarray(pc.is_in(known.take(pa.array(again)), value_set=uids.combine_chunks()), dtype=bool)]
    # As they are: whole numbers of more than 53 bits are compared in full.
    here, there = (column.take(pa.array(places)).to_pylist() for places in (again, first[again]))
    for place, one, other in zip(again.tolist(), here, there, strict=True):
        if one != other:
            raise InputError(
                f"{source.table} has different values of {source.column} for uid {known[place]}; leave one row a uid"
            )


def _checked(stream: BinaryIO, source: ScoreTable) -> BoundedParquet:
    """Return the table, whose columns can be read within bounds."""
    file = BoundedParquet(stream, stream.seek(0, io.SEEK_END))
    schema = file.schema
    for name in ("uid", source.column):
        if name not in schema.names:
            raise InputError(f"{source.table} has no column {name}{nearest(name, schema.names)}")
        if schema.names.count(name) > 1:
            raise InputError(f"{source.table} has {schema.names.count(name)} columns {name}")
    file.check(["uid", source.column])
    kind = schema.field(source.column).type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise InputError(f"column {source.column} of {source.table} holds {kind}, not numbers")
    if pa.types.is_nested(schema.field("uid").type):
        raise InputError(f"column uid of {source.table} holds {schema.field('uid').type}, not text")
    return file


def _columns(batch: pa.RecordBatch, source: ScoreTable) -> tuple[pa.StringArray, pa.Array]:
    try:
        # In lower case, as the uids of samples are.
        uids = pc.ascii_lower(texts("uid", batch.column("uid"), UID_BYTES).values)
    except ColumnError as error:
        raise InputError(f"{source.table}: {error}") from None
    return uids, batch.column(source.column)


def _values(column: pa.ChunkedArray, source: ScoreTable) -> npt.NDArray[np.float64]:
    """Return a column as float64 (n,), in which it has the order that it has."""
    where = f"column {source.column} of {source.table}"
    values = column.cast(pa.float64(), safe=False).to_numpy()
    if not np.isfinite(values).all():
        raise InputError(f"{where} holds values that are not finite numbers")
    if (np.abs(values) > np.finfo(np.float32).max).any():
        raise InputError(f"{where} holds values above 3.4e38; divide them by a constant")
    if pa.types.is_integer(column.type):
        inexact = np.flatnonzero(_inexact(column.to_numpy(), values))
        if len(inexact):
            raise InputError(
                f"{where} holds whole numbers of more than 53 bits, such as {column[int(inexact[0])]}, whose order is "
                "lost; subtract the least of them, or divide them by a constant"
            )
    return np.asarray(values, dtype=np.float64)


def _inexact(whole: npt.NDArray[np.integer[Any]], values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Return which whole numbers a float64 does not hold: those with a bit below the 53 that it has."""
    low = np.maximum(np.frexp(values)[1] - 53, 0).astype(np.uint64)
    below = (np.uint64(1) << low) - np.uint64(1)
    return np.asarray(whole.astype(np.uint64, casting="unsafe") & below != 0)
