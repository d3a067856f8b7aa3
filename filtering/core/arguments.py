"""Arguments of public functions: one of another kind than a function takes is refused in a line that names it."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from numbers import Integral, Real

from filtering.core.errors import InputError


@dataclass(frozen=True, slots=True)
class Kind:
    """What an argument must be: in words, and a function that says whether a value is."""

    words: str
    holds: Callable[[object], bool]


def _is_whole(value: object) -> bool:
    # numpy's, too.
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, Integral) and _is_whole(value) and 0 <= int(value) < 2**63


def _are_texts(value: object) -> bool:
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Collection):
        return False
    return all(isinstance(one, str) for one in value)


TEXT = Kind("a text", lambda value: isinstance(value, str))
TEXTS = Kind("a list of texts", _are_texts)
WHOLE = Kind("a whole number", _is_whole)
COUNT = Kind("a whole number, 0 or more", _is_count)
NUMBER = Kind("a number", lambda value: isinstance(value, Real) and not isinstance(value, bool))
FUNCTION = Kind("a function", callable)


def check_arguments(**given: tuple[object, Kind]) -> None:
    """Refuse arguments, by name, that are not of their kind: InputError, a line for each."""
    wrong = [f"{name}: {value!r} is not {kind.words}" for name, (value, kind) in given.items() if not kind.holds(value)]
    if wrong:
        raise InputError(*wrong)
