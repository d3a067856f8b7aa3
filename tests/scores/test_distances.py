import math

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from filtering.core.csr import KnnGraph, symmetrised
from filtering.core.errors import InputError
from filtering.scores.distances import same_class_distances


def by_loops(graph, k):
    means = []
    for node in range(graph.nodes):
        squared = sorted(graph.distances[graph.indptr[node] : graph.indptr[node + 1]].tolist())[:k]
        means.append(sum(math.sqrt(one) for one in squared) / len(squared) if squared else None)
    largest = max((mean for mean in means if mean is not None), default=0.0)
    return [largest if mean is None else mean for mean in means]


@examples(0.4)
@given(st.integers(1, 30), st.integers(0, 60), st.integers(1, 6), st.sampled_from([np.float32, np.float64]), st.data())
def test_distances_are_those_of_plain_loops(nodes, edges, k, dtype, data):
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    sources, targets = random.integers(0, nodes, (2, edges))
    # Few values, so that many are equal, and some 0: duplicates.
    lengths = (random.integers(0, 5, edges) / 4).astype(dtype)
    graph = symmetrised(sources, targets, lengths, nodes)
    found = same_class_distances(graph, k)
    assert found.dtype == np.float32
    assert np.allclose(found, by_loops(graph, k), atol=1e-6)


def test_a_node_without_edges_gets_the_largest():
    graph = symmetrised(np.array([0, 1]), np.array([1, 2]), np.array([1.0, 9.0]), 5)
    assert same_class_distances(graph, 1).tolist() == [1, 1, 3, 3, 3]
    assert same_class_distances(graph, 2).tolist() == [1, 2, 3, 3, 3]


def test_a_mean_of_no_neighbour_is_refused_and_of_more_than_there_are_is_that_of_all():
    graph = symmetrised(np.array([0, 1]), np.array([1, 2]), np.array([1.0, 9.0]), 3)
    with pytest.raises(InputError, match="k must be at least 1, got 0"):
        same_class_distances(graph, 0)
    assert same_class_distances(graph, 10**12).tolist() == [1, 2, 3]


@pytest.mark.parametrize("nodes", [0, 1, 3])
def test_a_concept_without_edges_is_all_zeros(nodes):
    graph = KnnGraph(np.zeros(nodes + 1, int), np.zeros(0, int), np.zeros(0))
    assert same_class_distances(graph, 3).tolist() == [0] * nodes
