"""JSON of another shape: what stands at one of its places is replaced or missing, or the whole is something else."""

import copy
from collections.abc import Iterator
from typing import Any

DELETED = object()
WRONG = (None, -1, 10**30, 1e999, "x", [], {}, True, DELETED)
ENTIRE = ("null", "7", "[]", "{}", "", "{", '{"a":' * 3000, "[" * 100_000, "9" * 6000)
Place = tuple[Any, ...]


def places(value: object, at: Place = ()) -> Iterator[Place]:
    """Every place in JSON: of a list or a mapping inside it, the first two entries."""
    yield at
    entries: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(entries)[: 2 if isinstance(value, list) or at else None]:
        yield from places(inner, (*at, key))


def changed(value: object, at: Place, new: object) -> Any:
    """Return a copy of JSON with something else, or nothing, at a place."""
    whole: Any = copy.deepcopy(value)
    inner = whole
    for key in at[:-1]:
        inner = inner[key]
    if new is DELETED:
        del inner[at[-1]]
    else:
        inner[at[-1]] = new
    return whole
