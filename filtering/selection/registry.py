"""Selectors and budgets by name: a new one is a function and a line here."""

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from filtering.config.selection import Step
from filtering.config.validation import nearest
from filtering.core.csr import Int64Array
from filtering.core.errors import InputError
from filtering.selection.budgets import complexity_budgets, proportional_budgets, uniform_budgets
from filtering.selection.concept import ConceptSamples
from filtering.selection.flexrand import flexible_random
from filtering.selection.moderate import moderate_coreset
from filtering.selection.selectors import d2_coreset, everything, random_choice, top_scores
from filtering.selection.semdedup import without_duplicates

Pick = Callable[[ConceptSamples, int, Step], Int64Array]
# What a budget allots: the table of concepts, the total and the settings in, a budget for each concept out.
Allot = Callable[[pa.Table, int, Step], Int64Array]


@dataclass(frozen=True, slots=True)
class Selector:
    """A method of selection.

    Attributes
    ----------
    pick : picks among the samples of one concept, in order.
    about : what it does, in a few words.
    source : the paper.
    keys : the configuration's keys that it reads.
    score, budget : what `auto` stands for; an empty budget means that the method itself decides how many.
    vectors : whether it reads the samples' embeddings.
    prefix : whether what it picks for a budget is the beginning of what it picks for a larger one.
    """

    pick: Pick
    about: str
    source: str
    keys: tuple[str, ...] = ()
    score: str = "clip_score"
    budget: str = "proportional"
    vectors: bool = False
    prefix: bool = True


@dataclass(frozen=True, slots=True)
class Budget:
    """How many samples each concept may keep.

    Attributes
    ----------
    allot : the budgets of all concepts; None where the scores of the whole pool decide, in passes of their own.
    about : what it does, in a few words.
    source : the paper.
    keys : the configuration's keys that it reads.
    """

    allot: Allot | None
    about: str
    source: str = ""
    keys: tuple[str, ...] = ("minimum",)


# Budgets of a method's own: it decides how many it keeps.
DECIDED = ("", "threshold")
STRATA_KEYS = ("strata", "drop_hardest", "scope", "difficulty")
D2_KEYS = ("gamma_forward", "gamma_reverse", "rounds", "distance", "scale", "messages")
SELECTORS: dict[str, Selector] = {
    "d2": Selector(d2_coreset, "diverse and difficult: messages over the graph", "arXiv 2310.07931", D2_KEYS),
    "top": Selector(top_scores, "the highest scores", ""),
    "random": Selector(random_choice, "a draw that uids and seed decide", "", ("seed",), score="uniform"),
    "threshold": Selector(
        top_scores,
        "scores at or above a value, ties included: DataComp's rule",
        "arXiv 2304.14108",
        ("threshold",),
        budget="threshold",
    ),
    "ccs": Selector(
        random_choice,
        "a draw in each stratum of difficulty",
        "arXiv 2210.15809",
        ("seed", *STRATA_KEYS),
        budget="strata",
    ),
    "moderate": Selector(
        moderate_coreset, "the middle distances to the median", "Xia et al., ICLR 2023", vectors=True, score="uniform"
    ),
    "semdedup": Selector(
        without_duplicates,
        "no near-duplicates",
        "arXiv 2303.09540",
        ("epsilon", "matches"),
        score="uniform",
        budget="",
        vectors=True,
    ),
    "flexrand": Selector(
        flexible_random,
        "a draw from easy and from hard samples",
        "arXiv 2402.05356",
        ("split", "seed"),
        score="prototypicality",
        prefix=False,
    ),
    "density": Selector(
        top_scores,
        "the farthest from the centroid",
        "arXiv 2401.04578",
        ("temperature", "minimum"),
        score="prototypicality",
        budget="complexity",
    ),
    "clip_powered": Selector(
        top_scores,
        "fit and distance from neighbours, in closed form",
        "arXiv 2410.11215",
        score="clip_powered",
        budget="pool",
    ),
    "metaclip": Selector(
        top_scores, "captions balanced against a list of entries", "arXiv 2309.16671", score="metaclip", budget="pool"
    ),
    "hierarchical": Selector(
        random_choice,
        "a draw, balanced down a hierarchy of centroids",
        "arXiv 2405.15613",
        ("seed", "levels"),
        score="uniform",
        budget="hierarchical",
    ),
    "all": Selector(everything, "everything", "", score="uniform", budget=""),
}


def _proportional(concepts: pa.Table, total: int, settings: Step) -> Int64Array:
    return proportional_budgets(concepts["size"].to_numpy(), total, minimum=settings.minimum)


def _uniform(concepts: pa.Table, total: int, settings: Step) -> Int64Array:
    return uniform_budgets(concepts["size"].to_numpy(), total, minimum=settings.minimum)


def _complexity(concepts: pa.Table, total: int, settings: Step) -> Int64Array:
    sizes, intra, inter = (concepts[name].to_numpy() for name in ("size", "d_intra", "d_inter"))
    return complexity_budgets(sizes, intra, inter, total, temperature=settings.temperature, minimum=settings.minimum)


BUDGETS: dict[str, Budget] = {
    "proportional": Budget(_proportional, "in proportion to the concepts' sizes"),
    "uniform": Budget(_uniform, "equal for all concepts, as far as they reach"),
    "complexity": Budget(
        _complexity, "by the concepts' width and distance", "arXiv 2401.04578", ("temperature", "minimum")
    ),
    "strata": Budget(
        None, "by strata of difficulty, over the pool or in each concept", "arXiv 2210.15809", STRATA_KEYS
    ),
    "hierarchical": Budget(None, "equal down a hierarchy of centroids", "arXiv 2405.15613", ("levels",)),
    "pool": Budget(None, "what each concept has among the pool's highest scores", "", ()),
}


def selector(name: str) -> Selector:
    """Return the selector of that name; InputError with the nearest name if there is none."""
    if name not in SELECTORS:
        raise InputError(f"selection.method: unknown selector {name}{nearest(name, SELECTORS)}")
    return SELECTORS[name]


def budget(name: str) -> Budget:
    """Return the budget of that name; InputError with the nearest name if there is none."""
    if name not in BUDGETS:
        raise InputError(f"selection.budget: unknown budget {name}{nearest(name, BUDGETS)}")
    return BUDGETS[name]


def budget_name(step: Step) -> str:
    """Return the name of a step's budget, empty where its method decides how many it keeps."""
    own = selector(step.method).budget
    return own if step.budget == "auto" or own in DECIDED else step.budget


def unread_keys(step: Step) -> list[str]:
    """Return the keys of a step that were changed, although neither its method nor its budget reads them."""
    name = budget_name(step)
    read = {"method", "score", *selector(step.method).keys}
    if name and step.threshold is None:
        read |= {"keep", "per"}
    if name not in DECIDED:
        read |= {"budget", *budget(name).keys}
    fields = Step.model_fields.items()
    return [key for key, field in fields if key not in read and getattr(step, key) != field.default]
