import math
from itertools import pairwise

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from test_d2 import plain_edges, random_graph

from filtering.core.csr import KnnGraph
from filtering.core.errors import InputError
from filtering.core.portable_math import exp
from filtering.graph.knn import knn_graph
from filtering.selection.novelty import distinct_right, select, unit_of

TWINS = KnnGraph([0, 1, 2, 2], [1, 0], [0.0, 0.0])


def plain_picks(graph, p, unit, weights=None):
    """All picks in order and their gains, by loops."""
    weights = [1.0] * graph.nodes if weights is None else weights
    edges, p = plain_edges(graph, "squared"), [float(one) for one in p]
    nu, picks, gains = [1.0] * graph.nodes, [], []
    while len(picks) < graph.nodes:
        best, most = None, -math.inf
        for node in range(graph.nodes):
            gain = weights[node] * p[node] * nu[node] - (1 - p[node])
            if node not in picks and gain > most:
                best, most = node, gain
        picks.append(best)
        gains.append(most)
        for neighbour, length in edges[best]:
            nu[neighbour] *= 1 - p[best] * exp(-length / unit)
    return picks, gains


def plain_unit(graph):
    for some in (sorted(graph.distances.tolist()), sorted(d for d in graph.distances.tolist() if d > 0)):
        if some and (median := (some[(len(some) - 1) // 2] + some[len(some) // 2]) / 2) > 0:
            return median
    return 1.0


def problem(seed):
    """A graph and probabilities: with ties, sure and impossible nodes, equal vectors, isolated nodes."""
    random = np.random.default_rng(seed)
    nodes = int(random.integers(0, 40))
    edges = int(random.integers(0, 4 * nodes + 1))
    lengths = random.choice([0.0, 0.25, 1.0], edges) if seed % 2 else random.random(edges).astype(np.float32)
    if seed % 7 == 0:
        lengths = np.zeros(edges)
    p = random.choice([0.0, 0.25, 0.5, 0.9, 1.0], nodes) if seed % 3 else random.random(nodes)
    return random_graph(random, nodes, edges, lengths), p


def weights_for(seed, nodes):
    """None, weights with ties, zeros and ones, or any."""
    random = np.random.default_rng(seed + 1)
    return [None, random.choice([0.0, 0.5, 1.0], nodes), random.random(nodes)][seed % 3]


seeds = st.integers(0, 2**32 - 1)


@examples(2)
@given(seed=seeds, unit=st.sampled_from([None, 0.01, 1.0, 30.0]))
def test_picks_as_a_plain_loop_does(seed, unit):
    graph, p = problem(seed)
    weights = weights_for(seed, graph.nodes)
    length = plain_unit(graph) if unit is None else unit
    expected, _ = plain_picks(graph, p, length, weights)
    for budget in {0, graph.nodes // 2, graph.nodes, graph.nodes + 3}:
        picks = select(graph, p, budget, unit=unit, weights=weights)
        assert picks.dtype == np.int64
        assert picks.tolist() == expected[:budget]
    gains = plain_picks(graph, p, length)[1]
    assert distinct_right(graph, p, unit=unit) == pytest.approx(sum(max(gain, 0) for gain in gains), abs=1e-9)


@examples(0.5)
@given(seed=seeds)
def test_gains_only_fall_and_distinct_ones_are_at_most_the_right_ones(seed):
    graph, p = problem(seed)
    gains = plain_picks(graph, p, plain_unit(graph))[1]
    weighed = plain_picks(graph, p, plain_unit(graph), weights_for(seed, graph.nodes))[1]
    assert all(after <= before for before, after in pairwise(weighed))
    assert all(after <= before for before, after in pairwise(gains))
    assert 0 <= distinct_right(graph, p) <= sum(p) + 1e-9


def test_a_twin_of_a_sure_pair_is_worth_nothing_and_a_doubtful_pair_less():
    assert select(TWINS, [1.0, 1.0, 0.6], 3).tolist() == [0, 2, 1]
    assert select(TWINS, [1.0, 1.0, 0.4], 3).tolist() == [0, 1, 2]
    assert distinct_right(TWINS, [1.0, 1.0, 0.4]) == 1.0


def test_of_equally_right_pairs_the_one_that_fits_better_comes_first_but_not_a_doubtful_one():
    assert select(TWINS, [1.0, 1.0, 1.0], 3, weights=[0.6, 0.7, 0.8]).tolist() == [2, 1, 0]
    assert select(TWINS, [1.0, 1.0, 0.6], 3, weights=[0.6, 0.6, 1.0]).tolist() == [0, 2, 1]
    assert select(TWINS, [1.0, 1.0, 0.6], 3, weights=[1.0, 0.6, 0.0]).tolist() == [0, 1, 2]


def test_of_copies_one_counts():
    vectors = np.repeat(np.eye(4, dtype=np.float32), 5, axis=0)
    graph = knn_graph(vectors, 6)
    assert sorted(select(graph, np.ones(20), 4) // 5) == [0, 1, 2, 3]


def test_the_unit_is_the_median_of_what_is_not_equal():
    assert unit_of(np.array([1.0, 2.0, 4.0, 5.0], np.float32)) == 3.0
    assert unit_of(np.array([0.0, 0.0, 0.0, 4.0, 6.0], np.float32)) == 5.0
    assert unit_of(np.zeros(4, np.float32)) == 1.0
    assert unit_of(np.zeros(0, np.float32)) == 1.0


@pytest.mark.parametrize(
    ("p", "options", "message"),
    [
        ([0.5, 0.5], {}, r"shape \(3,\)"),
        ([0.5, 0.5, 1.5], {}, "must lie between 0 and 1, found 1.5 at node 2"),
        ([0.5, -0.5, 1.0], {}, "found -0.5 at node 1"),
        ([math.nan, 0.5, 1.0], {}, "found nan at node 0"),
        ([0.5, math.inf, 1.0], {}, "found inf at node 1"),
        (["a", "b", "c"], {}, "must be numbers"),
        ([0.5, 0.5, 1.0], {"weights": [1.0, 0.5]}, r"weights must have shape \(3,\)"),
        ([0.5, 0.5, 1.0], {"weights": [1.0, 0.5, 1.5]}, "weights must lie between 0 and 1, found 1.5 at node 2"),
        ([0.5, 0.5, 1.0], {"unit": 0.0}, "unit must be finite and above 0"),
        ([0.5, 0.5, 1.0], {"unit": math.nan}, "unit must be finite and above 0"),
    ],
)
def test_what_is_no_probability_is_refused(p, options, message):
    with pytest.raises(InputError, match=message):
        select(TWINS, p, 1, **options)


def test_a_negative_budget_is_refused():
    with pytest.raises(InputError, match="budget must not be negative"):
        select(TWINS, np.ones(3), -1)
