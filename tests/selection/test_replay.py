import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtering.graph import knn_graph
from filtering.selection.d2 import forward_messages, greedy_picks
from filtering.selection.kernel import Kernel
from filtering.selection.novelty import gain_of, select
from filtering.selection.replay import replay, replay_novelty


def pool(nodes: int, seed: int = 0):
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(nodes, 4)).astype(np.float32)
    graph = knn_graph(vectors, min(5, nodes - 1))
    return graph, forward_messages(graph, random.normal(size=nodes), 0.3)


@given(st.integers(2, 60), st.integers(0, 10), st.floats(0, 3), st.data())
def test_what_picks_took_is_what_is_missing(nodes, seed, gamma, data):
    graph, messages = pool(nodes, seed)
    picks = greedy_picks(graph, messages, data.draw(st.integers(0, nodes)), gamma)
    node = data.draw(st.integers(0, nodes - 1))
    found = replay(graph, messages, picks, node, gamma)
    assert found.initial == messages[node]
    assert found.left == pytest.approx(found.initial - sum(push.amount for push in found.pushes), abs=1e-9)
    assert all(picks[push.rank] == push.pick for push in found.pushes)
    assert [push.rank for push in found.pushes] == sorted(push.rank for push in found.pushes)


def test_the_picked_were_worth_more_than_the_unpicked():
    graph, messages = pool(80)
    picks = greedy_picks(graph, messages, 30, 1.0)
    found = {node: replay(graph, messages, picks, node, 1.0) for node in range(80)}
    assert found[picks[-1]].left == found[0].last
    unpicked = set(range(80)) - set(picks.tolist())
    assert all(found[node].left <= found[0].last + 1e-12 for node in unpicked)


def test_another_kernel_weighs_otherwise():
    graph, messages = pool(40)
    kernel = Kernel.of(graph.distances, distance="euclidean", scale="median")
    picks = greedy_picks(graph, messages, 10, 2.0, kernel=kernel)
    node = int(graph.indices[graph.indptr[picks[0]]])
    found = replay(graph, messages, picks, node, 2.0, kernel)
    weight = kernel.weights(graph.distances[graph.indptr[picks[0]] :][:1], 2.0)[0]
    assert found.pushes[0].amount == pytest.approx(weight * messages[picks[0]])


def test_without_picks_nothing_is_taken():
    graph, messages = pool(10)
    found = replay(graph, messages, np.zeros(0, dtype=np.int64), 3, 1.0)
    assert found.left == messages[3]
    assert found.pushes == ()
    assert found.last is None


@given(st.integers(2, 60), st.integers(0, 10), st.data())
def test_novelty_is_what_the_picks_before_leave_of_it(nodes, seed, data):
    graph, _ = pool(nodes, seed)
    p, weights = np.random.default_rng(seed).random((2, nodes))
    picks = select(graph, p, data.draw(st.integers(1, nodes)), weights=weights)
    found = [replay_novelty(graph, p, picks, node, weights) for node in range(nodes)]
    gains = [gain_of(p[node], found[node].novelty, weights[node]) for node in range(nodes)]
    assert gains[picks[-1]] == pytest.approx(found[0].last_gain)
    assert all(gains[node] >= found[0].last_gain - 1e-12 for node in picks)
    assert all(gains[node] <= found[0].last_gain + 1e-12 for node in set(range(nodes)) - set(picks.tolist()))
    for node in range(nodes):
        assert found[node].novelty == pytest.approx(np.prod([cover.factor for cover in found[node].covers]))
        assert all(picks[cover.rank] == cover.pick for cover in found[node].covers)
        assert all(
            cover.pick in graph.indices[graph.indptr[node] : graph.indptr[node + 1]] for cover in found[node].covers
        )


def test_without_picks_all_is_novel():
    graph, _ = pool(10)
    found = replay_novelty(graph, np.ones(10), np.zeros(0, dtype=np.int64), 3)
    assert (found.covers, found.novelty) == ((), 1.0)
    assert found.last_gain is None
