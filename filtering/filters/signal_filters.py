"""Filters by what is known of a picture itself: blur, brightness, information."""

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filtering.config.filters import Filter, LuminanceFilter
from filtering.core.errors import InputError


def check_signal(signal: str, key: str, signals: Collection[str], pictures: bool) -> None:
    """Refuse what reads a signal that is not computed of pictures: InputError with its key and what to do."""
    if not pictures:
        raise InputError(f"{key}: reads {signal} of pictures, and the rows of this pool have none; give tars")
    if signal not in signals:
        listed = ", ".join(sorted({*signals, signal}))
        raise InputError(
            f"{key}: reads {signal}, which is not computed; set embedding.signals to [{listed}] (pictures are then "
            "embedded again)"
        )


def signal_columns(step: Filter) -> list[str]:
    """Return the columns of signals that a filter reads from rows."""
    return ["text_share"] if step.text_share is not None else [name for name, _ in _least(step)]


def signal_passes(rows: pa.Table, step: Filter) -> npt.NDArray[np.bool_]:
    """Return which rows reach the least value of each column that the filter reads, or are not above it; bool (n,)."""
    if step.text_share is not None:
        return np.asarray(rows["text_share"].to_numpy() <= np.float32(step.text_share.max), dtype=bool)
    passes = np.ones(len(rows), dtype=bool)
    for name, least in _least(step):
        passes &= rows[name].to_numpy() >= np.float32(least)
    return passes


def _least(step: Filter) -> Sequence[tuple[str, float]]:
    if step.luminance is not None:
        return [(name, getattr(step.luminance, name)) for name in LuminanceFilter.model_fields]
    found = step.blur or step.entropy
    return [] if found is None else [(step.kind, found.min)]
