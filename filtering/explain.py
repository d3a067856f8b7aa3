"""What is wrong with a configuration, in one line and in the words of its fields' descriptions."""

import difflib
import json
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError


def explained(error: ValidationError, root: type[BaseModel]) -> str:
    """Return one line for the first thing wrong, in the words of the field's description."""
    found = error.errors(include_url=False)
    # Of a choice between a name and a mapping, the mapping's unknown key says most.
    first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
    path, section, field = _located(first["loc"], root)
    if first["type"] == "extra_forbidden":
        return f"{'.'.join(path)}: unknown key{nearest(path[-1], section.model_fields)}"
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


def _located(location: tuple[int | str, ...], root: type[BaseModel]) -> tuple[list[str], type[BaseModel], str]:
    """Follow a pydantic location to its field: the keys, the section that holds the last, its description."""
    section, path, description = root, list[str](), "a mapping"
    for part in location:
        known: Mapping[str, Any] = section.model_fields
        if isinstance(part, str) and part in known:
            path.append(part)
            description = known[part].description or description
            section = _section_of(known[part].annotation, section)
        elif isinstance(part, int) or not _is_union_branch(part):
            path.append(str(part))
    return path, section, description


def _is_union_branch(part: str) -> bool:
    # pydantic adds the name of the union's branch to the location, such as `literal['auto']` or `ScoreTable`.
    return bool(re.search(r"[\[\]]", part)) or part in (
        "int",
        "float",
        "str",
        "ScoreTable",
        "constrained-int",
    )


def _section_of(annotation: Any, default: type[BaseModel]) -> Any:
    for option in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(option, type) and issubclass(option, BaseModel):
            return option
    return default


def nearest(name: str, known: Any) -> str:
    """Return '; did you mean X?' for the known name nearest to `name`, else the list of known names."""
    names = sorted(known)
    match = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"; did you mean {match[0]}?" if match else f"; known: {', '.join(names)}"
