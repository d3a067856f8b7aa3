"""How many samples each concept may keep: proportional, uniform, by complexity, or by distinct right pairs.

The first three are the same projection: the point of {x : sum x = total, lower <= x <= sizes} nearest to a target,
found by a scalar search and rounded by largest remainders, so that the sum is exactly the total.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from filtering.core.csr import Int64Array
from filtering.core.errors import InputError
from filtering.core.portable_math import exps
from filtering.selection.kernel import Float64Array

BISECTIONS = 200
# By what sums of probabilities may be off.
SLACK = 1e-6


def proportional_budgets(sizes: npt.ArrayLike, total: int, *, minimum: int = 0) -> Int64Array:
    """Return budgets in proportion to the concepts' sizes.

    Parameters
    ----------
    sizes : int (K,)
        Samples in each concept.
    total : int
        Samples to keep over all concepts, at most sum(sizes).
    minimum : int
        Least budget of a concept (or its size, where that is smaller).

    Returns
    -------
    int64 (K,)
        No budget is above its concept's size, and their sum is `total` exactly.

    Raises
    ------
    InputError
        If sizes, total or minimum are no whole numbers or negative, or the total cannot be reached within the bounds.
    """
    counts = whole_numbers("sizes", sizes)
    share = total / max(int(counts.sum()), 1)
    return _budgets(np.asarray(counts * share, dtype=np.float64), counts, total, minimum)


def uniform_budgets(sizes: npt.ArrayLike, total: int, *, minimum: int = 0) -> Int64Array:
    """Return equal budgets by water-filling: the other concepts get the part that a small one cannot use.

    Parameters
    ----------
    sizes : int (K,)
        Samples in each concept.
    total : int
        Samples to keep over all concepts, at most sum(sizes).
    minimum : int
        Least budget of a concept (or its size, where that is smaller).

    Returns
    -------
    int64 (K,)
        No budget is above its concept's size, and their sum is `total` exactly.

    Raises
    ------
    InputError
        As `proportional_budgets` does.
    """
    counts = whole_numbers("sizes", sizes)
    return _budgets(np.zeros(len(counts)), counts, total, minimum)


def complexity_budgets(
    sizes: npt.ArrayLike,
    d_intra: npt.ArrayLike,
    d_inter: npt.ArrayLike,
    total: int,
    *,
    temperature: float = 0.1,
    minimum: int = 0,
) -> Int64Array:
    """Return budgets by concept complexity (density-based pruning, arXiv 2401.04578).

    With C = d_intra * d_inter and P = softmax(C / temperature), minimises 1/2 sum (x_j - P_j * total)^2
    subject to sum x = total and min(minimum, size_j) <= x_j <= size_j, then rounds by largest remainders.

    Parameters
    ----------
    sizes : int (K,)
        Samples in each concept.
    d_intra : float (K,)
        Mean cosine distance of a concept's members to its centroid.
    d_inter : float (K,)
        Mean cosine distance of a centroid to its nearest other centroids.
    total : int
        Samples to keep over all concepts, at most sum(sizes).
    temperature : float
        0.1 in the paper, 0.5 in its released code.
    minimum : int
        Least budget of a concept (or its size, where that is smaller).

    Returns
    -------
    int64 (K,)
        No budget is above its concept's size, and their sum is `total` exactly.

    Raises
    ------
    InputError
        If shapes differ, values are not finite, or the total cannot be reached within the bounds.
    """
    counts = whole_numbers("sizes", sizes)
    intra, inter = _checked_column("d_intra", d_intra, counts), _checked_column("d_inter", d_inter, counts)
    if not (np.isfinite(temperature) and temperature > 0):
        raise InputError(f"temperature must be positive, got {temperature}")
    return _budgets(_softmax(intra * inter / temperature) * total, counts, total, minimum)


def distinct_budgets(distinct: npt.ArrayLike, right: npt.ArrayLike, sizes: npt.ArrayLike, total: int) -> Int64Array:
    """Return budgets by how many distinct right pairs each concept is expected to hold.

    While the total is at most the sum of `distinct`, budgets b minimise sum(distinct / b) with none above `distinct`:
    in proportion to the square roots, as far as those reach (Neyman's allocation, where a concept counts as much as it
    holds and its error falls as 1 / b), so that small totals are flatter. Then on the straight line from `distinct` to
    `right`, and from `right` to the sizes; rounded by largest remainders.

    Parameters
    ----------
    distinct : float (K,)
        Expected distinct right pairs of each concept (`novelty.distinct_right`).
    right : float (K,)
        Expected right pairs of each concept: the sum of its probabilities, at least `distinct`.
    sizes : int (K,)
        Samples in each concept, at least `right`.
    total : int
        Samples to keep over all concepts, at most sum(sizes).

    Returns
    -------
    int64 (K,)
        No budget is above its concept's size, and their sum is `total` exactly.

    Raises
    ------
    InputError
        If shapes differ, values are not finite or not in this order, or the concepts hold fewer than `total` samples.
    """
    counts = whole_numbers("sizes", sizes)
    fewest, most = _checked_column("distinct", distinct, counts), _checked_column("right", right, counts)
    if not ((fewest >= 0) & (fewest <= most + SLACK) & (most <= counts + SLACK)).all():
        raise InputError("distinct must be at least 0 and at most right, and right at most sizes")
    _check_total(_checked_count("total", total), np.zeros_like(counts), counts)
    stations = (fewest, np.maximum(fewest, most), counts.astype(np.float64))
    few = total < float(fewest.sum())
    share = _square_roots(fewest, total) if few else _on_the_way(stations, total)
    return _rounded(np.minimum(share, counts), counts, total)


def _square_roots(most: Float64Array, total: int) -> Float64Array:
    """Return min(most, x * sqrt(most)) with the x that makes their sum the total, which is below that of `most`."""
    roots = np.sqrt(most)
    order = np.argsort(roots)
    # With x at the root of one of them, it and all smaller ones are whole.
    whole, open_roots = np.cumsum(most[order]), roots.sum() - np.cumsum(roots[order])
    full = int(np.searchsorted(whole + roots[order] * open_roots, total))
    left = total - (whole[full - 1] if full else 0.0)
    return np.minimum(most, roots * (left / (roots[order][full:].sum() or 1.0)))


def _on_the_way(stations: Sequence[Float64Array], total: int) -> Float64Array:
    """Return the point whose sum is the total on the straight lines from each station to the next, none is lower."""
    start = stations[0]
    for end in stations[1:]:
        low, high = float(start.sum()), float(end.sum())
        if total <= high and high > low:
            return start + (end - start) * ((total - low) / (high - low))
        start = end
    return start


def _softmax(logits: Float64Array) -> Float64Array:
    weights = exps(logits - logits.max(initial=-np.inf))
    share: Float64Array = weights / max(float(weights.sum()), float(np.finfo(np.float64).tiny))
    return share


def _budgets(target: Float64Array, sizes: Int64Array, total: int, minimum: int) -> Int64Array:
    lower = np.minimum(sizes, _checked_count("minimum", minimum))
    _check_total(_checked_count("total", total), lower, sizes)
    return _rounded(_projected(target, lower, sizes, total), sizes, total)


def _projected(target: Float64Array, lower: Int64Array, upper: Int64Array, total: int) -> Float64Array:
    """Project onto the box-constrained simplex: clip(target + shift, lower, upper) with the sum at `total`."""
    if len(target) == 0:
        return np.zeros(0)
    low, high = float((lower - target).min()), float((upper - target).max())
    for _ in range(BISECTIONS):
        shift = (low + high) / 2
        if np.clip(target + shift, lower, upper).sum() < total:
            low = shift
        else:
            high = shift
    # With the bounded entries known, the shift of the free ones follows exactly.
    moved = target + high
    free = (moved > lower) & (moved < upper)
    clipped = np.clip(moved, lower, upper)
    if free.any():
        exact = (total - clipped[~free].sum() - target[free].sum()) / free.sum()
        clipped = np.clip(np.where(free, target + exact, clipped), lower, upper)
    return clipped


def _rounded(values: Float64Array, upper: Int64Array, total: int) -> Int64Array:
    whole = np.floor(values + 1e-9).astype(np.int64)
    remainders = np.where(whole < upper, values - whole, -np.inf)
    missing = total - int(whole.sum())
    # A stable sort, so that equal remainders go to the lowest concept.
    whole[np.argsort(-remainders, kind="stable")[:missing]] += 1
    return whole


def whole_numbers(name: str, values: npt.ArrayLike) -> Int64Array:
    """Return a list of whole numbers, int64 (n,); InputError that has its name if it is none, or one is negative."""
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and not np.issubdtype(array.dtype, np.integer)) or (array < 0).any():
        raise InputError(f"{name} must be a list of whole numbers, 0 or more")
    return array.astype(np.int64)


def _checked_column(name: str, values: npt.ArrayLike, sizes: Int64Array) -> Float64Array:
    array = np.asarray(values, dtype=np.float64)
    if array.shape != sizes.shape:
        raise InputError(f"{name} must have shape {sizes.shape} as sizes has, got {array.shape}")
    if not np.isfinite(array).all():
        raise InputError(f"{name} must be finite, found NaN or infinity")
    return array


def _checked_count(name: str, count: int) -> int:
    if not np.isfinite(count) or int(count) != count or count < 0:
        raise InputError(f"{name} must be a whole number, not negative, got {count}")
    return int(count)


def _check_total(total: int, lower: Int64Array, upper: Int64Array) -> None:
    least, most = int(lower.sum()), int(upper.sum())
    if total > most:
        raise InputError(f"total is {total}, but the concepts hold only {most} samples")
    if total < least:
        raise InputError(f"total is {total}, but the minimum budgets already sum to {least}")
