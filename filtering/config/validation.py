"""Error messages of a configuration: a line for each mistake, in the words of its fields' descriptions."""

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from filtering.config.types import Section
from filtering.core.errors import InputError
from filtering.core.secrets import refused_secret

# What pydantic adds to a location for the branch of a union: the name of its type, such as `constrained-float` or
# `literal['auto']`; tags of our own are in brackets.
UNION_BRANCH = re.compile(r"int|float|str|constrained-\w+|.*[\[\]].*", re.DOTALL)


# Characters of a value that a line quotes, or of a name that is compared with others.
LONGEST = 200
# Names that are listed whole; of more, so many of the nearest.
MAX_LISTED, NEAREST_LISTED = 16, 5

TOO_DEEP = "the configuration refers to itself or is nested too deep"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a mistake is: the keys that lead there, the sections that hold the last key, what its value must be."""

    path: tuple[int | str, ...]
    sections: tuple[type[Section], ...]
    description: str

    def __str__(self) -> str:
        return ".".join(map(str, self.path))

    def known_keys(self) -> set[str]:
        """Return the keys that are known where the last one stands."""
        return {key for section in self.sections for key in section.known_keys()}


def explained(error: ValidationError, root: type[Section], given: Mapping[str, Any]) -> list[str]:
    """Return a line for each mistake of the data `given` for a section: unknown keys first, then in sections' order."""
    found = sorted(error.errors(include_url=False), key=lambda one: one["type"] != "extra_forbidden")
    placed = [(_located(one["loc"], root), one) for one in found]
    paths = [place.path for place, _ in placed]
    lines = [
        _line(place, one, given) for number, (place, one) in enumerate(placed) if not _said_elsewhere(paths, number)
    ]
    return [" ".join(line.split()) for line in lines]


def nearest(name: str, known: Iterable[str]) -> str:
    """Return '; did you mean X?' for the known name nearest to `name`, else the known names, of many the nearest."""
    names, name = sorted(known), name[:LONGEST]
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
            beside = beside[part]
        refused = (section.why_refused(key, beside) for section in place.sections)
        return f"{place}: {next(filter(None, refused), f'unknown key{nearest(key, place.known_keys())}')}"
    if one["type"] == "missing":
        return f"{place}: is missing; it must be {place.description}"
    if one["type"] == "value_error":
        return f"{place}: {one['ctx']['error']}"
    value = _shown(one["input"])
    return f"{place}: {value} is not valid; it must be {place.description}{_similar(one['input'], place.description)}"


def _shown(value: Any) -> str:
    """Return a value as it was given, of a long one its beginning."""
    if isinstance(value, str):
        return json.dumps(_beginning(value))
    try:
        return _beginning(json.dumps(value, default=str))
    except (ValueError, TypeError):
        # More digits than Python writes, and keys that JSON has not.
        return f"a {type(value).__name__}"


def _beginning(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _similar(given: Any, description: str) -> str:
    words = re.findall(r"\w{3,}", description)
    # Long texts are not compared: that takes minutes.
    match = difflib.get_close_matches(given[:LONGEST] if isinstance(given, str) else "", words, n=1, cutoff=0.6)
    return f"; did you mean {match[0]}?" if match else ""


def _located(location: tuple[int | str, ...], root: type[Section]) -> _Place:
    """Follow a pydantic location to its field."""
    inner = [root]
    path, sections, description = list[int | str](), tuple(inner), "a mapping"
    for part in location:
        if isinstance(part, str) and UNION_BRANCH.fullmatch(part):
            # A step's parameters stand in sections of their own, but in YAML beside the step's keys.
            inner += [found for section in inner for found in _sections_at(section, part)]
            continue
        path.append(part)
        sections = tuple(inner)
        field = next((s.model_fields[part] for s in inner if isinstance(part, str) and part in s.model_fields), None)
        if field is not None:
            description = field.description or description
            # A list's or a mapping's entries are sections that its own annotation holds.
            inner = list(_sections_in(field.annotation))
    return _Place(tuple(path), sections, description)


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


def refuse_credentials(data: Any) -> None:
    """Refuse a secret anywhere in plain data; InputError names the key at which it stands, or that it is too deep."""
    try:
        _refuse(data, ())
    except RecursionError:
        raise InputError(TOO_DEEP) from None


def _refuse(value: Any, path: tuple[str, ...]) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _refuse(str(key), path)
            _refuse(inner, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for inner in value:
            _refuse(inner, path)
    elif isinstance(value, str):
        remedy = "name an environment variable that holds it in notify.url_env" if path == ("notify", "url") else ""
        if line := refused_secret(".".join(path) or "configuration", value, remedy):
            raise InputError(line)
