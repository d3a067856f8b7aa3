"""Selectors and budgets by name: a new one is a function and a line here."""

from collections.abc import Callable

import pyarrow as pa

from filtering.config import Selection
from filtering.errors import InputError
from filtering.explain import nearest
from filtering.graph.csr import Int64Array
from filtering.selection.budgets import complexity_budgets, proportional_budgets, uniform_budgets
from filtering.selection.concept import ConceptSamples
from filtering.selection.selectors import d2_coreset, random_choice, top_scores

Selector = Callable[[ConceptSamples, int, Selection], Int64Array]
# A budget takes the table of concepts, the total and the settings.
Budget = Callable[[pa.Table, int, Selection], Int64Array]

SELECTORS: dict[str, Selector] = {
    "d2": d2_coreset,
    "random": random_choice,
    "top": top_scores,
}


def _proportional(concepts: pa.Table, total: int, settings: Selection) -> Int64Array:
    return proportional_budgets(concepts["size"].to_numpy(), total, minimum=settings.minimum)


def _uniform(concepts: pa.Table, total: int, settings: Selection) -> Int64Array:
    return uniform_budgets(concepts["size"].to_numpy(), total, minimum=settings.minimum)


def _complexity(concepts: pa.Table, total: int, settings: Selection) -> Int64Array:
    sizes, intra, inter = (concepts[name].to_numpy() for name in ("size", "d_intra", "d_inter"))
    return complexity_budgets(sizes, intra, inter, total, temperature=settings.temperature, minimum=settings.minimum)


BUDGETS: dict[str, Budget] = {
    "proportional": _proportional,
    "uniform": _uniform,
    "complexity": _complexity,
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
