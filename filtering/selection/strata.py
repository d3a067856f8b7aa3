"""Coverage-centric coreset selection (CCS, Zheng et al. 2022, arXiv 2210.15809): budgets over strata of difficulty."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt

from filtering.config.methods import StrataBudget
from filtering.core.csr import Int64Array
from filtering.core.errors import InputError
from filtering.selection.concept import ConceptSamples, induced

DROPPED = -1
# The share of the hardest samples to drop by the share that is kept, linear in between: chosen on validation data, see
# docs/methods.md, "For pictures with labels".
HARDEST_BY_KEPT = ((0.1, 0.10), (0.2, 0.05), (0.3, 0.05), (0.5, 0.0))
# A selector with its settings: the samples of a concept and a budget in, picks in order out.
Pick = Callable[[ConceptSamples, int], Int64Array]


def hardest_share(drop_hardest: float | Literal["auto"], total: int, available: int) -> float:
    """Return the share of the hardest samples to drop: as given, or of `auto` by the kept share total / available."""
    if drop_hardest != "auto":
        return drop_hardest
    kept, dropped = zip(*HARDEST_BY_KEPT, strict=True)
    return float(np.interp(total / max(available, 1), kept, dropped))


def strata_of(scores: npt.ArrayLike, count: int, drop_hardest: float) -> Int64Array:
    """Return each sample's stratum, int64 (n,), in 0..count - 1, or -1 where it is among the hardest.

    The int(n * drop_hardest) highest scores are dropped, of equal ones the highest positions; the rest falls into
    `count` bins of equal width between its least and greatest score, the last bin closed (Algorithm 1; 50 bins in the
    paper, where `drop_hardest` is beta). Equal scores are all in bin 0. InputError if scores, float (n,), are not
    finite, or the count or the share is out of bounds.
    """
    checked = np.asarray(scores, dtype=np.float64)
    if checked.ndim != 1 or not np.isfinite(checked).all():
        raise InputError("strata need a list of finite scores, one for each sample")
    if count < 1:
        raise InputError(f"strata must be 1 or more, got {count}")
    if not 0 <= drop_hardest <= 1:
        raise InputError(f"drop_hardest must lie between 0 and 1, got {drop_hardest}")
    kept = np.argsort(checked, kind="stable")[: len(checked) - int(len(checked) * drop_hardest)]
    strata = np.full(len(checked), DROPPED, dtype=np.int64)
    if len(kept):
        # Ascending: the first and the last are the range.
        strata[kept] = stratum_numbers(checked[kept], checked[kept[0]], checked[kept[-1]], count)
    return strata


def stratum_numbers(scores: npt.ArrayLike, low: float, high: float, count: int) -> Int64Array:
    """Return which of `count` bins of equal width in [low, high] each score falls into, int64 (n,).

    An edge belongs to the bin above it, the last one to the last bin. Scores outside of the range are in the first
    or the last bin; where low and high are equal, everything is in bin 0.
    """
    values = np.asarray(scores, dtype=np.float64)
    if not low < high:
        return np.zeros(len(values), dtype=np.int64)
    # A power of two changes no digit, and keeps the products below from overflowing.
    power = -int(np.frexp(max(abs(low), abs(high)))[1])
    first, last = np.ldexp(low, power), np.ldexp(high, power)
    inside = np.ldexp(np.clip(values, low, high), power)
    # The product first: whole-numbered scores then fall on the edges exactly.
    numbers: Int64Array = np.floor((inside - first) * count / (last - first)).astype(np.int64)
    return np.minimum(numbers, count - 1)


def strata_budgets(sizes: npt.ArrayLike, total: int) -> Int64Array:
    """Return how many samples each stratum keeps, int64 (K,), summing to min(total, sum(sizes)) exactly.

    From the smallest stratum that is not empty to the largest (ties: lowest number), each keeps
    min(size, remaining // strata left) (Algorithm 1): the larger ones get the part that a small one cannot use.
    """
    counts = np.asarray(sizes, dtype=np.int64)
    if total < 0 or (counts < 0).any():
        raise InputError("the budgets of strata need a total and sizes that are not negative")
    order = np.argsort(counts, kind="stable")
    order = order[counts[order] > 0]
    budgets, remaining = np.zeros(len(counts), dtype=np.int64), min(int(total), int(counts.sum()))
    for done, stratum in enumerate(order):
        budgets[stratum] = min(int(counts[stratum]), remaining // (len(order) - done))
        remaining -= int(budgets[stratum])
    return budgets


def inside_strata(
    concept: ConceptSamples,
    difficulties: npt.ArrayLike,
    budget: int,
    settings: StrataBudget,
    pick: Pick,
) -> Int64Array:
    """Return the picks of a selector inside strata of one concept, int64 (budget,) where it keeps to its budgets.

    Strata are ranges of the concept's difficulties, `settings.strata` of them after `settings.drop_hardest` (of auto,
    by the share of the concept that is kept). Where too few samples are left, the dropped ones fill up, the least hard
    first, so that sizes are exact. `pick` gets each stratum's samples, as a concept of their own, and its budget.
    """
    hardness = np.asarray(difficulties, dtype=np.float64)
    share = hardest_share(settings.drop_hardest, budget, len(hardness))
    strata = strata_of(hardness, settings.strata, share)
    sizes = np.bincount(strata[strata != DROPPED], minlength=1)
    budgets = strata_budgets(sizes, budget)
    picks = picks_by_stratum(concept, strata, budgets, pick)
    dropped = np.flatnonzero(strata == DROPPED)
    easiest = dropped[np.argsort(hardness[dropped], kind="stable")]
    return np.concatenate([picks, easiest[: budget - int(budgets.sum())]])


def picks_by_stratum(
    concept: ConceptSamples,
    strata: Int64Array,
    budgets: Int64Array,
    pick: Pick,
) -> Int64Array:
    """Return the picks of a selector inside given strata, int64, interleaved so that a prefix covers all strata.

    The order is that of rank within the stratum / the stratum's budget, equal ones by stratum. `strata`, int64 (n,), is
    the stratum of each sample, below K, negative to leave it out; `budgets`, int64 (K,), is what each stratum keeps.
    """
    picks, places = [np.zeros(0, dtype=np.int64)], [np.zeros(0)]
    for stratum in np.flatnonzero(budgets):
        members = np.flatnonzero(strata == stratum)
        chosen = members[pick(induced(concept, members), int(budgets[stratum]))]
        picks.append(chosen)
        places.append(np.arange(len(chosen)) / budgets[stratum])
    # A stable sort: equal places stay in the order of strata.
    return np.concatenate(picks)[np.argsort(np.concatenate(places), kind="stable")]
