import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from filtering.core.errors import InputError
from filtering.selection.budgets import uniform_budgets
from filtering.selection.hierarchy import hierarchical_budgets


def poured(capacities, total):
    """Pour one sample at a time into the emptiest that has room, the first of equal ones."""
    budgets = [0] * len(capacities)
    for _ in range(total):
        open_ones = [at for at, capacity in enumerate(capacities) if budgets[at] < capacity]
        budgets[min(open_ones, key=lambda at: (budgets[at], at))] += 1
    return budgets


def plain_budgets(sizes, parents, total):
    """Share the total among the top nodes, and each one's share among the concepts and levels below it."""
    if not parents:
        return poured(sizes, total)
    above = parents[0]
    nodes = len(parents[1]) if len(parents) > 1 else max(above, default=-1) + 1
    held = [sum(size for size, parent in zip(sizes, above, strict=True) if parent == node) for node in range(nodes)]
    budgets = [0] * len(sizes)
    for node, share in enumerate(plain_budgets(held, parents[1:], total)):
        children = [at for at, parent in enumerate(above) if parent == node]
        for at, budget in zip(children, poured([sizes[at] for at in children], share), strict=True):
            budgets[at] = budget
    return budgets


@st.composite
def hierarchies(draw):
    sizes = draw(st.lists(st.integers(0, 9), max_size=9))
    parents, below = [], len(sizes)
    for _ in range(draw(st.integers(0, 3))):
        nodes = draw(st.integers(1, 5))
        parents.append(draw(st.lists(st.integers(0, nodes - 1), min_size=below, max_size=below)))
        below = nodes
        if draw(st.booleans()):
            break
    # Where a further level was not drawn, the highest node that is named counts.
    return sizes, parents, draw(st.integers(0, sum(sizes)))


@examples(2)
@given(hierarchies())
def test_budgets_are_those_of_a_plain_recursion_and_sum_exactly(case):
    sizes, parents, total = case
    budgets = hierarchical_budgets(sizes, parents, total)
    assert budgets.dtype == np.int64
    assert budgets.tolist() == plain_budgets(sizes, parents, total)
    assert budgets.sum() == total
    assert (budgets <= np.array(sizes, dtype=np.int64)).all()


def test_a_topic_of_many_concepts_does_not_outweigh_one_of_few():
    sizes = [100] * 9 + [100]
    parents = [[0] * 9 + [1]]
    assert hierarchical_budgets(sizes, parents, 180).tolist() == [10] * 9 + [90]
    assert hierarchical_budgets(sizes, parents, 300).tolist() == [23, 23] + [22] * 7 + [100]


def test_two_levels_share_from_the_top():
    parents = [[0, 0, 1, 2], [0, 0, 1]]
    assert hierarchical_budgets([50, 50, 50, 50], parents, 40).tolist() == [5, 5, 10, 20]


def test_no_levels_are_uniform_budgets():
    sizes = [5, 0, 9, 30]
    assert np.array_equal(hierarchical_budgets(sizes, [], 20), uniform_budgets(sizes, 20))
    assert hierarchical_budgets([], [], 0).shape == (0,)
    assert hierarchical_budgets([], [[], []], 0).shape == (0,)


@pytest.mark.parametrize(
    ("sizes", "parents", "total", "named"),
    [
        ([3, 3], [[0, 0]], 7, "total is 7"),
        ([3, 3], [[0, 0]], -1, "total"),
        ([3, 3], [[0]], 2, "1 parents for the 2 nodes"),
        ([3, 3], [[0, 2], [0, 0]], 2, "names node 2"),
        ([3, 3], [[0, -1]], 2, "whole numbers"),
        ([3, 3], [[0, 0.5]], 2, "whole numbers"),
        ([3, -3], [[0, 0]], 0, "sizes"),
    ],
)
def test_bad_arguments_are_refused(sizes, parents, total, named):
    with pytest.raises(InputError, match=named):
        hierarchical_budgets(sizes, parents, total)
