import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtering.core.csr import KnnGraph, symmetrised
from filtering.core.errors import InputError
from filtering.core.portable_math import exp
from filtering.graph.knn import knn_graph
from filtering.selection.d2 import forward_messages, greedy_picks, select
from filtering.selection.kernel import Kernel

PAIR = KnnGraph([0, 1, 2], [1, 0], [0.5, 0.5])


def plain_edges(graph, distance):
    edges = {node: [] for node in range(graph.nodes)}
    for node in range(graph.nodes):
        for edge in range(graph.indptr[node], graph.indptr[node + 1]):
            length = float(graph.distances[edge])
            edges[node].append((int(graph.indices[edge]), length if distance == "squared" else math.sqrt(length)))
    return edges


def plain_median(lengths):
    ordered, half = sorted(lengths), len(lengths) // 2
    if not ordered:
        return 1.0
    median = ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
    return median if median > 0 else 1.0


def plain_round(edges, x, gamma, unit, messages):
    heard = []
    for node in range(len(x)):
        message = x[node] if messages == "sum" else 0.0
        weights = 0.0
        for neighbour, length in edges[node]:
            weight = exp(-gamma * length / unit)
            message += weight * x[neighbour]
            weights += weight
        if messages == "mean":
            message = x[node] + (message / weights if weights > 0 else 0.0)
        heard.append(message)
    return heard


def plain_select(
    graph, scores, budget, gamma_forward, gamma_reverse, rounds=1, distance="squared", scale="fixed", messages="sum"
):
    edges = plain_edges(graph, distance)
    unit = plain_median([length for node in edges for _, length in edges[node]]) if scale == "median" else 1.0
    x = [float(score) for score in scores]
    for _ in range(rounds):
        x = plain_round(edges, x, gamma_forward, unit, messages)
    picks = []
    while len(picks) < min(budget, graph.nodes):
        best = None
        for node in range(graph.nodes):
            if node not in picks and (best is None or x[node] > x[best]):
                best = node
        picks.append(best)
        for neighbour, length in edges[best]:
            if neighbour not in picks:
                x[neighbour] -= exp(-gamma_reverse * length / unit) * x[best]
    return picks


def random_graph(random, nodes, edges, distances):
    if nodes == 0:
        return KnnGraph([0], [], [])
    sources = random.integers(0, nodes, edges)
    targets = random.integers(0, nodes, edges)
    return symmetrised(sources, targets, distances[:edges], nodes)


def problem(seed):
    random = np.random.default_rng(seed)
    nodes = int(random.integers(0, 40))
    edges = int(random.integers(0, 4 * nodes + 1))
    kind = seed % 5
    if kind == 0:
        distances, scores = random.random(edges), random.normal(size=nodes)
    elif kind == 1:
        distances, scores = np.full(edges, 0.5), random.integers(-2, 3, nodes)
    elif kind == 2:
        distances, scores = np.zeros(edges), random.integers(0, 2, nodes)
    elif kind == 3:
        distances, scores = random.integers(0, 2, edges).astype(np.float32), random.random(nodes)
    else:
        distances, scores = random.random(edges).astype(np.float32) * 4, np.ones(nodes)
    gammas = random.choice([0.0, 0.01, 0.1, 1.0, 5.0], 2)
    return random_graph(random, nodes, edges, distances), scores, float(gammas[0]), float(gammas[1])


def test_picks_as_a_plain_loop_does():
    negative_phases = 0
    for seed in range(400):
        graph, scores, forward, reverse = problem(seed)
        for budget in {0, graph.nodes // 2, graph.nodes, graph.nodes + 3}:
            picks = select(graph, scores, budget, gamma_forward=forward, gamma_reverse=reverse)
            assert picks.tolist() == plain_select(graph, scores, budget, forward, reverse), seed
        negative_phases += reverse < 0.2 and graph.nodes > 5 and len(graph.indices) > graph.nodes
    assert negative_phases > 50


@pytest.mark.parametrize("seed", range(6))
def test_picks_as_a_plain_loop_does_on_knn_graphs_with_duplicates(seed):
    random = np.random.default_rng(seed)
    points = random.normal(size=(60, 4)).astype(np.float32)
    points[20:40] = points[:20]
    graph = knn_graph(points, 5)
    scores = random.random(60) if seed % 2 else random.integers(0, 3, 60)
    gamma = [1.0, 0.01, 0.0][seed % 3]
    picks = select(graph, scores, 60, gamma_forward=gamma, gamma_reverse=gamma)
    assert picks.tolist() == plain_select(graph, scores, 60, gamma, gamma)


OPTIONS = [
    {"rounds": 0},
    {"rounds": 3},
    {"distance": "euclidean"},
    {"scale": "median"},
    {"messages": "mean"},
    {"rounds": 2, "distance": "euclidean", "scale": "median", "messages": "mean"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_options_pick_as_a_plain_loop_does(options):
    for seed in range(150):
        graph, scores, forward, reverse = problem(seed)
        picks = select(graph, scores, graph.nodes, gamma_forward=forward, gamma_reverse=reverse, **options)
        assert picks.tolist() == plain_select(graph, scores, graph.nodes, forward, reverse, **options), seed


def test_defaults_are_the_paper_to_the_bit():
    for seed in range(40):
        graph, scores, forward, _ = problem(seed)
        edges = plain_edges(graph, "squared")
        expected = plain_round(edges, [float(score) for score in scores], forward, 1.0, "sum")
        assert forward_messages(graph, scores, forward).tolist() == expected
        assert forward_messages(graph, scores, forward, rounds=0).tolist() == [float(score) for score in scores]


def test_a_self_scaled_kernel_ignores_the_unit_of_length():
    graph = knn_graph(np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32), 4)
    far = KnnGraph(graph.indptr, graph.indices, graph.distances * 64)
    scores = np.random.default_rng(1).random(50)
    for distance in ("squared", "euclidean"):
        near_picks = select(graph, scores, 50, distance=distance, scale="median")
        assert np.array_equal(near_picks, select(far, scores, 50, distance=distance, scale="median"))
        assert not np.array_equal(near_picks, select(far, scores, 50, distance=distance))


def test_the_median_falls_back_to_one():
    line = [0, 1, 3, 4], [1, 0, 2, 1]
    assert Kernel.of(KnnGraph(*line, [0.0, 0.0, 0.0, 0.0]).distances, scale="median").unit == 1
    assert Kernel.of(np.zeros(0), scale="median").unit == 1
    assert Kernel.of(np.array([4.0, 9.0, 25.0]), distance="euclidean", scale="median").unit == 3
    assert Kernel.of(np.array([1.0, 2.0]), np.array([7.0], dtype=np.float32), scale="median").unit == 2


def test_a_mean_out_of_reach_leaves_the_score():
    assert forward_messages(PAIR, [1.0, 2.0], 1e6, messages="mean").tolist() == [1.0, 2.0]
    assert forward_messages(PAIR, [1.0, 2.0], 0.3, messages="mean").tolist() == [3.0, 3.0]
    assert forward_messages(KnnGraph([0, 0], [], []), [5.0], messages="mean").tolist() == [5.0]


def test_scores_below_zero_raise_their_neighbours_again():
    graph = KnnGraph([0, 1, 3, 4], [1, 0, 2, 1], [0.0, 0.0, 0.0, 0.0])
    assert greedy_picks(graph, [-1.0, -5.0, -9.0], 3, 0.0).tolist() == [0, 1, 2]
    assert greedy_picks(graph, [-3.0, -1.0, -2.5], 3, 0.0).tolist() == [1, 2, 0]


@st.composite
def small_problems(draw):
    nodes = draw(st.integers(0, 9))
    pairs = [(a, b) for a in range(nodes) for b in range(a)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    distances = draw(st.lists(st.sampled_from([0.0, 0.25, 1.0, 3.0]), min_size=len(chosen), max_size=len(chosen)))
    sources = np.array([a for a, _ in chosen], dtype=np.int64)
    targets = np.array([b for _, b in chosen], dtype=np.int64)
    graph = symmetrised(sources, targets, np.array(distances, dtype=np.float64), nodes)
    numbers = st.one_of(st.integers(-3, 3).map(float), st.floats(-1e6, 1e6))
    scores = draw(st.lists(numbers, min_size=nodes, max_size=nodes))
    gammas = st.sampled_from([0.0, 0.1, 1.0, 10.0])
    return graph, scores, draw(st.integers(0, nodes + 2)), draw(gammas), draw(gammas)


@given(small_problems())
def test_any_small_graph_is_picked_as_a_plain_loop_does(case):
    graph, scores, budget, forward, reverse = case
    picks = select(graph, scores, budget, gamma_forward=forward, gamma_reverse=reverse)
    assert picks.dtype == np.int64
    assert picks.tolist() == plain_select(graph, scores, budget, forward, reverse)


def test_a_smaller_budget_gives_a_prefix():
    for seed in range(60):
        graph, scores, forward, reverse = problem(seed)
        whole = select(graph, scores, graph.nodes, gamma_forward=forward, gamma_reverse=reverse)
        assert sorted(whole) == list(range(graph.nodes))
        for budget in range(graph.nodes + 1):
            part = select(graph, scores, budget, gamma_forward=forward, gamma_reverse=reverse)
            assert np.array_equal(part, whole[:budget])


def test_the_given_scores_are_left_alone():
    graph, _, _, _ = problem(3)
    scores = np.ones(graph.nodes)
    select(graph, scores, graph.nodes, gamma_forward=0.1, gamma_reverse=0.1)
    assert (scores == 1).all()


def test_isolated_nodes_are_ordered_by_score_then_id():
    graph = KnnGraph([0, 0, 0, 0, 0], [], [])
    assert select(graph, [1, 3, 3, 2], 4).tolist() == [1, 2, 3, 0]


def test_an_empty_graph_gives_no_picks():
    picks = select(KnnGraph([0], [], []), [], 5)
    assert picks.shape == (0,)
    assert picks.dtype == np.int64


def test_forward_messages_mix_in_the_neighbours():
    graph = KnnGraph([0, 1, 3, 4], [1, 0, 2, 1], [0.5, 0.5, 2.0, 2.0])
    expected = [1 + 2 * math.exp(-0.5), 2 + math.exp(-0.5) + 4 * math.exp(-2), 4 + 2 * math.exp(-2)]
    assert np.allclose(forward_messages(graph, [1, 2, 4]), expected, rtol=1e-15)


@pytest.mark.parametrize(
    ("scores", "budget", "options", "named"),
    [
        ([1.0, math.nan], 1, {}, "finite"),
        ([math.inf, 1.0], 1, {}, "finite"),
        ([1.0, -math.inf], 1, {}, "finite"),
        ([1.0], 1, {}, r"shape \(2,\)"),
        ([1.0, 2.0, 3.0], 1, {}, r"shape \(2,\)"),
        ([[1.0, 2.0]], 1, {}, r"shape \(2,\)"),
        (["a", "b"], 1, {}, "numbers"),
        ([1.0, 2.0], -1, {}, "budget"),
        ([1.0, 2.0], 1, {"gamma_forward": -0.1}, "gamma_forward"),
        ([1.0, 2.0], 1, {"gamma_reverse": -0.1}, "gamma_reverse"),
        ([1.0, 2.0], 1, {"gamma_forward": math.nan}, "gamma_forward"),
        ([1.0, 2.0], 1, {"gamma_reverse": math.nan}, "gamma_reverse"),
        ([1.0, 2.0], 1, {"gamma_reverse": math.inf}, "gamma_reverse"),
        ([1.0, 2.0], 1, {"rounds": -1}, "rounds"),
        ([1.0, 2.0], 1, {"distance": "euclidian"}, "did you mean euclidean"),
        ([1.0, 2.0], 1, {"scale": "medium"}, "did you mean median"),
        ([1.0, 2.0], 1, {"messages": "means"}, "did you mean mean"),
    ],
)
def test_bad_arguments_are_refused(scores, budget, options, named):
    with pytest.raises(InputError, match=named) as refused:
        select(PAIR, scores, budget, **options)
    assert isinstance(refused.value, ValueError)


def test_an_unsymmetric_graph_is_refused():
    with pytest.raises(InputError, match="symmetric"):
        select(KnnGraph([0, 1, 1], [1], [0.5]), [1.0, 2.0], 1)
