"""What a pool says of its samples beside image and caption: fields of JSON, columns of tables, as far as a run asks.

A cell that is no number is missing, whatever else it holds; so is a list of faces that is none.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from filtering.core.fields import FACES

# Boxes of a picture that are kept, the first ones: a crowd has more.
MOST_FACES = 256
Cell = float | list[list[float]] | None


def fields_of(found: Mapping[str, Any], names: Sequence[str]) -> dict[str, Cell]:
    """Return some fields of a sample's JSON, by name; None where there is none that can be used."""
    return {name: cell(name, found.get(name)) for name in names}


def cell(name: str, value: Any) -> Cell:
    """Return a field's value: a number, or the boxes of faces; None where it is neither."""
    return _boxes(value) if name == FACES else _number(value)


def _number(value: Any) -> float | None:
    try:
        found = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def _boxes(value: Any) -> list[list[float]] | None:
    """Return boxes [left, top, right, bottom] in shares of the picture's sides, as img2dataset writes them."""
    if not isinstance(value, list):
        return None
    boxes = [[_number(one) for one in box] if isinstance(box, list) else [] for box in value[:MOST_FACES]]
    whole = [[one for one in box if one is not None] for box in boxes if len(box) == 4]
    return whole if len(whole) == len(boxes) and all(len(box) == 4 for box in whole) else None
