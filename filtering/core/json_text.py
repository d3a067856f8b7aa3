"""JSON for others: text that every reader takes."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any


def json_text(value: Any, default: Callable[[Any], Any] | None = None) -> str:
    """Return plain data as JSON in a line; numbers that are not finite, which JSON has no words for, are null.

    `default` brings other things into plain data, as in `json.dumps`.
    """
    return json.dumps(_finite(value), default=default, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
