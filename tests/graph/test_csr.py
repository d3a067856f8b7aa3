import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filtering.errors import InputError
from filtering.graph.csr import KnnGraph, symmetrised


def graph_of(matrix):
    """CSR of a dense matrix whose missing edges are NaN."""
    there = ~np.isnan(matrix)
    indptr = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
    return KnnGraph(indptr, np.nonzero(there)[1], matrix[there])


def dense(graph):
    matrix = np.full((graph.nodes, graph.nodes), np.nan)
    for node in range(graph.nodes):
        for edge in range(graph.indptr[node], graph.indptr[node + 1]):
            matrix[node, graph.indices[edge]] = graph.distances[edge]
    return matrix


@st.composite
def matrices(draw):
    nodes = draw(st.integers(0, 8))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    matrix = np.where(random.random((nodes, nodes)) < draw(st.floats(0, 1)), random.random((nodes, nodes)), np.nan)
    matrix = np.triu(matrix, 1) + np.triu(matrix, 1).T
    np.fill_diagonal(matrix, np.nan)
    return matrix


@settings(max_examples=100, deadline=None)
@given(matrices())
def test_a_graph_holds_the_edges_it_was_given(matrix):
    graph = graph_of(matrix)
    assert np.array_equal(dense(graph), matrix, equal_nan=True)
    assert graph.degrees.tolist() == (~np.isnan(matrix)).sum(axis=1).tolist()


@settings(max_examples=100, deadline=None)
@given(matrices(), st.randoms(use_true_random=False))
def test_every_broken_symmetry_is_refused(matrix, random):
    edges = np.argwhere(~np.isnan(matrix))
    if len(edges) == 0:
        return
    broken = matrix.copy()
    row, column = random.choice(edges.tolist())
    broken[row, column] = np.nan if random.random() < 0.5 else matrix[row, column] + 0.5
    with pytest.raises(InputError, match="symmetric"):
        graph_of(broken)


def test_unsorted_rows_are_the_same_graph():
    graph = KnnGraph([0, 2, 3, 4], [2, 1, 0, 0], [0.2, 0.1, 0.1, 0.2])
    assert dense(graph)[0].tolist()[1:] == [0.1, 0.2]


def test_nodes_without_edges():
    assert KnnGraph([0], [], []).nodes == 0
    graph = KnnGraph([0, 0, 0], [], [])
    assert graph.nodes == 2
    assert graph.degrees.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("indptr", "indices", "distances", "named"),
    [
        ([0, 1, 2], [0, 0], [0.1, 0.1], "itself"),
        ([0, 2, 4], [1, 1, 0, 0], [0.1] * 4, "twice"),
        ([0, 2, 3], [1, 1, 0], [0.1] * 3, "twice|symmetric"),
        ([0, 1, 1], [1], [0.1], "not symmetric"),
        ([0, 1, 2, 3], [1, 2, 0], [0.1] * 3, "not symmetric"),
        ([0, 1, 2], [1, 0], [0.1, 0.2], "distance"),
        ([], [], [], "indptr"),
        ([1, 2], [0], [0.1], "indptr"),
        ([0, 2, 1], [1, 0], [0.1, 0.1], "indptr"),
        ([0, 1, 3], [1, 0], [0.1, 0.1], "indptr"),
        ([0, 1, 2], [1, 0], [0.1], "distances"),
        ([0, 1, 2], [1, 2], [0.1, 0.1], "indices"),
        ([0, 1, 2], [1, -1], [0.1, 0.1], "indices"),
        ([0, 1, 2], [1.0, 0.0], [0.1, 0.1], "indices"),
        ([0, 1, 2], [[1, 0]], [0.1, 0.1], "indices"),
        ([0, 1, 2], [1, 0], [-0.1, -0.1], "negative"),
        ([0, 1, 2], [1, 0], [np.nan, np.nan], "finite"),
        ([0, 1, 2], [1, 0], [np.inf, np.inf], "finite"),
        ([0, 1, 2], [1, 0], [[0.1, 0.1]], "distances"),
    ],
)
def test_what_is_no_symmetric_graph_is_refused(indptr, indices, distances, named):
    with pytest.raises(InputError, match=named):
        KnnGraph(indptr, indices, distances)


def test_a_graph_cannot_be_changed():
    graph = KnnGraph(np.array([0, 1, 2]), np.array([1, 0]), np.array([0.1, 0.1]))
    for name in ("indptr", "indices", "distances"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(graph, name)[0] = 1
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(graph, name, np.zeros(2))


def test_the_given_arrays_stay_writable():
    distances = np.array([0.1, 0.1])
    KnnGraph(np.array([0, 1, 2]), np.array([1, 0]), distances)
    distances[0] = 1.0


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 8), st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7), st.integers(0, 5))))
def test_symmetrising_keeps_the_smallest_distance(nodes, edges):
    edges = [(a % nodes, b % nodes, d) for a, b, d in edges]
    expected = np.full((nodes, nodes), np.nan)
    for a, b, distance in edges:
        if a != b:
            expected[a, b] = expected[b, a] = np.nanmin([expected[a, b], distance])
    sources, targets, distances = (np.array([edge[i] for edge in edges], dtype=np.int64) for i in range(3))
    graph = symmetrised(sources, targets, distances.astype(np.float32), nodes)
    assert np.array_equal(dense(graph), expected, equal_nan=True)
