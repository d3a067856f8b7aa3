"""Former names of configuration keys and values: they are accepted, and one line names what replaced them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from filtering.config.methods import D2, FIT_KEY, VARIANT_KEY
from filtering.config.resolution import NOVELTY, PAPER
from filtering.config.scores import NONE
from filtering.config.selection import Step, read_keys
from filtering.core.errors import InputError
from filtering.core.parsing import damaged

# Former and current names, by section. `selection` stands for every step of a selection, also in selection.steps and in
# the named selections.
KEYS = {"graph": {"guests": "mean_replicas", "reach": "max_replicas"}, "retention": {"nights": "keep_runs"}}
VALUES = {"selection": {"per": {"night": "increment"}}}
# Older versions recorded a step with the parameters of every method; no step reads all of these.
RECORDED = {"gamma_forward", "epsilon", "split", "strata", "levels", "threshold"}


@dataclass(frozen=True, slots=True)
class Renamed:
    """A configuration as plain data under the current names, and a warning for each former name that was given."""

    data: dict[str, object]
    lines: tuple[str, ...]


def renamed(data: Mapping[str, Any]) -> Renamed:
    """Return a configuration's plain data under the current names; the data given are left as they are.

    Raises InputError if a section holds both the former and the current name of a key.
    """
    lines = list[str]()
    return Renamed({name: _top_level(name, value, lines) for name, value in data.items()}, tuple(lines))


def other_names(key: str) -> set[str]:
    """Return the last parts of the keys that mean the same as a dotted key, such as guests for graph.mean_replicas."""
    section, _, name = key.rpartition(".")
    return {other for pair in KEYS.get(section, {}).items() if name in pair for other in pair if other != name}


def recorded_step(settings: Mapping[str, Any]) -> Step:
    """Return a step of selection as run.json of this or an older version records it; DamagedError if it is none."""
    try:
        return Step.model_validate(_section(_with_variant(settings), "selection", []))
    except ValidationError as error:
        raise damaged("run.json: steps", error) from None


def _with_variant(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a recorded step with D2's variant: before it had any, D2 was the paper's, and the default method.

    Before there was `fit`, nothing weighed novelty.
    """
    if settings.get("method", D2) == D2 and VARIANT_KEY not in settings:
        return {"method": D2, **settings, VARIANT_KEY: PAPER}
    if settings.get(VARIANT_KEY) == NOVELTY and FIT_KEY not in settings:
        return {**settings, FIT_KEY: NONE}
    return settings


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
    section, top = dict(value), path.partition(".")[0]
    kind = "selection" if top in ("selection", "selections") else path
    if kind == "selection" and section.keys() >= RECORDED:
        section = read_keys(section)
    for former, now in KEYS.get(kind, {}).items():
        section = _with_key(section, path, former, now, lines)
    for key, names in VALUES.get(kind, {}).items():
        if isinstance(given := section.get(key), str) and given in names:
            section[key] = names[given]
            lines.append(f"{path}.{key}: {given} is now called {names[given]}; the former name still works")
    return section


def _with_key(section: dict[Any, Any], path: str, former: str, now: str, lines: list[str]) -> dict[Any, Any]:
    if former not in section:
        return section
    if now in section:
        raise InputError(f"{path}.{former}: is the former name of {path}.{now}, which is given too; leave it out")
    lines.append(f"{path}.{former} is now called {path}.{now}; the former name still works")
    return {now if key == former else key: value for key, value in section.items()}
