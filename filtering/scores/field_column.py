"""A score that the pool brings: a number of each sample, in its JSON or a column of its table."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filtering.config.scores import ColumnScore
from filtering.core.errors import InputError
from filtering.core.fields import FIELD


def field_scores(rows: pa.Table, settings: ColumnScore) -> npt.NDArray[np.float64]:
    """Return the number of each row, float64 (n,), turned round where lower values are worth keeping.

    InputError if a row has none and nothing says what stands for it, or it is beyond what a float32 can be.
    """
    values = rows[FIELD.format(settings.name)]
    if values.null_count and settings.missing is None:
        raise InputError(
            f"column: {values.null_count:,} of {len(rows):,} samples of a shard have no {settings.name}; give missing, "
            "the value that stands for it, or drop them with the filter column (missing: drop)"
        )
    found = values.fill_null(np.nan).to_numpy()
    numbers = np.where(np.isnan(found), np.nan if settings.missing is None else settings.missing, found)
    if len(numbers) and np.abs(numbers).max() > np.finfo(np.float32).max:
        raise InputError(f"column: {settings.name} holds values above 3.4e38")
    return np.asarray(numbers if settings.keep == "higher" else -numbers, dtype=np.float64)
