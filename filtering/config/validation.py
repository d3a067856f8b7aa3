"""What is wrong with a configuration, in one line and in the words of its fields' descriptions."""

import difflib
import json
import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError


def explained(error: ValidationError, root: type[BaseModel]) -> str:
    """Return one line for the first thing wrong, in the words of the field's description."""
    found = error.errors(include_url=False)
    # Of a choice between a name and a mapping, the mapping's unknown key says most.
    first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
    path, known, field = _located(first["loc"], root)
    if first["type"] == "extra_forbidden":
        return f"{'.'.join(path)}: unknown key{nearest(path[-1], known)}"
    if first["type"] == "missing":
        return f"{'.'.join(path)}: is missing; it must be {field}"
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    given = json.dumps(first["input"], default=str)
    return f"{'.'.join(path)}: {given} is not valid; it must be {field}{_similar(first['input'], field)}"


def _similar(given: Any, description: str) -> str:
    words = re.findall(r"\w{3,}", description)
    match = difflib.get_close_matches(str(given), words, n=1, cutoff=0.6)
    return f"; did you mean {match[0]}?" if match else ""


def _located(location: tuple[int | str, ...], root: type[BaseModel]) -> tuple[list[str], set[str], str]:
    """Follow a pydantic location to its field: the keys, the names known where the last stands, its description."""
    sections: list[type[BaseModel]] = [root]
    path, description = list[str](), "a mapping"
    known = set(root.model_fields)
    for part in location:
        if isinstance(part, str) and _is_union_branch(part):
            continue
        path.append(str(part))
        field = next((s.model_fields[part] for s in sections if isinstance(part, str) and part in s.model_fields), None)
        known = {name for section in sections for name in section.model_fields}
        if field is not None:
            description = field.description or description
            # A list's or a mapping's entries are sections that its own annotation holds.
            sections = list(_sections_in(field.annotation))
    return path, known, description


def _is_union_branch(part: str) -> bool:
    # pydantic adds the name of the union's branch to the location, such as `literal['auto']` or `ScoreTable`.
    return bool(re.search(r"[\[\]]", part)) or part in (
        "int",
        "float",
        "str",
        "ScoreTable",
        "constrained-int",
    )


def _sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the sections that an annotation allows, through unions, lists and mappings."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for option in getattr(annotation, "__args__", ()):
        yield from _sections_in(option)


def nearest(name: str, known: Any) -> str:
    """Return '; did you mean X?' for the known name nearest to `name`, else the list of known names."""
    names = sorted(known)
    match = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"; did you mean {match[0]}?" if match else f"; known: {', '.join(names)}"
