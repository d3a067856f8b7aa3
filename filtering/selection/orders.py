"""The order in which a concept's samples were picked, stored with a digest of its inputs, for reuse by a later run.

Most selectors pick one by one, and their picks do not depend on the budget: a smaller budget takes a shorter prefix, a
larger one a longer. So orders are kept somewhat beyond the budget.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from filtering.config.methods import METHODS, StrataBudget
from filtering.config.resolution import without_paper
from filtering.config.selection import Step
from filtering.core.csr import Int64Array
from filtering.runtime.shuffle import Records
from filtering.selection.allotment import PoolStrata
from filtering.selection.concept import ConceptSamples
from filtering.selection.registry import selector_of
from filtering.selection.strata import inside_strata, picks_by_stratum
from filtering.storage.store import Store

ORDERS_NAME = "{:08d}.orders.npz"
# Parameters of methods and strata that decide how many samples a concept keeps, or act on the scores, not the order.
UNORDERED = {"threshold", "difficulty", "fit"}
# How far beyond the budget an order is kept: a share of it, and a few more.
SPARE_SHARE, SPARE = 0.25, 16
Digest = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Order:
    """The picks of a concept, places in the order of the pool, int64 (p,), and a digest of what they follow from."""

    concept: int
    digest: Digest
    picks: Int64Array

    def serves(self, digest: Digest, budget: int, size: int) -> bool:
        """Return whether it is of the same samples, `size` of them, and has as many picks as the budget asks for."""
        return self.digest == digest and len(self.picks) >= min(budget, size)


def stored_budget(budget: int, size: int) -> int:
    """Return how many samples of a concept are put in order, so that a later run may take some more."""
    return min(size, budget + max(int(budget * SPARE_SHARE), SPARE))


def digest_of(samples: ConceptSamples, step: Step, extra: Iterable[npt.NDArray[Any]] = ()) -> Digest:
    """Return a digest of everything that a selector sees of a concept.

    Of the step's keys count the method, its parameters without those of `UNORDERED`, and how strata are cut. `extra`
    are the other inputs of the order: strata and their budgets, or a budget that is no prefix of a larger one.
    """
    strata = step.budget_settings if isinstance(step.budget_settings, StrataBudget) else None
    sections = [step.settings, *([strata] if strata else [])]
    keys = without_paper([section.model_dump(mode="json", exclude=UNORDERED) for section in sections])
    hashed = hashlib.blake2b(json.dumps([step.method, *keys], sort_keys=True).encode(), digest_size=16)
    graph = (samples.graph.indptr, samples.graph.indices, samples.graph.distances)
    border = (samples.border_rows, samples.border_distances, samples.border_scores)
    asked = [array for array in (samples.vectors, samples.weights) if array is not None]
    for array in (samples.uids, samples.scores, *graph, *border, *asked, *extra):
        # Lengths too: the boundaries between arrays must count.
        hashed.update(f"{array.dtype.str}{array.shape}".encode())
        hashed.update(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
    data = hashed.digest()
    return int.from_bytes(data[:8], "little"), int.from_bytes(data[8:], "little")


def write_orders(store: Store, partition: int, orders: Sequence[Order]) -> None:
    """Write the orders of a partition's concepts."""
    lengths = np.array([len(order.picks) for order in orders], dtype=np.int64)
    arrays: dict[str, npt.NDArray[Any]] = {
        "concept": np.array([order.concept for order in orders], dtype=np.int32),
        "digest": np.array([order.digest for order in orders], dtype=np.uint64).reshape(-1, 2),
        "end": np.cumsum(lengths),
        "picks": np.concatenate([np.zeros(0, np.int32), *(order.picks.astype(np.int32) for order in orders)]),
    }
    store.write_arrays(ORDERS_NAME.format(partition), arrays)


def read_orders(store: Store, partition: int) -> dict[int, Order]:
    """Return the orders of a partition's concepts, by concept; none where there is no object."""
    try:
        found = store.read_arrays(ORDERS_NAME.format(partition))
    except FileNotFoundError:
        return {}
    ends = found["end"].tolist()
    spans = zip(found["concept"].tolist(), found["digest"].tolist(), [0, *ends][: len(ends)], ends, strict=True)
    picks = found["picks"].astype(np.int64)
    return {concept: Order(concept, (a, b), picks[start:end]) for concept, (a, b), start, end in spans}


class Picking:
    """Picks among the samples of one concept after another, taking an earlier run's order where it is the same.

    `budgets`, int64 (C,), are those of all concepts of the pool, `own`, SCORE (n,), the partition's rows; `strata` is
    given where the budget is for strata of the pool. `orders` are those of the concepts so far, `selected` counts those
    of them that were not taken from an earlier run.
    """

    def __init__(
        self, step: Step, budgets: Int64Array, own: Records, strata: PoolStrata | None, known: Mapping[int, Order]
    ) -> None:
        self.step, self.budgets, self.own, self.strata, self.known = step, budgets, own, strata, known
        self.method, self.selector = METHODS[step.method], selector_of(step)
        self.in_strata = step.budget_settings if isinstance(step.budget_settings, StrataBudget) else None
        self.orders: list[Order] = []
        self.selected = 0

    def chosen(self, concept: int, members: slice, samples: ConceptSamples) -> Int64Array:
        """Return the picks of a concept whose rows are `members`, places in the order of the pool, int64 (p,)."""
        if self.in_strata:
            return self._in_strata(self.in_strata, concept, members, samples)
        budget, size = int(self.budgets[concept]), len(samples.uids)
        # A method that decides how many itself may keep fewer than it may, and its order is whole all the same.
        if self.selector.prefix and self.method.budget:
            most = stored_budget(budget, size)
            return self._order(concept, samples, partial(self._pick, samples, most), budget)[:budget]
        # The picks follow from the budget, too, and are taken as a whole, or not at all (`once`).
        picks = self._order(concept, samples, partial(self._pick, samples, budget), extra=(np.array([budget]),))
        return picks[:budget] if self.selector.once else picks

    def _pick(self, samples: ConceptSamples, budget: int) -> Int64Array:
        return self.selector.pick(samples, budget, self.step.settings)

    def _in_strata(self, settings: StrataBudget, concept: int, members: slice, samples: ConceptSamples) -> Int64Array:
        hardness = self.own["second"][members]
        if self.strata is None:
            budget = int(self.budgets[concept])
            extra = (hardness, np.array([budget]))
            picks = partial(inside_strata, samples, hardness, budget, settings, self._pick)
        else:
            numbers, budgets = self.strata.numbers(self.own[members]), self.strata.budgets_of(concept)
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
        order = self.known.get(concept)
        if order is None or not order.serves(digest, least, len(samples.uids)):
            order = Order(concept, digest, picks())
            self.selected += 1
        self.orders.append(order)
        return order.picks
