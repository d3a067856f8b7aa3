import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtering.core.csr import cosines
from filtering.graph import knn_graph
from filtering.graph.sharded import ShardGraph
from filtering.report.examples import concept_examples, covering_neighbours, near_duplicates


def unit(rows, seed=0, dimension=4):
    vectors = np.random.default_rng(seed).normal(size=(rows, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def part_of(vectors, k, ids=None):
    graph = knn_graph(vectors, k)
    ids = np.arange(len(vectors), dtype=np.int64) * 3 + 5 if ids is None else ids
    uids = np.array([f"{at:032x}" for at in range(len(vectors))], dtype="S32")
    concept = np.zeros(len(vectors), dtype=np.int32)
    return ShardGraph(ids, uids, concept, graph.indptr, ids[graph.indices], graph.distances)


def test_examples_are_the_first_picks_and_the_ends_of_the_scores():
    scores = np.array([0.1, 0.9, 0.5, 0.7, 0.3])
    ranks = np.array([-1, 0, -1, -1, 1])
    found = concept_examples(scores, ranks, np.ones(5, dtype=bool), 2)
    assert found.kept.tolist() == [1, 4]
    assert found.dropped.tolist() == [3, 2]
    assert found.hardest.tolist() == [1, 3]
    assert found.easiest.tolist() == [0, 4]


def test_samples_with_pictures_come_first_and_others_fill_up():
    scores, ranks = np.arange(6.0), np.full(6, -1)
    eligible = np.array([True, False, True, False, False, False])
    found = concept_examples(scores, ranks, eligible, 3)
    assert found.dropped.tolist() == [2, 0, 5]


def test_what_an_earlier_step_left_out_is_no_example_of_the_scores():
    scores = np.array([np.nan, 0.2, np.nan])
    found = concept_examples(scores, np.array([-1, 0, -1]), np.ones(3, dtype=bool), 3)
    assert found.hardest.tolist() == found.easiest.tolist() == [1]
    assert sorted(found.dropped.tolist()) == [0, 2]


@given(st.integers(3, 40), st.integers(0, 5), st.data())
def test_covering_neighbours_are_the_nearest_kept_ones(rows, seed, data):
    vectors = unit(rows, seed)
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=rows, max_size=rows)))
    graph = knn_graph(vectors, min(4, rows - 1))
    near, cosines = covering_neighbours(graph, kept)
    for node in range(rows):
        edges = slice(graph.indptr[node], graph.indptr[node + 1])
        there = [(d, t) for t, d in zip(graph.indices[edges], graph.distances[edges], strict=True) if kept[t]]
        if not there:
            assert near[node] == -1
            assert np.isnan(cosines[node])
        else:
            assert near[node] == min(there)[1]
            assert cosines[node] == pytest.approx(float(vectors[node] @ vectors[near[node]]), abs=1e-5)


def test_near_duplicates_are_grouped_through_others():
    vectors = unit(12, dimension=16)
    vectors[1], vectors[2] = vectors[0], vectors[0]
    vectors[7] = vectors[6]
    has, groups = near_duplicates(part_of(vectors, 3), 0.99)
    assert np.flatnonzero(has).tolist() == [0, 1, 2, 6, 7]
    assert len({groups[0], groups[1], groups[2]}) == 1
    assert groups[6] == groups[7] != groups[0]
    assert len(set(groups.tolist())) == 12 - 3


def test_a_duplicate_in_another_partition_counts_but_is_in_no_group():
    vectors = unit(6, dimension=16)
    vectors[3] = vectors[2]
    whole = part_of(vectors, 2)
    first = slice(0, 3)
    edges = slice(0, int(whole.indptr[3]))
    part = ShardGraph(
        whole.row[first],
        whole.uid[first],
        whole.concept[first],
        whole.indptr[:4],
        whole.indices[edges],
        whole.distances[edges],
    )
    has, groups = near_duplicates(part, 0.99)
    assert has.tolist() == [False, False, True]
    assert len(set(groups.tolist())) == 3


def test_cosine_of_squared_distances():
    assert cosines(np.array([0, 2, 4], dtype=np.float32)).tolist() == [1, 0, -1]
