"""What can be named in a configuration: selectors, budgets, scorers, with their inputs, parameters and papers."""

from typing import Any

from pydantic.fields import FieldInfo

from filtering.config.methods import BUDGET_SECTIONS, METHODS, MinimumBudget
from filtering.config.types import Section
from filtering.config.validation import nearest
from filtering.core.errors import InputError
from filtering.scores.registry import SCORERS
from filtering.selection.registry import BUDGETS, SELECTORS


def methods() -> list[dict[str, Any]]:
    """Return every part that a configuration may name, as plain data.

    Returns
    -------
    list of dict
        Keys kind, name, about, inputs, orientation (of scorers), source, and parameters: a list of name, default and
        description; a parameter that must be given has no default.
    """
    found = [
        _entry("selector", name, one.about, one.source, _selector_inputs(name), _selector_fields(name))
        for name, one in SELECTORS.items()
    ]
    found += [
        _entry("budget", name, one.about, one.source, _budget_inputs(name), _fields(BUDGET_SECTIONS[name]))
        for name, one in BUDGETS.items()
    ]
    found += [
        _entry("scorer", name, one.about, one.source, one.inputs, _fields(one.settings))
        for name, one in SCORERS.items()
    ]
    return found


def method(name: str) -> list[dict[str, Any]]:
    """Return the parts of a name, of every kind; InputError with the nearest name if there is none."""
    known = methods()
    found = [entry for entry in known if entry["name"] == name]
    if not found:
        raise InputError(f"methods: unknown name {name}{nearest(name, {entry['name'] for entry in known})}")
    return found


def _entry(kind: str, name: str, about: str, source: str, inputs: str, parameters: list[Any]) -> dict[str, Any]:
    orientation = "higher is kept" if kind == "scorer" else ""
    known = {"kind": kind, "name": name, "about": about, "inputs": inputs, "orientation": orientation}
    return known | {"source": source, "parameters": parameters}


def _selector_inputs(name: str) -> str:
    one, budget = SELECTORS[name], METHODS[name].budget
    inputs = [f"score (auto: {one.score})", f"budget (auto: {budget})" if budget else "no budget"]
    return ", ".join([*inputs, *["image embeddings"] * one.vectors])


def _budget_inputs(name: str) -> str:
    return "concepts" if BUDGETS[name].allot else "scores"


def _selector_fields(name: str) -> list[dict[str, Any]]:
    """Return a selector's own parameters, and those of its budget where that is not one of sizes alone."""
    budget = BUDGET_SECTIONS.get(METHODS[name].budget)
    own = _fields(METHODS[name].settings)
    known = {parameter["name"] for parameter in own}
    return own + [one for one in _fields(budget) if one["name"] not in known and budget is not MinimumBudget]


def _fields(settings: type[Section] | None) -> list[dict[str, Any]]:
    return [_parameter(key, field) for key, field in settings.model_fields.items()] if settings else []


def _parameter(name: str, field: FieldInfo) -> dict[str, Any]:
    known = {"name": name, "description": field.description}
    return known if field.is_required() or field.default is None else known | {"default": field.default}
