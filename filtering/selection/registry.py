"""Selectors and budgets by name: a function, a line here, in `config.methods` and in `manifests.reasons`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from filtering.config.methods import ComplexityBudget, MinimumBudget, NoveltySettings, fit_of
from filtering.config.scores import NONE
from filtering.config.selection import Step
from filtering.core.csr import Int64Array
from filtering.selection.budgets import complexity_budgets, proportional_budgets, uniform_budgets
from filtering.selection.concept import ConceptSamples
from filtering.selection.flexrand import flexible_random
from filtering.selection.moderate import moderate_coreset
from filtering.selection.selectors import d2_coreset, everything, novel_coreset, random_choice, top_scores
from filtering.selection.semdedup import without_duplicates

# The samples of a concept, a budget and the method's own section of the configuration in, picks in order out.
Pick = Callable[[ConceptSamples, int, Any], Int64Array]
# The table of concepts, the total and the budget's own section in, a budget for each concept out.
Allot = Callable[[pa.Table, int, Any], Int64Array]


@dataclass(frozen=True, slots=True)
class Selector:
    """A method of selection; its parameters and its budget are in `config.methods.METHODS`.

    `pick` picks among the samples of one concept, in order; with `prefix`, the picks for a budget are the first picks
    for a larger one. `score` is the scorer that `auto` stands for, `vectors` asks for the samples' embeddings. With
    `once`, one of equal samples is picked: of concepts that all hold copies of one vector, only one is picked from.
    With `probable`, scores are probabilities.
    """

    pick: Pick
    about: str
    source: str = ""
    score: str = "clip_score"
    vectors: bool = False
    prefix: bool = True
    once: bool = False
    probable: bool = False


@dataclass(frozen=True, slots=True)
class Budget:
    """How many samples each concept may keep; its parameters are in `config.methods.BUDGET_SECTIONS`.

    `allot` is None where the scores of the whole pool decide, in passes of their own. With `probable`, the scores of
    the step are probabilities.
    """

    allot: Allot | None
    about: str
    source: str = ""
    probable: bool = False


SELECTORS: dict[str, Selector] = {
    "d2": Selector(d2_coreset, "diverse, and right or difficult: by expected novelty or messages", "arXiv 2310.07931"),
    "top": Selector(top_scores, "the highest scores"),
    "random": Selector(random_choice, "a draw that uids and seed decide", score="uniform"),
    "threshold": Selector(top_scores, "scores at or above a value, ties included: DataComp's rule", "arXiv 2304.14108"),
    "ccs": Selector(random_choice, "a draw in each stratum of difficulty", "arXiv 2210.15809"),
    "moderate": Selector(
        moderate_coreset, "the middle distances to the median", "Xia et al., ICLR 2023", score="uniform", vectors=True
    ),
    "semdedup": Selector(
        without_duplicates, "no near-duplicates", "arXiv 2303.09540", score="uniform", vectors=True, once=True
    ),
    "flexrand": Selector(
        flexible_random, "a draw from easy and from hard samples", "arXiv 2402.05356", "prototypicality", prefix=False
    ),
    "density": Selector(top_scores, "the farthest from the centroid", "arXiv 2401.04578", score="prototypicality"),
    "clip_powered": Selector(
        top_scores, "fit and distance from neighbours, in closed form", "arXiv 2410.11215", "clip_powered"
    ),
    "metaclip": Selector(
        top_scores, "captions balanced against a list of entries", "arXiv 2309.16671", score="metaclip"
    ),
    "hierarchical": Selector(
        random_choice, "a draw, balanced down a hierarchy of centroids", "arXiv 2405.15613", score="uniform"
    ),
    "all": Selector(everything, "everything", score="uniform"),
}
# The variant of D2 that is not the paper's.
NOVELTY = Selector(novel_coreset, "probably right and not covered yet", score="right", probable=True)


def selector_of(step: Step) -> Selector:
    """Return the selector of a step: its method's, of D2 its variant's."""
    return NOVELTY if isinstance(step.settings, NoveltySettings) else SELECTORS[step.method]


def wants_probabilities(step: Step) -> bool:
    """Return whether the scores of a step must lie in [0, 1]."""
    budget = BUDGETS.get(step.budget_name)
    return selector_of(step).probable or (budget is not None and budget.probable)


def weighs_novelty(step: Step) -> bool:
    """Return whether a step reads ranks that expected novelty is weighed by."""
    return fit_of(step.settings) != NONE


def _proportional(concepts: pa.Table, total: int, settings: MinimumBudget) -> Int64Array:
    return proportional_budgets(concepts["size"].to_numpy(), total, minimum=settings.minimum)


def _uniform(concepts: pa.Table, total: int, settings: MinimumBudget) -> Int64Array:
    return uniform_budgets(concepts["size"].to_numpy(), total, minimum=settings.minimum)


def _complexity(concepts: pa.Table, total: int, settings: ComplexityBudget) -> Int64Array:
    sizes, intra, inter = (concepts[name].to_numpy() for name in ("size", "d_intra", "d_inter"))
    return complexity_budgets(sizes, intra, inter, total, temperature=settings.temperature, minimum=settings.minimum)


BUDGETS: dict[str, Budget] = {
    "proportional": Budget(_proportional, "in proportion to the concepts' sizes"),
    "uniform": Budget(_uniform, "equal for all concepts, as far as they reach"),
    "complexity": Budget(_complexity, "by the concepts' width and distance", "arXiv 2401.04578"),
    "strata": Budget(None, "by strata of difficulty, over the pool or in each concept", "arXiv 2210.15809"),
    "hierarchical": Budget(None, "equal down a hierarchy of centroids", "arXiv 2405.15613"),
    "pool": Budget(None, "what each concept has among the pool's highest scores"),
    "distinct": Budget(None, "by the distinct right pairs that each concept is expected to hold", probable=True),
}
