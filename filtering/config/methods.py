"""Selection methods and budgets by name, each with a section of its own for its parameters."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from filtering.config.scores import NONE, NoneOrScore, Score, ScoreOf
from filtering.config.types import Above0, Gamma, NoneOrShare, Number, Positive, Section, Seed, Whole

AUTO = "auto"
# The method that has variants, the key that names one, and the key of the score that novelty is weighed by.
D2, VARIANT_KEY, FIT_KEY = "d2", "variant", "fit"
# That score where P(right) is learned.
FIT = {"centred_score": {"form": "cosine"}}
# In place of a budget: the method itself decides how many samples it keeps.
NO_BUDGET, THRESHOLD = "", "threshold"
DECIDED = (NO_BUDGET, THRESHOLD)


class NoSettings(Section):
    """No parameters."""


VARIANT = "auto, novelty or paper"


class ExchangeSettings(Section):
    """Whether picks weigh on samples of other concepts."""

    exchanges: Annotated[int, Field(ge=0, le=1_000, strict=True)] = Field(
        0,
        description="a number of rounds from 0 to 1,000 in which concepts exchange the picks at their borders; in 0 "
        "a pick weighs on its own concept alone, after 8 about as in one greedy over the pool",
    )


class NoveltySettings(ExchangeSettings):
    """D2 with expected novelty: probabilities in place of scores; novelty counts by how well image and caption fit."""

    variant: Literal["novelty"] = Field("novelty", description=VARIANT)
    fit: NoneOrScore = Field(
        ScoreOf.model_validate(FIT),
        description="auto, none, or the score by whose ranks novelty is weighed; auto is "
        "{centred_score: {form: cosine}} for score right, none for others",
    )


class D2Settings(ExchangeSettings):
    """D2 Pruning (arXiv 2310.07931): messages over the graph."""

    variant: Literal["paper"] = Field("paper", description=VARIANT)
    gamma_forward: Gamma = Field(1.0, description="a finite number, 0 or more")
    gamma_reverse: Gamma = Field(1.0, description="a finite number, 0 or more")
    rounds: Whole = Field(1, description="the number of rounds of forward messages, 0 or more")
    distance: Literal["squared", "euclidean"] = Field("squared", description="squared or euclidean")
    scale: Literal["fixed", "median"] = Field(
        "fixed", description="fixed, or median: distances in units of the concept's median distance"
    )
    messages: Literal["sum", "mean"] = Field("sum", description="sum or mean over the neighbours")


class RandomSettings(Section):
    """A random draw."""

    seed: Seed = Field(0, description="a whole number, 0 or more")


class ThresholdSettings(Section):
    """A cut by score (arXiv 2304.14108)."""

    threshold: Number | None = Field(None, description="the lowest score that is kept, a number")


class SemDedupSettings(Section):
    """SemDeDup (arXiv 2303.09540): near-duplicates by cosine distance."""

    epsilon: Above0 = Field(0.05, description="the cosine distance within which samples are duplicates, above 0")
    matches: Literal["survivors", "all"] = Field(
        "survivors", description="survivors or all: which earlier samples a sample is compared with"
    )


class FlexRandSettings(RandomSettings):
    """FlexRand (arXiv 2402.05356): random draws from an easy and a hard group."""

    split: NoneOrShare = Field(0.5, description="the share of samples in the easy group, from 0 to 1")


class AnyMethodSettings(NoveltySettings, D2Settings, ThresholdSettings, SemDedupSettings, FlexRandSettings):
    """Parameters of all methods, for an unknown method or variant: whichever is meant, their values are checked."""

    variant: Literal["auto", "novelty", "paper"] = Field("auto", description=VARIANT)  # type: ignore[assignment]


class MinimumBudget(Section):
    """Budgets of concepts by their sizes."""

    minimum: Whole = Field(0, description="the lowest budget of a concept, a whole number, 0 or more")


class ComplexityBudget(MinimumBudget):
    """Budgets of concepts by their complexity (arXiv 2401.04578)."""

    temperature: Above0 = Field(0.1, description="the temperature of the softmax over concepts, a positive number")


class StrataBudget(Section):
    """Budgets of strata of difficulty (arXiv 2210.15809)."""

    strata: Positive = Field(50, description="the number of strata, 1 or more")
    drop_hardest: Literal["auto"] | NoneOrShare = Field(
        0.0, description="auto (by the share that is kept), or the share of the hardest samples to drop, from 0 to 1"
    )
    scope: Literal["pool", "concept"] = Field("pool", description="pool or concept: what is divided into strata")
    difficulty: Score = Field(AUTO, description="the score that strata are cut by: auto (the step's own) or any score")


class HierarchicalBudget(Section):
    """Budgets down a hierarchy of centroids (arXiv 2405.15613)."""

    levels: Positive = Field(2, description="the number of levels of centroids above the concepts, 1 or more")
    seed: Seed = Field(0, description="a whole number, 0 or more")


class AnyBudgetSettings(ComplexityBudget, StrataBudget, HierarchicalBudget):
    """Parameters of all budgets, for an unknown budget."""


@dataclass(frozen=True, slots=True)
class Method:
    """The section of a selection method's parameters, and the budget that `auto` stands for.

    The budget is one of `DECIDED` if the method itself decides how many samples it keeps.
    """

    settings: type[Section] = NoSettings
    budget: str = "proportional"

    @property
    def decides(self) -> bool:
        """Whether the method takes no budget."""
        return self.budget in DECIDED


# D2's variants by name; `METHODS` has the one of the paper.
VARIANTS: dict[str, Method] = {"novelty": Method(NoveltySettings, "distinct"), "paper": Method(D2Settings)}
METHODS: dict[str, Method] = {
    D2: VARIANTS["paper"],
    "top": Method(),
    "random": Method(RandomSettings),
    "threshold": Method(ThresholdSettings, THRESHOLD),
    "ccs": Method(RandomSettings, "strata"),
    "moderate": Method(),
    "semdedup": Method(SemDedupSettings, NO_BUDGET),
    "flexrand": Method(FlexRandSettings),
    "density": Method(budget="complexity"),
    "clip_powered": Method(budget="pool"),
    "metaclip": Method(budget="pool"),
    "hierarchical": Method(RandomSettings, "hierarchical"),
    "all": Method(budget=NO_BUDGET),
}
BUDGET_SECTIONS: dict[str, type[Section]] = {
    "proportional": MinimumBudget,
    "uniform": MinimumBudget,
    "complexity": ComplexityBudget,
    "strata": StrataBudget,
    "hierarchical": HierarchicalBudget,
    "pool": NoSettings,
    "distinct": NoSettings,
}


# Parameters that only D2's variant of the paper reads.
PAPER_KEYS = frozenset(D2Settings.model_fields) - frozenset(NoveltySettings.model_fields)


class Parameters(dict[str, object]):
    """Parameters of a section as they were given, not validated yet."""

    def __init__(self, section: type[Section], given: Mapping[str, Any]) -> None:
        super().__init__({key: given[key] for key in section.model_fields if key in given})
        self.section = section


def _section_tag(value: Any) -> str:
    section = value.section if isinstance(value, Parameters) else type(value)
    return f"[{section.__name__}]"


MethodSettings = Annotated[
    Annotated[NoSettings, Tag("[NoSettings]")]
    | Annotated[NoveltySettings, Tag("[NoveltySettings]")]
    | Annotated[D2Settings, Tag("[D2Settings]")]
    | Annotated[RandomSettings, Tag("[RandomSettings]")]
    | Annotated[ThresholdSettings, Tag("[ThresholdSettings]")]
    | Annotated[SemDedupSettings, Tag("[SemDedupSettings]")]
    | Annotated[FlexRandSettings, Tag("[FlexRandSettings]")]
    | Annotated[AnyMethodSettings, Tag("[AnyMethodSettings]")],
    Discriminator(_section_tag),
]
BudgetSettings = Annotated[
    Annotated[NoSettings, Tag("[NoSettings]")]
    | Annotated[MinimumBudget, Tag("[MinimumBudget]")]
    | Annotated[ComplexityBudget, Tag("[ComplexityBudget]")]
    | Annotated[StrataBudget, Tag("[StrataBudget]")]
    | Annotated[HierarchicalBudget, Tag("[HierarchicalBudget]")]
    | Annotated[AnyBudgetSettings, Tag("[AnyBudgetSettings]")],
    Discriminator(_section_tag),
]


def method_of(name: str, variant: object) -> Method:
    """Return a method of `METHODS`, of D2 its variant; that of the paper where there is none of that name."""
    return VARIANTS.get(str(variant), METHODS[name]) if name == D2 else METHODS[name]


def fit_of(settings: object) -> NoneOrScore:
    """Return the score that a method's parameters weigh novelty by, or none."""
    return settings.fit if isinstance(settings, NoveltySettings) else NONE


def exchanges_of(settings: object) -> int:
    """Return in how many rounds concepts exchange their picks, by a method's parameters."""
    return settings.exchanges if isinstance(settings, ExchangeSettings) else 0


def readers(key: str) -> str:
    """Return which methods and budgets have a parameter of that name, in words; empty if none has."""
    variants = (((D2, name), method) for name, method in VARIANTS.items())
    others = (((name, ""), method) for name, method in METHODS.items() if name != D2)
    reading = [names for names, method in (*variants, *others) if key in method.settings.model_fields]
    methods = list(dict.fromkeys(_called(name, variant, key) for (name, variant) in reading))
    budgets = [name for name, section in BUDGET_SECTIONS.items() if key in section.model_fields]
    named = (("method", methods), ("budget", budgets))
    return " and ".join(f"{kind}{'s' * (len(names) > 1)} {', '.join(names)}" for kind, names in named if names)


def _called(name: str, variant: str, key: str) -> str:
    of_all = all(key in one.settings.model_fields for one in VARIANTS.values())
    return f"{name} with variant {variant}" if variant and not of_all else name


def parameter_keys() -> set[str]:
    """Return the names of all parameters of methods and budgets."""
    sections = (method.settings for method in (*METHODS.values(), *VARIANTS.values()))
    return {key for section in sections for key in section.model_fields} | budget_keys()


def budget_keys() -> set[str]:
    """Return the names of all parameters of budgets."""
    return {key for section in BUDGET_SECTIONS.values() for key in section.model_fields}
