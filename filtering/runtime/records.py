"""Results as records hold them: of stages, frozen dataclasses to JSON and back; of tasks, typed dictionaries."""

import contextlib
import dataclasses
import json
from typing import Any, TypedDict, TypeVar, cast

from pydantic import ValidationError

from filtering.core.parsing import adapter, damaged

T = TypeVar("T")
# A JSON object at the edge: what is read from it is checked, or typed, where it is read.
JsonObject = dict[str, Any]


class RowCount(TypedDict):
    """The result of a task that handles rows: how many there were."""

    rows: int


def json_object(data: bytes) -> JsonObject:
    """Return the JSON object that bytes are; nothing if they are something else."""
    with contextlib.suppress(ValueError, RecursionError):
        found = json.loads(data)
        return found if isinstance(found, dict) else {}
    return {}


def to_plain(value: Any) -> Any:
    """Return a dataclass as JSON-able data; other values as they are.

    A field whose name on disk differs is declared as `Annotated[..., Field(alias="name on disk")]`.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return adapter(type(value)).dump_python(value, mode="json", by_alias=True)
    return value


def from_plain(kind: type[T], plain: Any, where: str) -> T:
    """Return the dataclass that `to_plain` wrote; DamagedError, with `where` it was read, if it has another form."""
    try:
        return cast(T, adapter(cast(Any, kind)).validate_python(plain))
    except ValidationError as error:
        raise damaged(where, error) from None
