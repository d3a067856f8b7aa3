"""A score the user brings: a numeric column of a parquet table, joined by uid."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from filtering.config.scores import ScoreTable
from filtering.config.validation import nearest
from filtering.core.errors import InputError
from filtering.storage.store import open_object, read_parquet


def check_table(source: ScoreTable) -> None:
    """Refuse a table that is not there or lacks its columns, with the nearest name."""
    try:
        with open_object(source.table) as stream:
            schema = pq.ParquetFile(stream).schema_arrow
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"selection.score.table: {source.table} cannot be read ({error})") from None
    for name in ("uid", source.column):
        if name not in schema.names:
            raise InputError(f"selection.score: {source.table} has no column {name}{nearest(name, schema.names)}")
    kind = schema.field(source.column).type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise InputError(f"selection.score: column {source.column} of {source.table} holds {kind}, not numbers")


def column_scores(uids: pa.ChunkedArray, source: ScoreTable) -> npt.NDArray[np.float32]:
    """Return the column's value for each uid, float32 (n,), turned round where lower values are worth keeping.

    InputError if a uid is not in the table, or a value is null, NaN or infinite.
    """
    table = read_parquet(source.table, ["uid", source.column])
    # Uids of the pool are in lower case, however they were written.
    known = pc.utf8_lower(table["uid"].cast(pa.string())).combine_chunks()
    places = pc.index_in(uids.cast(pa.string()), value_set=known)
    if places.null_count:
        missing = uids.filter(pc.is_null(places))[0].as_py()
        raise InputError(
            f"selection.score: {places.null_count} samples have no row in {source.table}, such as {missing}"
        )
    values = table[source.column].take(places).cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    if not np.isfinite(values).all():
        raise InputError(f"selection.score: column {source.column} holds values that are not finite numbers")
    return np.asarray(values if source.keep == "higher" else -values, dtype=np.float32)
