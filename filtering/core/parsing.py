"""JSON at the edge, parsed into the type that the rest of the program works with; nothing is indexed before that."""

from functools import cache
from typing import Annotated, Any, TypeVar, cast

from pydantic import Field, TypeAdapter, ValidationError

from filtering.core.errors import MAKE_ANEW, DamagedError
from filtering.core.formatting import shortened

T = TypeVar("T")
# Bounded, so that every number can be added up and printed.
Count = Annotated[int, Field(ge=0, lt=2**63)]
Seconds = Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False)]
Finite = Annotated[float, Field(ge=-1e15, le=1e15, allow_inf_nan=False)]
LONGEST_NAME = 80


def parsed(kind: type[T], data: bytes | str, where: str, remedy: str = MAKE_ANEW) -> T:
    """Return JSON as a type: a dataclass, a TypedDict of typing_extensions, or a list or mapping of those.

    Numbers are not taken for text, nor text for numbers. DamagedError, in one line with `where` it was read, the
    place in it and the remedy, if it is no JSON or something else.
    """
    try:
        return cast(T, adapter(cast(Any, kind)).validate_json(data, strict=True))
    except ValidationError as error:
        raise damaged(where, error, remedy) from None


def damaged(where: str, error: ValidationError, remedy: str = MAKE_ANEW) -> DamagedError:
    """Return the error of an object that is something else than it should be."""
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return DamagedError(where, "is no JSON, it is damaged", remedy)
    place = shortened(".".join(map(str, first["loc"])), LONGEST_NAME)
    wrong = f"{place}: {first['msg']}" if place else first["msg"]
    return DamagedError(where, f"is damaged, or another version of filtering wrote it ({wrong})", remedy)


@cache
def adapter(kind: type[Any]) -> TypeAdapter[Any]:
    """Return pydantic's reader and writer of a type."""
    return TypeAdapter(kind)
