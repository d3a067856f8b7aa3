import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtering.core.csr import KnnGraph, distinct, distinct_ids, grouped, row_pointers, sorted_edges, symmetrised
from filtering.core.errors import InputError


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


@given(matrices())
def test_a_graph_holds_the_edges_it_was_given(matrix):
    graph = graph_of(matrix)
    assert np.array_equal(dense(graph), matrix, equal_nan=True)
    assert graph.degrees.tolist() == (~np.isnan(matrix)).sum(axis=1).tolist()


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


EDGES = st.lists(st.tuples(st.integers(0, 7), st.integers(-3, 2**40), st.integers(0, 5)))
REPEATED_EDGES = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 3), st.integers(0, 5)))


def columns_of(edges, nodes):
    rows, columns, distances = (np.array([edge[at] for edge in edges], dtype=np.int64) for at in range(3))
    return rows % nodes, columns, distances


@given(st.integers(1, 8), st.one_of(EDGES, REPEATED_EDGES), st.sampled_from([np.float32, np.float64]))
def test_sorted_edges_equal_a_sort_of_all(nodes, edges, dtype):
    rows, columns, distances = columns_of(edges, nodes)
    given_edges = rows.copy(), columns.copy(), distances.astype(dtype)
    order = np.lexsort((distances, columns, rows))
    expected = rows[order], columns[order], distances[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = (np.diff(expected[0]) != 0) | (np.diff(expected[1]) != 0)
    indptr, indices, lengths = sorted_edges(*given_edges, nodes)
    assert indptr.tolist() == [int((expected[0][first] < node).sum()) for node in range(nodes + 1)]
    assert indices.tolist() == expected[1][first].tolist()
    assert lengths.tolist() == expected[2][first].tolist()
    assert lengths.dtype == dtype
    # What was given is left as it was.
    assert np.array_equal(given_edges[1], columns)
    assert np.array_equal(given_edges[2], distances)


def test_no_edges_are_sorted_into_empty_rows():
    none = np.zeros(0, dtype=np.int64)
    for nodes in (0, 3):
        indptr, indices, lengths = sorted_edges(none, none, none.astype(np.float32), nodes)
        assert indptr.tolist() == [0] * (nodes + 1)
        assert len(indices) == len(lengths) == 0


@given(st.integers(1, 8), st.lists(st.integers(0, 7)))
def test_equal_rows_are_brought_together_in_their_order(nodes, rows):
    rows = np.array(rows, dtype=np.int64) % nodes
    order, starts = grouped(rows, nodes)
    assert order.tolist() == np.argsort(rows, kind="stable").tolist()
    assert starts.tolist() == [int((rows < node).sum()) for node in range(nodes + 1)]


def test_rows_need_not_be_contiguous():
    records = np.zeros(4, dtype=[("row", "<i8"), ("more", "<i4")])
    records["row"] = [2, 0, 2, 1]
    order, starts = grouped(records["row"], 3)
    assert order.tolist() == [1, 3, 0, 2]
    assert starts.tolist() == [0, 1, 2, 4]


def test_pointers_of_sorted_rows():
    assert row_pointers(np.array([0, 0, 2]), 4).tolist() == [0, 2, 2, 3, 3]
    assert row_pointers(np.zeros(0, dtype=np.int64), 0).tolist() == [0]


@given(st.lists(st.integers(-(2**62), 2**62) | st.integers(0, 3)))
def test_distinct_numbers_are_those_of_a_set_in_order(numbers):
    found = distinct(np.array(numbers, dtype=np.int64))
    assert found.dtype == np.int64
    assert found.tolist() == sorted(set(numbers))
    ids = np.abs(np.array(numbers, dtype=np.int64))
    assert distinct_ids(ids).tolist() == distinct(ids).tolist()
