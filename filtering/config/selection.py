"""The `selection` section of the configuration, and the named `selections`."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from filtering.config.scores import Score
from filtering.config.types import Above0, Fraction, Gamma, NoneOrShare, Number, Positive, Section, Seed, Whole


class Step(Section):
    """One step of selection: a method, what it judges by, how many it keeps. A method ignores keys of others."""

    method: str = Field("d2", description="the name of a selector, such as d2")
    score: Score = Field(
        "auto",
        description="auto, the name of a scorer, such as clip_score, {SCORER: {...}} or {table: URL, column: NAME}",
    )
    keep: Positive | Fraction = Field(
        0.3, union_mode="left_to_right", description="a fraction between 0 and 1, or a number of samples"
    )
    per: Literal["pool", "increment"] = Field(
        "pool",
        description="pool or increment: keep is a fraction of the pool, or of the samples that are new since base",
    )
    budget: str = Field("auto", description="auto or the name of a budget, such as proportional")
    gamma_forward: Gamma = Field(1.0, description="a finite number, 0 or more")
    gamma_reverse: Gamma = Field(1.0, description="a finite number, 0 or more")
    rounds: Whole = Field(1, description="rounds of forward messages, 0 or more (method d2)")
    distance: Literal["squared", "euclidean"] = Field("squared", description="squared or euclidean (method d2)")
    scale: Literal["fixed", "median"] = Field(
        "fixed", description="fixed, or median: distances in units of the concept's median (method d2)"
    )
    messages: Literal["sum", "mean"] = Field("sum", description="sum or mean of the neighbours (method d2)")
    temperature: Above0 = Field(0.1, description="a positive number (budget complexity)")
    minimum: Whole = Field(0, description="least budget of a concept, a whole number, 0 or more")
    strata: Positive = Field(50, description="a positive whole number of difficulty strata (budget strata)")
    drop_hardest: NoneOrShare = Field(0.0, description="a share from 0 to 1 (budget strata)")
    difficulty: Score = Field(
        "auto", description="what strata are cut by: auto (the step's score) or any score (budget strata)"
    )
    scope: Literal["pool", "concept"] = Field("pool", description="pool or concept (budget strata)")
    levels: Positive = Field(2, description="levels of centroids above the concepts, 1 or more (budget hierarchical)")
    epsilon: Above0 = Field(0.05, description="a positive number, of cosine distance (method semdedup)")
    matches: Literal["survivors", "all"] = Field(
        "survivors", description="survivors or all: what a sample is compared with (method semdedup)"
    )
    split: NoneOrShare = Field(0.5, description="the share of easy samples, from 0 to 1 (method flexrand)")
    threshold: Number | None = Field(None, description="the least score that is kept, a number (method threshold)")
    seed: Seed = Field(0, description="a whole number, 0 or more (methods that draw)")


class Sets(Section):
    """A step that combines named selections: a sample must be in all of them, or in any."""

    all: tuple[str, ...] | None = Field(None, min_length=1, description="a list of names under selections")
    any: tuple[str, ...] | None = Field(None, min_length=1, description="a list of names under selections")

    @model_validator(mode="after")
    def _one_of_both(self) -> "Sets":
        if (self.all is None) == (self.any is None):
            raise ValueError("selection.steps: give either all (an intersection) or any (a union) of named selections")
        return self


def _form(value: Any) -> str:
    """Tell a step from sets, so that an error speaks of the one that was meant."""
    sets = isinstance(value, Sets) or (isinstance(value, Mapping) and bool({"all", "any"} & set(value)))
    return "[sets]" if sets else "[step]"


def _number(value: Any) -> str:
    return "[list]" if isinstance(value, list | tuple) else "[one]"


Part = Annotated[Annotated[Step, Tag("[step]")] | Annotated[Sets, Tag("[sets]")], Discriminator(_form)]
Steps = Annotated[
    Annotated[Part, Tag("[one]")] | Annotated[tuple[Part, ...], Field(min_length=1), Tag("[list]")],
    Discriminator(_number),
]


class Selection(Step):
    """The whole selection: one step, or a list of steps of which each sees what the one before it kept."""

    steps: tuple[Part, ...] = Field(
        (), description="a list of steps such as [{method: semdedup}, {method: d2, keep: 0.3}]"
    )

    @model_validator(mode="after")
    def _steps_or_a_step(self) -> "Selection":
        fields = ((name, field) for name, field in type(self).model_fields.items() if name != "steps")
        others = sorted(name for name, field in fields if getattr(self, name) != field.default)
        if self.steps and others:
            raise ValueError(f"selection.{others[0]}: belongs to a step when selection.steps is given")
        return self
