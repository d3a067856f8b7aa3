"""Picks concept by concept, taking an earlier run's order where it follows from the same samples."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from filtering.config.methods import METHODS, StrataBudget
from filtering.config.selection import Step
from filtering.core.csr import Int64Array
from filtering.runtime.shuffle import Records
from filtering.selection.concept import ConceptSamples
from filtering.selection.orders import KnownOrders, Order, digest_of, stored_budget
from filtering.selection.pool_strata import PoolStrata
from filtering.selection.registry import SELECTORS
from filtering.selection.strata import inside_strata, picks_by_stratum


class Picking:
    """Picks among the samples of one concept after another.

    Parameters
    ----------
    step : Step
        The method and the budget, with their parameters.
    budgets : int64 (C,)
        Of every concept of the pool.
    own : SCORE (n,)
        The partition's rows.
    strata : PoolStrata or None
        Where the budget is for strata of the pool.
    known : KnownOrders
        The orders of an earlier run.

    Attributes
    ----------
    orders : list of Order
        Of the concepts so far.
    selected : int
        How many of them were not taken from an earlier run.
    """

    def __init__(
        self, step: Step, budgets: Int64Array, own: Records, strata: PoolStrata | None, known: KnownOrders
    ) -> None:
        self.step, self.budgets, self.own, self.strata, self.known = step, budgets, own, strata, known
        self.method, self.selector = METHODS[step.method], SELECTORS[step.method]
        self.in_strata = step.budget_settings if isinstance(step.budget_settings, StrataBudget) else None
        self.orders: list[Order] = []
        self.selected = 0

    def chosen(self, concept: int, members: slice, samples: ConceptSamples) -> Int64Array:
        """Return the picks of a concept, places in the order of uids, int64 (p,).

        Parameters
        ----------
        concept : int
            Its number.
        members : slice
            Its rows among the partition's.
        samples : ConceptSamples
            Its samples.
        """
        if self.in_strata:
            return self._in_strata(self.in_strata, concept, members, samples)
        budget, size = int(self.budgets[concept]), len(samples.uids)
        # A method that decides how many itself may keep fewer than it may, and its order is whole all the same.
        if self.selector.prefix and self.method.budget:
            most = stored_budget(budget, size)
            return self._order(concept, samples, partial(self._pick, samples, most), budget)[:budget]
        # The picks follow from the budget, too, and are taken as a whole.
        return self._order(concept, samples, partial(self._pick, samples, budget), extra=(np.array([budget]),))

    def _pick(self, samples: ConceptSamples, budget: int) -> Int64Array:
        return self.selector.pick(samples, budget, self.step.settings)

    def _in_strata(self, settings: StrataBudget, concept: int, members: slice, samples: ConceptSamples) -> Int64Array:
        hardness = self.own["difficulty"][members]
        if self.strata is None:
            budget = int(self.budgets[concept])
            extra = (hardness, np.array([budget]))
            picks = partial(inside_strata, samples, hardness, budget, settings, self._pick)
        else:
            numbers, budgets = self.strata.numbers(self.own["row"][members], hardness), self.strata.budgets_of(concept)
            extra = (numbers, budgets)
            picks = partial(picks_by_stratum, samples, numbers, budgets, self._pick)
        return self._order(concept, samples, picks, extra=extra)

    def _order(
        self,
        concept: int,
        samples: ConceptSamples,
        picks: Callable[[], Int64Array],
        least: int = 0,
        extra: Sequence[npt.NDArray[Any]] = (),
    ) -> Int64Array:
        """Return the order of a concept: an earlier run's if it has at least `least` picks, else new picks."""
        digest = digest_of(samples, self.step, extra)
        found = self.known.picks(concept, digest, least, len(samples.uids))
        self.selected += found is None
        order = picks() if found is None else found
        self.orders.append(Order(concept, digest, order))
        return order
