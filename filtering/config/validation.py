"""Error messages of a configuration: a line for each mistake, in the words of its fields' descriptions."""

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from filtering.config.types import MOST, Section
from filtering.core.errors import InputError
from filtering.core.formatting import shortened
from filtering.core.secrets import MASK, NOTIFY_REMEDY, refused_secret

# What pydantic adds to a location for the branch of a union: the name of its type, such as `constrained-float` or
# `literal['auto']`; tags of our own are in brackets.
UNION_BRANCH = re.compile(r"int|float|str|constrained-\w+|.*[\[\]].*", re.DOTALL)


# A number as text, and whether it is a percentage.
NUMBER = re.compile(r"\s*(\d+\.?\d*|\.\d+)\s*(%?)\s*", re.ASCII)
# Names that are listed whole; of more, so many of the nearest.
MAX_LISTED, NEAREST_LISTED = 16, 5
# Mistakes that are told, and characters that are shown of a value or of a key: both are anyone's.
MAX_MISTAKES, SHOWN = 50, 120

# Mistakes whose location ends with a key, whatever it looks like: any name may have brackets.
ABOUT_KEYS = ("extra_forbidden", "missing", "invalid_key")

# What values are called elsewhere, where the nearest spelling would mislead; YAML reads `no` and `off` as false.
SYNONYMS = {"gpu": "cuda", "no": "none", "off": "none", "false": "none"}
# Mistakes of values that should be numbers.
ABOUT_NUMBERS = ("int_type", "int_parsing", "float_type", "float_parsing")

TOO_DEEP = "the configuration refers to itself or is nested too deep"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a mistake is: the keys that lead there, the sections that hold the last key, its field if it has one."""

    path: tuple[int | str, ...]
    sections: tuple[type[Section], ...]
    field: FieldInfo | None = None

    def __str__(self) -> str:
        return ".".join(shortened(str(part), SHOWN) for part in self.path)

    @property
    def description(self) -> str:
        """What the value must be."""
        return (self.field.description if self.field else None) or "a mapping"

    def known_keys(self) -> set[str]:
        """Return the keys that are known where the last one stands."""
        return {key for section in self.sections for key in section.known_keys()}


def explained(error: ValidationError, root: type[Section], given: Mapping[str, Any]) -> list[str]:
    """Return a line for each mistake of the data `given` for a section: unknown keys first, then in sections' order."""
    found = sorted(error.errors(include_url=False), key=lambda one: one["type"] != "extra_forbidden")
    placed = [(_located(one, root, given), one) for one in found[:MAX_MISTAKES]]
    paths = [place.path for place, _ in placed]
    lines = [
        _line(place, one, given) for number, (place, one) in enumerate(placed) if not _said_elsewhere(paths, number)
    ]
    more = [f"configuration: holds {len(found) - MAX_MISTAKES:,} more mistakes"] if len(found) > MAX_MISTAKES else []
    return [" ".join(line.split()) for line in (*lines, *more)]


def nearest(name: str, known: Iterable[str]) -> str:
    """Return '; did you mean X?' for the known name nearest to `name`, else the known names, of many the nearest."""
    names, name = sorted(known), name[:SHOWN]
    match = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if match:
        return f"; did you mean {match[0]}?"
    if len(names) <= MAX_LISTED:
        return f"; known: {', '.join(names)}"
    near = difflib.get_close_matches(name, names, n=NEAREST_LISTED, cutoff=0.0)
    return f"; the nearest of {len(names)} known: {', '.join(near)}"


def _said_elsewhere(paths: list[tuple[int | str, ...]], number: int) -> bool:
    """Say whether a mistake is of another branch of a union, for which another line is earlier or more precise."""
    path, earlier = paths[number], paths[:number]
    return path in earlier or any(other != path and other[: len(path)] == path for other in paths)


def _line(place: _Place, one: ErrorDetails, given: Mapping[str, Any]) -> str:
    if one["type"] == "extra_forbidden":
        key = str(place.path[-1])
        beside: Any = given
        for part in place.path[:-1]:
            beside = _at(beside, part)
        refused = (section.why_refused(key, beside or {}) for section in place.sections)
        return f"{place}: {next(filter(None, refused), f'unknown key{nearest(key, place.known_keys())}')}"
    if one["type"] == "missing":
        return f"{place}: is missing; it must be {place.description}"
    if one["type"] == "value_error":
        return f"{place}: {one['ctx']['error']}"
    if one["type"] == "invalid_key":
        return f"{place}: is no key; a key is text, such as {_any_of(place.known_keys())}"
    value = shown(one["input"])
    most = f", at most {MOST:,}" if one["type"] == "less_than_equal" and one["ctx"]["le"] == MOST else ""
    similar = _similar(one["input"], place.field)
    if one["type"] in ABOUT_NUMBERS and isinstance(one["input"], str):
        similar = similar or _unquoted(one["input"], place.field)
    return f"{place}: {value} is not valid; it must be {place.description}{most}{similar}"


def shown(value: object) -> str:
    """Return what was given as JSON, shortened where it is long; in words where JSON has no such thing."""
    try:
        return shortened(json.dumps(value, default=str), SHOWN)
    except (TypeError, ValueError, RecursionError):
        # Keys that are dates or bytes, numbers of thousands of digits, what holds itself.
        return f"this {'mapping' if isinstance(value, Mapping) else type(value).__name__}"


def _any_of(names: Iterable[str]) -> str:
    return min(names, default="output")


def _similar(given: object, field: FieldInfo | None) -> str:
    """Return '; did you mean X?' for the choice of a field that is nearest to a text; empty if none is near."""
    if not isinstance(given, str | bool) or field is None:
        return ""
    given = str(given)
    name = SYNONYMS.get(given.lower(), given)[:SHOWN]
    match = difflib.get_close_matches(name, set(choices(field.annotation)) - {given}, n=1, cutoff=0.6)
    return f"; did you mean {match[0]}?" if match else ""


def _unquoted(given: str, field: FieldInfo | None) -> str:
    """Return what to write in place of a text that is a number or a percentage, if the field takes that number."""
    found = NUMBER.fullmatch(given[:SHOWN])
    if found is None or field is None:
        return ""
    digits, percent = found.groups()
    number = float(digits) / 100 if percent else float(digits)
    word = f"{number:.15g}"
    try:
        _adapter(field).validate_python(json.loads(word))
    except ValueError:
        return ""
    return f"; write {word} without quotes"


def _adapter(field: FieldInfo) -> TypeAdapter[Any]:
    annotation: Any = Annotated[field.annotation, field]
    return TypeAdapter(annotation)


def choices(annotation: Any) -> Iterator[str]:
    """Yield the words that an annotation allows, through unions and lists."""
    if get_origin(annotation) is Literal:
        yield from (word for word in get_args(annotation) if isinstance(word, str))
        return
    for option in getattr(annotation, "__args__", ()):
        yield from choices(option)


def _located(error: ErrorDetails, root: type[Section], given: Any) -> _Place:
    """Follow the pydantic location of a mistake in what is `given` to its field."""
    inner, location = [root], error["loc"]
    path, sections, found = list[int | str](), tuple(inner), None
    for at, part in enumerate(location):
        last = at == len(location) - 1
        if not _is_key(part, given) and not (last and error["type"] in ABOUT_KEYS):
            # A step's parameters stand in sections of their own, but in YAML beside the step's keys.
            named = [section for section in inner if part == f"[{section.__name__}]"]
            inner = named or inner + [found for section in inner for found in _sections_at(section, str(part))]
            continue
        path.append(part)
        given = _at(given, part)
        sections = tuple(inner)
        field = next((s.model_fields[part] for s in inner if isinstance(part, str) and part in s.model_fields), None)
        if field is not None:
            found = field
            # A list's or a mapping's entries are sections that its own annotation holds.
            inner = list(_sections_in(field.annotation))
    return _Place(tuple(path), sections, found)


def _is_key(part: int | str, given: Any) -> bool:
    """Return whether a part of a location is a key of what is given there, or its place in a list; else a branch."""
    if isinstance(part, int) or (isinstance(given, Mapping) and part in given):
        return True
    return not UNION_BRANCH.fullmatch(part)


def _at(given: Any, part: int | str) -> Any:
    try:
        return given[part]
    except (KeyError, IndexError, TypeError):
        return None


def _sections_at(section: type[Section], alias: str) -> Iterator[type[Section]]:
    for field in section.model_fields.values():
        if field.alias == alias:
            yield from _sections_in(field.annotation)


def _sections_in(annotation: Any) -> Iterator[type[Section]]:
    """Yield the sections that an annotation allows, through unions, lists and mappings."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for option in getattr(annotation, "__args__", ()):
        yield from _sections_in(option)


def without_credentials(data: Any) -> tuple[Any, dict[str, str]]:
    """Return plain data with each text that holds a secret masked, and by their keys the lines that refuse them.

    InputError if the data is too deep.
    """
    lines = dict[str, str]()
    try:
        return _without(data, (), lines), lines
    except RecursionError:
        raise InputError(TOO_DEEP) from None


def _without(value: Any, path: tuple[str, ...], lines: dict[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {_without(key, path, lines): _without(inner, (*path, str(key)), lines) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without(inner, path, lines) for inner in value]
    if isinstance(value, str):
        where = ".".join(path)
        if line := refused_secret(where or "configuration", value, NOTIFY_REMEDY if where == "notify.url" else ""):
            lines.setdefault(where, line)
            return MASK
    return value


def others(lines: Iterable[str], refused: Iterable[str]) -> list[str]:
    """Return the lines that say nothing about what `without_credentials` masked under the keys `refused`."""
    masked = tuple(start for key in (*refused, MASK) for start in (f"{key}:", f"{key}."))
    return [line for line in lines if not line.startswith(masked)]
