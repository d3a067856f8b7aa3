"""The parts that a configuration may name: selectors, budgets, scorers, with their inputs, parameters and papers."""

from typing import Any, NotRequired, TypedDict

from pydantic.fields import FieldInfo

from filtering.config.methods import BUDGET_SECTIONS, METHODS, MinimumBudget
from filtering.config.types import Section
from filtering.config.validation import nearest
from filtering.core.errors import InputError
from filtering.scores.registry import SCORERS
from filtering.selection.registry import BUDGETS, SELECTORS


class Parameter(TypedDict):
    """A parameter of a part; one that must be given has no default."""

    name: str
    description: str
    default: NotRequired[Any]


class Part(TypedDict):
    """A selector, a budget or a scorer; the orientation is empty but for scorers."""

    kind: str
    name: str
    about: str
    inputs: str
    orientation: str
    source: str
    parameters: list[Parameter]


def methods() -> list[Part]:
    """Return every part that a configuration may name."""
    found = [
        _part("selector", name, one.about, one.source, _selector_inputs(name), _selector_fields(name))
        for name, one in SELECTORS.items()
    ]
    found += [
        _part(
            "budget", name, one.about, one.source, "concepts" if one.allot else "scores", _fields(BUDGET_SECTIONS[name])
        )
        for name, one in BUDGETS.items()
    ]
    found += [
        _part("scorer", name, one.about, one.source, one.inputs, _fields(one.settings)) for name, one in SCORERS.items()
    ]
    return found


def method(name: str) -> list[Part]:
    """Return the parts of a name, of every kind; InputError with the nearest name if there is none."""
    known = methods()
    found = [part for part in known if part["name"] == name]
    if not found:
        raise InputError(f"methods: unknown name {name}{nearest(name, {part['name'] for part in known})}")
    return found


def _part(kind: str, name: str, about: str, source: str, inputs: str, parameters: list[Parameter]) -> Part:
    keep = "higher is kept" if kind == "scorer" else ""
    return Part(
        kind=kind, name=name, about=about, inputs=inputs, orientation=keep, source=source, parameters=parameters
    )


def _selector_inputs(name: str) -> str:
    one, budget = SELECTORS[name], METHODS[name].budget
    inputs = [f"score (auto: {one.score})", f"budget (auto: {budget})" if budget else "no budget"]
    return ", ".join([*inputs, *["image embeddings"] * one.vectors])


def _selector_fields(name: str) -> list[Parameter]:
    """Return a selector's own parameters, and those of its budget where that is not one of sizes alone."""
    budget = BUDGET_SECTIONS.get(METHODS[name].budget)
    own = _fields(METHODS[name].settings)
    known = {parameter["name"] for parameter in own}
    return own + [one for one in _fields(budget) if one["name"] not in known and budget is not MinimumBudget]


def _fields(settings: type[Section] | None) -> list[Parameter]:
    return [_parameter(key, field) for key, field in settings.model_fields.items()] if settings else []


def _parameter(name: str, field: FieldInfo) -> Parameter:
    known = Parameter(name=name, description=field.description or "")
    if not (field.is_required() or field.default is None):
        known["default"] = field.default
    return known
