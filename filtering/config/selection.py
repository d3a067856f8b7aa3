"""The `selection` section of the configuration, and the named `selections`.

A step is flat in YAML: `{method: d2, keep: 0.3, budget: complexity, gamma_forward: 1.0, temperature: 0.2}`. Parsed, the
parameters of its method and those of its budget are sections of their own, and a key that neither has is refused; the
method auto, and the variant auto of D2, are what `resolution.resolved` says.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Discriminator,
    Field,
    ModelWrapValidatorHandler,
    SerializerFunctionWrapHandler,
    Tag,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from filtering.config.methods import (
    AUTO,
    BUDGET_SECTIONS,
    D2,
    FIT_KEY,
    METHODS,
    VARIANT_KEY,
    VARIANTS,
    AnyBudgetSettings,
    AnyMethodSettings,
    BudgetSettings,
    Method,
    MethodSettings,
    NoSettings,
    NoveltySettings,
    Parameters,
    ThresholdSettings,
    budget_keys,
    exchanges_of,
    fit_of,
    method_of,
    parameter_keys,
    readers,
)
from filtering.config.resolution import STRATA, as_novelty, deciders, resolved
from filtering.config.scores import NONE, Score
from filtering.config.types import Fraction, Positive, Section
from filtering.config.validation import nearest

DEFAULT_METHOD = AUTO
# In brackets, as the tags of unions are: no key is called so, and an error's path leaves out what is in brackets.
SETTINGS, BUDGET_SETTINGS = "[settings]", "[budget_settings]"
COMMON = ("method", "score", "keep", "per", "budget")


class Step(Section):
    """One step of selection: a method, the score it judges by, how many samples it keeps.

    `settings` and `budget_settings` are the parameters of the method and of the budget.
    """

    method: str = Field(DEFAULT_METHOD, description="auto or the name of a selector, such as d2")
    settings: MethodSettings = Field(NoveltySettings(), alias=SETTINGS)
    budget: str = Field(AUTO, description="auto or the name of a budget, such as proportional")
    budget_settings: BudgetSettings = Field(NoSettings(), alias=BUDGET_SETTINGS)
    score: Score = Field(
        AUTO,
        description="auto, the name of a scorer, such as clip_score, {SCORER: {...}} or {table: URL, column: NAME}",
    )
    keep: Positive | Fraction = Field(
        0.3, union_mode="left_to_right", description="a fraction above 0 and at most 1, or a number of samples"
    )
    per: Literal["pool", "increment"] = Field(
        "pool",
        description="pool or increment: keep is a fraction of the pool, or of the samples that are new since base",
    )

    @model_validator(mode="before")
    @classmethod
    def _in_sections(cls, given: Any) -> Any:
        return _in_sections(given) if isinstance(given, Mapping) else given

    @model_validator(mode="wrap")
    @classmethod
    def _with_given_keys(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Leave out of `model_fields_set` what `resolved` has filled in."""
        step = handler(given)
        if isinstance(given, Mapping):
            for section in (step, step.settings, step.budget_settings):
                section.model_fields_set.intersection_update(key for key, value in given.items() if value != AUTO)
        return step

    @field_validator("method")
    @classmethod
    def _is_a_method(cls, name: str) -> str:
        if name not in METHODS:
            raise ValueError(f"unknown selector {name}{nearest(name, (AUTO, *METHODS))}")
        return name

    @field_validator("budget")
    @classmethod
    def _is_a_budget(cls, name: str, info: ValidationInfo) -> str:
        method = info.data.get("method")
        if name != AUTO and method and METHODS[method].decides:
            raise ValueError(f"method {method} does not read it: the method itself decides how many samples it keeps")
        if name not in (AUTO, *BUDGET_SECTIONS):
            raise ValueError(f"unknown budget {name}{nearest(name, BUDGET_SECTIONS)}")
        if name == STRATA and method and fit_of(info.data.get("settings")) != NONE:
            raise ValueError("strata are cut by a second score, and so is fit; set fit to none or take another budget")
        if name == STRATA and exchanges_of(info.data.get("settings")):
            raise ValueError(
                "strata are picked from one by one, and exchanges are between whole concepts; set exchanges to 0 or "
                "take another budget"
            )
        return name

    @model_serializer(mode="wrap")
    def _flat(self, nested: SerializerFunctionWrapHandler) -> dict[str, object]:
        return _flat(self, nested(self))

    @property
    def budget_name(self) -> str:
        """Name of the budget that the step spends, one of `methods.DECIDED` if its method takes none."""
        own = method_of(self.method, getattr(self.settings, VARIANT_KEY, ""))
        return own.budget if self.budget == AUTO or own.decides else self.budget

    @property
    def given(self) -> dict[str, Any]:
        """The keys that were given, except for those that were auto, and their values as plain data."""
        sections = (self, self.settings, self.budget_settings)
        keys = {key for section in sections for key in section.model_fields_set}
        return {key: value for key, value in self.model_dump(mode="json").items() if key in keys}

    @property
    def reads_keep(self) -> bool:
        """Whether `keep` and `per` decide how many samples the step keeps."""
        if isinstance(self.settings, ThresholdSettings):
            return self.settings.threshold is None
        return not METHODS[self.method].decides

    @classmethod
    def known_keys(cls) -> tuple[str, ...]:
        """Return the keys that a step may hold, the parameters of all methods and budgets among them."""
        own = (key for key in super().known_keys() if key not in ("settings", "budget_settings"))
        return (*own, *sorted(parameter_keys()))

    @classmethod
    def why_refused(cls, key: str, given: Mapping[str, Any]) -> str:
        """Return what does not read a parameter, and what does; empty if nothing has a parameter of that name."""
        step, known = resolved(given), readers(key)
        if key == FIT_KEY and step["method"] == D2 and (keys := deciders(given)):
            return (
                f"{' and '.join(keys)} chose variant paper, which does not read it; for variant novelty "
                f"{as_novelty(keys)}, for variant paper remove {key}"
            )
        method, budget = _names(step)
        variant = [f"variant {step[VARIANT_KEY]}"] if method == D2 else []
        spent = [*variant, *([f"budget {budget}"] if budget in BUDGET_SECTIONS else [])]
        words = f"method {method}{' with ' * bool(spent)}{' and '.join(spent)}"
        return f"{words} does not read it; it is for {known}" if known else ""


class Sets(Section):
    """A step that combines named selections: a sample must be in all of them, or in any."""

    all: tuple[str, ...] | None = Field(None, min_length=1, description="a list of names under selections")
    any: tuple[str, ...] | None = Field(None, min_length=1, description="a list of names under selections")

    @model_validator(mode="after")
    def _one_of_both(self) -> "Sets":
        if (self.all is None) == (self.any is None):
            raise ValueError("give either all (an intersection) or any (a union) of named selections")
        return self


def _form(value: Any) -> str:
    """Return the tag of a step or of sets, so that errors are about the form that was given."""
    sets = isinstance(value, Sets) or (isinstance(value, Mapping) and bool({"all", "any"} & set(value)))
    return "[sets]" if sets else "[step]"


Part = Annotated[Annotated[Step, Tag("[step]")] | Annotated[Sets, Tag("[sets]")], Discriminator(_form)]
Steps = Annotated[
    Annotated[Part, Tag("[one]")] | Annotated[tuple[Part, ...], Field(min_length=1), Tag("[list]")],
    Discriminator(lambda value: "[list]" if isinstance(value, list | tuple) else "[one]"),
]


class Selection(Step):
    """The whole selection: one step, or a list of steps of which each sees what the one before it kept."""

    steps: tuple[Part, ...] = Field(
        (), description="a list of steps such as [{method: semdedup}, {method: d2, keep: 0.3}]"
    )

    @model_validator(mode="before")
    @classmethod
    def _in_sections(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        others = sorted(str(key) for key in given if key in cls.known_keys() and key != "steps")
        if given.get("steps") and others:
            raise ValueError(f"{others[0]} belongs to a step when selection.steps is given")
        return _in_sections(given)

    @model_serializer(mode="wrap")
    def _flat(self, nested: SerializerFunctionWrapHandler) -> dict[str, object]:
        found = nested(self)
        return {"steps": found["steps"]} if self.steps else _flat(self, found)


def read_keys(given: Mapping[str, Any]) -> dict[str, object]:
    """Return those keys of a flat step that it reads, a list of steps alone if there is one; nothing is validated."""
    if given.get("steps"):
        return {"steps": given["steps"]}
    step = resolved(given)
    method, _ = _names(step)
    common = {key: step[key] for key in COMMON if key in step}
    if method and METHODS[method].decides:
        common.pop("budget", None)
    return common | dict(_settings(step)) | dict(_budget_settings(step))


def _method(step: Mapping[str, Any]) -> Method | None:
    """Return the method of a resolved flat step, None where it names no known one, or no known variant of it."""
    name, variant = step["method"], step.get(VARIANT_KEY)
    if not isinstance(name, str) or name not in METHODS or (name == D2 and variant not in (*VARIANTS,)):
        return None
    return method_of(name, variant)


def _names(step: Mapping[str, Any]) -> tuple[str, str]:
    """Return the names of a resolved flat step's method and budget, empty where what is given is no known name."""
    own, budget = _method(step), step.get("budget", AUTO)
    method = step["method"] if own else ""
    if own and (own.decides or budget == AUTO):
        return method, own.budget
    return method, budget if isinstance(budget, str) and budget in BUDGET_SECTIONS else ""


def _settings(step: Mapping[str, Any]) -> Parameters:
    own = _method(step)
    return Parameters(own.settings if own else AnyMethodSettings, step)


def _budget_settings(step: Mapping[str, Any]) -> Parameters:
    own, (_, budget) = _method(step), _names(step)
    unknown = NoSettings if own and own.decides else AnyBudgetSettings
    return Parameters(BUDGET_SECTIONS.get(budget, unknown), step)


def _in_sections(given: Mapping[str, Any]) -> dict[str, object]:
    """Return a flat step with its parameters in sections of their own; a key that no section has stays where it is."""
    step = resolved(given)
    method, budget = _names(step)
    own, spent = _settings(step), _budget_settings(step)
    read = {*own, *spent}
    # An unknown name is the mistake, not the parameters that may belong to it.
    if not method:
        read = parameter_keys()
    elif not budget and not METHODS[method].decides:
        read |= budget_keys()
    rest = {key: value for key, value in step.items() if key not in read}
    if reserved := {SETTINGS, BUDGET_SETTINGS} & rest.keys():
        raise ValueError(f"unknown key {min(reserved)}")
    return {**rest, SETTINGS: own, BUDGET_SETTINGS: spent}


def _flat(step: Step, nested: Mapping[str, Any]) -> dict[str, object]:
    """Return a step as YAML has it, with the keys that it reads."""
    unread = set() if step.reads_keep else {"keep", "per"}
    if METHODS[step.method].decides:
        unread.add("budget")
    common = {key: nested[key] for key in COMMON if key in nested and key not in unread}
    return {**common, **nested.get("settings", {}), **nested.get("budget_settings", {})}
