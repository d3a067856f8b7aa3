"""The order in which a concept's samples were picked, stored with a digest of its inputs, for reuse by a later run.

Most selectors pick one by one, and their picks do not depend on the budget: a smaller budget takes a shorter prefix, a
larger one a longer. So orders are kept somewhat beyond the budget.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from filtering.config.methods import StrataBudget
from filtering.config.selection import Step
from filtering.core.csr import Int64Array
from filtering.selection.concept import ConceptSamples
from filtering.storage.store import Store

ORDERS_NAME = "{:08d}.orders.npz"
# Parameters of methods and strata that decide how many samples a concept keeps, or act on the scores, not the order.
UNORDERED = {"threshold", "difficulty"}
# How far beyond the budget an order is kept: a share of it, and a few more.
SPARE_SHARE, SPARE = 0.25, 16
Digest = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Order:
    """The picks of one concept, in order.

    Attributes
    ----------
    concept : its number.
    digest : of everything that the order follows from.
    picks : int64 (p,), places in the order of uids.
    """

    concept: int
    digest: Digest
    picks: Int64Array


class KnownOrders:
    """The orders that an earlier run left in one partition."""

    def __init__(self, orders: Sequence[Order] = ()) -> None:
        self._orders = {order.concept: order for order in orders}

    def picks(self, concept: int, digest: Digest, budget: int, size: int) -> Int64Array | None:
        """Return the picks from the same samples, int64 (p,); None if there are fewer than the budget asks for."""
        order = self._orders.get(concept)
        if order is None or order.digest != digest:
            return None
        return order.picks if len(order.picks) >= min(budget, size) else None


def stored_budget(budget: int, size: int) -> int:
    """Return how many samples of a concept are put in order, so that a later run may take some more."""
    return min(size, budget + max(int(budget * SPARE_SHARE), SPARE))


def digest_of(samples: ConceptSamples, step: Step, extra: Iterable[npt.NDArray[Any]] = ()) -> Digest:
    """Return a digest of everything that a selector sees of a concept.

    Parameters
    ----------
    samples : ConceptSamples
        The concept.
    step : Step
        The step. Of its keys count the method, its parameters without those of `UNORDERED`, and how strata are cut.
    extra : iterable of arrays
        The other inputs of the order: strata and their budgets, or a budget that is no prefix of a larger one.
    """
    strata = step.budget_settings if isinstance(step.budget_settings, StrataBudget) else None
    sections = [step.settings, *([strata] if strata else [])]
    keys = [section.model_dump(mode="json", exclude=UNORDERED) for section in sections]
    hashed = hashlib.blake2b(json.dumps([step.method, *keys], sort_keys=True).encode(), digest_size=16)
    graph = (samples.graph.indptr, samples.graph.indices, samples.graph.distances)
    border = (samples.border_rows, samples.border_distances, samples.border_scores)
    vectors = () if samples.vectors is None else (samples.vectors,)
    for array in (samples.uids, samples.scores, *graph, *border, *vectors, *extra):
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


def read_orders(store: Store, partition: int) -> KnownOrders:
    """Return the orders of a partition's concepts; none where there is no object."""
    try:
        found = store.read_arrays(ORDERS_NAME.format(partition))
    except FileNotFoundError:
        return KnownOrders()
    ends = found["end"].tolist()
    spans = zip(found["concept"].tolist(), found["digest"].tolist(), [0, *ends][: len(ends)], ends, strict=True)
    picks = found["picks"].astype(np.int64)
    return KnownOrders([Order(concept, (a, b), picks[start:end]) for concept, (a, b), start, end in spans])
