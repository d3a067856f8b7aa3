"""Former names of configuration keys and values: they are accepted, and one line names what replaced them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from filtering.config.selection import Step, read_keys
from filtering.core.errors import InputError

# `section.key`, or `section.key=value` where a value was renamed. `selection` stands for every step of a selection,
# those of selection.steps and of the named selections included.
ALIASES = {
    "graph.guests": "graph.mean_replicas",
    "graph.reach": "graph.max_replicas",
    "retention.nights": "retention.keep_runs",
    "selection.per=night": "selection.per=increment",
}
# Older versions recorded a step with the parameters of every method; no step reads all of these.
RECORDED = {"gamma_forward", "epsilon", "split", "strata", "levels", "threshold"}


@dataclass(frozen=True, slots=True)
class Renamed:
    """A configuration as plain data, under the current names.

    Attributes
    ----------
    data : keys and values.
    lines : a warning for each former name that was given.
    """

    data: dict[str, Any]
    lines: tuple[str, ...]


def renamed(data: Mapping[str, Any]) -> Renamed:
    """Return a configuration's plain data under the current names; the data given are left as they are.

    Raises
    ------
    InputError
        If a section holds both the former and the current name of a key.
    """
    lines = list[str]()
    return Renamed({name: _top_level(name, value, lines) for name, value in data.items()}, tuple(lines))


def other_names(key: str) -> set[str]:
    """Return the last parts of the keys that mean the same as a dotted key, such as guests for graph.mean_replicas."""
    section, _, name = key.rpartition(".")
    pairs = ((former, now) for former, now in _keys(_kind(section)))
    return {other for pair in pairs if name in pair for other in pair if other != name}


def recorded_step(settings: Mapping[str, Any]) -> Step:
    """Return a step of selection as run.json of this or an older version records it."""
    return Step.model_validate(_section(settings, "selection", []))


def _top_level(name: str, value: Any, lines: list[str]) -> Any:
    if name == "selections" and isinstance(value, Mapping):
        return {one: _steps(steps, f"{name}.{one}", lines) for one, steps in value.items()}
    if not isinstance(value, Mapping):
        return value
    section = _section(value, str(name), lines)
    if name == "selection" and "steps" in section:
        section["steps"] = _steps(section["steps"], "selection.steps", lines)
    return section


def _steps(value: Any, path: str, lines: list[str]) -> Any:
    """Return a step, or a list of them."""
    if isinstance(value, list | tuple):
        return [_section(one, f"{path}.{number}", lines) for number, one in enumerate(value)]
    return _section(value, path, lines)


def _section(value: Any, path: str, lines: list[str]) -> Any:
    if not isinstance(value, Mapping):
        return value
    section, kind = dict(value), _kind(path)
    if kind == "selection" and section.keys() >= RECORDED:
        section = read_keys(section)
    for former, now in _keys(kind):
        section = _with_key(section, path, former, now, lines)
    for key, former, now in _values(kind):
        if section.get(key) == former:
            section[key] = now
            lines.append(f"{path}.{key}: {former} is now called {now}; the former name still works")
    return section


def _with_key(section: dict[Any, Any], path: str, former: str, now: str, lines: list[str]) -> dict[Any, Any]:
    if former not in section:
        return section
    if now in section:
        raise InputError(f"{path}.{former}: is the former name of {path}.{now}, which is given too; leave it out")
    lines.append(f"{path}.{former} is now called {path}.{now}; the former name still works")
    return {now if key == former else key: value for key, value in section.items()}


def _kind(path: str) -> str:
    """Return the section as `ALIASES` names it."""
    top = path.partition(".")[0]
    return "selection" if top in ("selection", "selections") else path


def _keys(kind: str) -> Iterator[tuple[str, str]]:
    """Yield the former and the current name of each key that was renamed in a section."""
    for former, now in ALIASES.items():
        section, _, key = former.rpartition(".")
        if section == kind and "=" not in key:
            yield key, now.rpartition(".")[2]


def _values(kind: str) -> Iterator[tuple[str, str, str]]:
    """Yield the key, the former and the current name of each value that was renamed in a section."""
    for former, now in ALIASES.items():
        section, _, rest = former.rpartition(".")
        key, equals, value = rest.partition("=")
        if section == kind and equals:
            yield key, value, now.partition("=")[2]
