"""Balanced sampling from a hierarchy of clusters (Vo et al. 2024, arXiv 2405.15613)."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from filtering.core.csr import Int64Array, grouped
from filtering.core.errors import InputError
from filtering.selection.budgets import uniform_budgets, whole_numbers


def hierarchical_budgets(sizes: npt.ArrayLike, parents: Sequence[npt.ArrayLike], total: int) -> Int64Array:
    """Return each concept's budget, int64 (K,), summing to `total` exactly.

    The clusters of the top level get equal budgets, as far as the samples below them reach (the others get the part
    that one cannot use), then each cluster's budget is shared in the same way among those right below it, down to the
    concepts: a topic with many concepts no longer outweighs one with few. `parents` goes upwards: ``parents[0]``,
    int (K,), has each concept's node on level 1, ``parents[1]`` that node's on level 2; none gives `uniform_budgets`.
    InputError if the levels do not fit together or the concepts hold fewer than `total` samples.
    """
    held, levels = [whole_numbers("sizes", sizes)], [whole_numbers("hierarchy", level) for level in parents]
    for level, above in zip(levels, [*levels[1:], None], strict=False):
        nodes = int(level.max(initial=-1)) + 1 if above is None else len(above)
        held.append(_held_above(held[-1], level, nodes))
    budgets = uniform_budgets(held[-1], total)
    for capacities, level in zip(held[-2::-1], levels[::-1], strict=True):
        budgets = _shared(budgets, capacities, level)
    return budgets


def _held_above(capacities: Int64Array, parents: Int64Array, nodes: int) -> Int64Array:
    if len(parents) != len(capacities):
        raise InputError(f"hierarchy: a level names {len(parents)} parents for the {len(capacities)} nodes below it")
    if parents.max(initial=-1) >= nodes:
        raise InputError(f"hierarchy: a level names node {parents.max()}, but the next one knows only {nodes}")
    held = np.zeros(nodes, dtype=np.int64)
    np.add.at(held, parents, capacities)
    return held


def _shared(budgets: Int64Array, capacities: Int64Array, parents: Int64Array) -> Int64Array:
    """Share each node's budget among its children."""
    shares = np.zeros(len(parents), dtype=np.int64)
    order, starts = grouped(parents, len(budgets))
    for node in np.flatnonzero(budgets):
        children = order[starts[node] : starts[node + 1]]
        shares[children] = uniform_budgets(capacities[children], int(budgets[node]))
    return shares
