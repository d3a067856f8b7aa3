import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from filtering.core.errors import InputError
from filtering.selection.budgets import (
    complexity_budgets,
    distinct_budgets,
    proportional_budgets,
    uniform_budgets,
)


def projected(target, lower, upper, total):
    """Exact projection: the sum is piecewise linear in the shift, with kinks where an entry meets a bound."""
    if not target:
        return []

    def clipped(shift):
        return [min(max(t + shift, low), high) for t, low, high in zip(target, lower, upper, strict=True)]

    kinks = sorted(
        {low - t for t, low in zip(target, lower, strict=True)}
        | {high - t for t, high in zip(target, upper, strict=True)}
    )
    first, last = 0, len(kinks) - 1
    while first < last:
        middle = (first + last) // 2
        if sum(clipped(kinks[middle])) >= total:
            last = middle
        else:
            first = middle + 1
    right = sum(clipped(kinks[first]))
    if right == total or first == 0:
        return clipped(kinks[first])
    left = sum(clipped(kinks[first - 1]))
    shift = kinks[first - 1] + (total - left) * (kinks[first] - kinks[first - 1]) / (right - left)
    return clipped(shift)


def softmax(logits):
    top = max(logits, default=0.0)
    weights = [math.exp(logit - top) for logit in logits]
    return [weight / sum(weights) for weight in weights]


def exact_target(sizes, intra, inter, total, temperature):
    shares = softmax([a * b / temperature for a, b in zip(intra, inter, strict=True)])
    return [Fraction(share * total) for share in shares]


def assert_near_projection(budgets, target, lower, upper, total):
    exact = projected(target, [Fraction(x) for x in lower], [Fraction(x) for x in upper], Fraction(total))
    assert abs(sum(exact) - total) < Fraction(1, 10**9)
    for budget, value in zip(budgets, exact, strict=True):
        assert math.floor(value - Fraction(1, 10**6)) <= budget <= math.ceil(value + Fraction(1, 10**6))
    return exact


def random_problem(random):
    concepts = int(random.integers(1, 13))
    sizes = random.integers(0, int(random.choice([4, 50, 5000])), concepts)
    intra, inter = random.random(concepts), random.random(concepts) * 1.5
    if random.random() < 0.2:
        intra[:] = intra[0]
        inter[:] = inter[0]
    minimum = int(random.choice([0, 0, 1, 5, 1000]))
    least = int(np.minimum(sizes, minimum).sum())
    total = int(random.integers(least, sizes.sum() + 1))
    return sizes, intra, inter, total, minimum, float(random.choice([0.02, 0.1, 0.5, 3.0]))


@pytest.mark.slow
def test_complexity_budgets_are_the_rounded_projection():
    random = np.random.default_rng(0)
    for _ in range(1000):
        sizes, intra, inter, total, minimum, temperature = random_problem(random)
        budgets = complexity_budgets(sizes, intra, inter, total, temperature=temperature, minimum=minimum)
        lower = np.minimum(sizes, minimum)
        bounds = list(zip(lower.tolist(), sizes.tolist(), strict=True))
        assert budgets.dtype == np.int64
        assert budgets.sum() == total
        assert (budgets >= lower).all()
        assert (budgets <= sizes).all()
        target = exact_target(sizes, intra, inter, total, temperature)
        exact = assert_near_projection(budgets.tolist(), target, lower.tolist(), sizes.tolist(), total)
        free = [x - t for x, t, (low, high) in zip(exact, target, bounds, strict=True) if low < x < high]
        shift = free[0] if free else None
        for x, t, (low, high) in zip(exact, target, bounds, strict=True):
            if shift is None or low == high:
                continue
            gap = float(x - t - shift)
            assert abs(gap) < 1e-9 or (x == low and gap > 0) or (x == high and gap < 0)


def test_the_largest_remainders_are_rounded_up():
    assert proportional_budgets([10, 10, 10], 10).tolist() == [4, 3, 3]
    assert proportional_budgets([50, 30, 20], 9).tolist() == [4, 3, 2]
    assert proportional_budgets([7, 2, 1], 5).tolist() == [4, 1, 0]


def test_equal_complexity_gives_uniform_budgets():
    sizes = [3, 100, 100, 40]
    flat = complexity_budgets(sizes, [0.2] * 4, [0.5] * 4, 120)
    assert flat.tolist() == uniform_budgets(sizes, 120).tolist()


def test_more_complex_concepts_keep_more():
    budgets = complexity_budgets([1000] * 3, [0.1, 0.3, 0.5], [0.5, 0.5, 0.5], 900)
    assert budgets[0] < budgets[1] < budgets[2]


def test_a_tiny_temperature_gives_all_to_the_most_complex():
    assert complexity_budgets([100, 100], [0.1, 0.9], [1, 1], 60, temperature=1e-3).tolist() == [0, 60]
    assert complexity_budgets([100, 100], [0.1, 0.9], [1, 1], 130, temperature=1e-3).tolist() == [30, 100]


def water_filled(sizes, total):
    budgets = [0] * len(sizes)
    while sum(budgets) < total:
        open_ones = [i for i, size in enumerate(sizes) if budgets[i] < size]
        lowest = min(open_ones, key=lambda i: budgets[i])
        budgets[lowest] += 1
    return budgets


@examples(2)
@given(st.lists(st.integers(0, 30), max_size=8), st.floats(0, 1))
def test_uniform_budgets_fill_like_water(sizes, fraction):
    total = round(sum(sizes) * fraction)
    assert uniform_budgets(sizes, total).tolist() == water_filled(sizes, total)


@examples(2)
@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=30), st.floats(0, 1))
def test_proportional_budgets_stay_within_one_of_the_share(sizes, fraction):
    total = round(sum(sizes) * fraction)
    budgets = proportional_budgets(sizes, total)
    assert budgets.sum() == total
    for budget, size in zip(budgets.tolist(), sizes, strict=True):
        assert abs(budget - size * total / max(sum(sizes), 1)) < 1 + 1e-6
        assert 0 <= budget <= size


@given(st.lists(st.integers(0, 500), min_size=1, max_size=12), st.integers(0, 60), st.floats(0, 1), st.booleans())
def test_minimum_budgets_are_kept(sizes, minimum, fraction, even):
    least = sum(min(size, minimum) for size in sizes)
    total = least + round((sum(sizes) - least) * fraction)
    budgets = (uniform_budgets if even else proportional_budgets)(sizes, total, minimum=minimum)
    assert budgets.sum() == total
    for budget, size in zip(budgets.tolist(), sizes, strict=True):
        assert min(minimum, size) <= budget <= size


def test_large_pools_sum_exactly():
    random = np.random.default_rng(5)
    sizes = random.integers(1, 10_000_000, 20_000)
    total = int(sizes.sum() * 0.37)
    for budgets in (
        proportional_budgets(sizes, total),
        uniform_budgets(sizes, total, minimum=10),
        complexity_budgets(sizes, random.random(20_000), random.random(20_000), total),
    ):
        assert budgets.sum() == total
        assert (budgets >= 0).all()
        assert (budgets <= sizes).all()


@pytest.mark.parametrize("budget_of", [proportional_budgets, uniform_budgets])
def test_no_concepts_need_no_budget(budget_of):
    assert budget_of([], 0).tolist() == []
    with pytest.raises(InputError, match="total"):
        budget_of([], 1)


def test_whole_and_empty_totals():
    assert uniform_budgets([3, 0, 5], 8).tolist() == [3, 0, 5]
    assert uniform_budgets([3, 0, 5], 0).tolist() == [0, 0, 0]
    assert complexity_budgets([3, 0, 5], [1, 2, 3], [1, 1, 1], 8).tolist() == [3, 0, 5]


@pytest.mark.parametrize("budget_of", [proportional_budgets, uniform_budgets])
@pytest.mark.parametrize(
    ("sizes", "total", "minimum", "named"),
    [
        ([3, 4], 8, 0, "total"),
        ([3, 4], -1, 0, "total"),
        ([3, 4], 2.5, 0, "total"),
        ([30, 40], 5, 10, "minimum"),
        ([30, 40], 5, -1, "minimum"),
        ([3, -4], 0, 0, "sizes"),
        ([3.5, 4], 2, 0, "sizes"),
        ([[3, 4]], 2, 0, "sizes"),
    ],
)
def test_impossible_totals_are_refused(budget_of, sizes, total, minimum, named):
    with pytest.raises(InputError, match=named):
        budget_of(sizes, total, minimum=minimum)


@pytest.mark.parametrize(
    ("intra", "inter", "options", "named"),
    [
        ([0.1], [0.1, 0.2], {}, "d_intra"),
        ([0.1, 0.2], [0.1], {}, "d_inter"),
        ([math.nan, 0.2], [0.1, 0.2], {}, "d_intra"),
        ([0.1, 0.2], [0.1, math.inf], {}, "d_inter"),
        ([0.1, 0.2], [0.1, 0.2], {"temperature": 0.0}, "temperature"),
        ([0.1, 0.2], [0.1, 0.2], {"temperature": math.nan}, "temperature"),
    ],
)
def test_bad_complexities_are_refused(intra, inter, options, named):
    with pytest.raises(InputError, match=named):
        complexity_budgets([5, 5], intra, inter, 4, **options)


def held_by(random):
    """Expected distinct right pairs, right pairs and samples of some concepts, among them empty and sure ones."""
    sizes = random.integers(0, int(random.choice([3, 40, 5000])), int(random.integers(1, 13)))
    right = sizes * random.choice([0.0, 0.4, 1.0, random.random()], len(sizes))
    return right * random.choice([0.0, 0.5, 1.0, random.random()], len(sizes)), right, sizes


def plain_distinct(distinct, right, sizes, total):
    """Each concept's share as a real number."""
    if total <= sum(distinct):
        low, high = 0.0, 1 + math.sqrt(max(distinct, default=0.0))
        for _ in range(100):
            middle = (low + high) / 2
            enough = sum(min(one, middle * math.sqrt(one)) for one in distinct) >= total
            low, high = (low, middle) if enough else (middle, high)
        return [min(one, high * math.sqrt(one)) for one in distinct]
    stations = [distinct, right, sizes]
    for low, high in pairwise(stations):
        if total <= sum(high) and sum(low) < sum(high):
            way = (total - sum(low)) / (sum(high) - sum(low))
            return [a + way * (b - a) for a, b in zip(low, high, strict=True)]
    return list(sizes)


@examples(2)
@given(seed=st.integers(0, 2**32 - 1))
def test_distinct_budgets_are_rounded_shares_of_distinct_right_pairs(seed):
    random = np.random.default_rng(seed)
    distinct, right, sizes = held_by(random)
    total = int(random.integers(0, sizes.sum() + 1))
    budgets = distinct_budgets(distinct, right, sizes, total)
    assert budgets.dtype == np.int64
    assert budgets.sum() == total
    assert ((budgets >= 0) & (budgets <= sizes)).all()
    exact = plain_distinct(distinct.tolist(), right.tolist(), sizes.tolist(), total)
    for budget, value in zip(budgets.tolist(), exact, strict=True):
        assert math.floor(value - 1e-6) <= budget <= math.ceil(value + 1e-6)


def test_distinct_budgets_flatten_as_fewer_are_kept():
    distinct, sizes = [100.0, 25.0, 4.0, 1.0], [200, 200, 200, 200]
    for total, whole in ((130, 4), (100, 3), (18, 0)):
        budgets = distinct_budgets(distinct, sizes, sizes, total)
        assert sum(budget >= one for budget, one in zip(budgets.tolist(), distinct, strict=True)) >= whole - 1
    # As square roots while no concept has all of its distinct pairs: 10, 5, 2, 1.
    assert distinct_budgets(distinct, sizes, sizes, 18).tolist() == [10, 5, 2, 1]


def test_distinct_budgets_go_from_distinct_pairs_to_right_ones_to_all():
    distinct, right, sizes = [10.0, 2.0, 0.0], [20.0, 8.0, 0.0], [30, 10, 20]
    assert distinct_budgets(distinct, right, sizes, 3).tolist() == [2, 1, 0]
    assert distinct_budgets(distinct, right, sizes, 6).tolist() == [4, 2, 0]
    assert distinct_budgets(distinct, right, sizes, 12).tolist() == [10, 2, 0]
    assert distinct_budgets(distinct, right, sizes, 20).tolist() == [15, 5, 0]
    assert distinct_budgets(distinct, right, sizes, 28).tolist() == [20, 8, 0]
    assert distinct_budgets(distinct, right, sizes, 44).tolist() == [25, 9, 10]
    assert distinct_budgets(distinct, right, sizes, 60).tolist() == sizes


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (([1.0], [1.0, 2.0], [3, 3], 1), r"distinct must have shape \(2,\)"),
        (([1.0, math.nan], [1.0, 2.0], [3, 3], 1), "distinct must be finite"),
        (([2.0, 0.0], [1.0, 2.0], [3, 3], 1), "at most right"),
        (([1.0, 0.0], [1.0, 4.0], [3, 3], 1), "right at most sizes"),
        (([-1.0, 0.0], [1.0, 2.0], [3, 3], 1), "at least 0"),
        (([1.0, 0.0], [1.0, 2.0], [3, 3], 7), "total is 7, but the concepts hold only 6 samples"),
    ],
)
def test_distinct_budgets_refuse_what_cannot_be(held, message):
    with pytest.raises(InputError, match=message):
        distinct_budgets(*held)
