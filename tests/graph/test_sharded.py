import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtering.concepts.partition import Partition
from filtering.core.fixed_point import from_steps
from filtering.embedding.artifacts import unit_steps
from filtering.graph.joining import joined_part
from filtering.graph.knn import knn_graph
from filtering.graph.sharded import (
    EDGE,
    FOUND,
    Nodes,
    chosen_neighbours,
    found_neighbours,
    found_records,
    outgoing_edges,
    own_nodes,
    positions,
    statistics,
)
from filtering.runtime.shuffle import packed


def points_of(random, count, width=6, copies=2):
    """Rows, of which the first five come again."""
    vectors = random.normal(size=(count, width)).astype(np.float16)
    for copy in range(1, copies):
        place = copy * count // copies
        vectors[place : place + 5] = vectors[:5]
    return vectors


def uids_of(count):
    return np.array([f"{number:032x}" for number in range(count)], dtype="S32")


def partition_of(concepts, home, vectors, replicas):
    """The partition of some concepts, in which rows stand at home and where `replicas` says so."""
    standing = replicas.copy()
    standing[np.arange(len(home)), home] = True
    rows = np.flatnonzero(standing[:, concepts].any(axis=1))
    place, concept = np.nonzero(standing[rows][:, concepts])
    concept = np.array(concepts)[concept]
    order = np.lexsort((place, home[rows][place] != concept, concept))
    place, concept = place[order], concept[order].astype(np.int32)
    again = np.ones(len(rows), dtype=bool)
    return Partition(rows, uids_of(len(home))[rows], home[rows], vectors[rows], place, concept, again)


def sent(messages, number):
    """What every sender has for one partition."""
    return np.concatenate([records[to == number] for records, to in messages])


def graphs_of(layout, home, vectors, replicas, k):
    """Build the graph of every partition of a layout, as the tasks do with an exchange between them."""
    where = np.full(1 + max(c for part in layout for c in part), -1, dtype=np.int32)
    for number, concepts in enumerate(layout):
        where[concepts] = number
    partitions = [partition_of(sorted(part), home, vectors, replicas) for part in layout]
    nodes = [own_nodes(partition) for partition in partitions]
    found = [
        found_records(partition.row, partition.home, found_neighbours(partition, k)[0]) for partition in partitions
    ]
    found = [(records, where[homes]) for records, homes in found]
    edges = [
        outgoing_edges(own, chosen_neighbours(own, sent(found, number), k), where, number)
        for number, own in enumerate(nodes)
    ]
    return [joined_part(own, sent(edges, number))[0] for number, own in enumerate(nodes)]


def edges_of(graph):
    rows = np.repeat(graph.row, np.diff(graph.indptr))
    return list(zip(rows.tolist(), graph.indices.tolist(), graph.distances.tolist(), strict=True))


LAYOUTS = [[[0, 1, 2, 3]], [[0, 1], [2, 3]], [[0], [1], [2], [3]], [[2, 0], [3, 1]]]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("copies", [2, 3])
def test_when_every_row_visits_every_concept_the_graph_is_exact(seed, copies):
    random = np.random.default_rng(seed)
    vectors = points_of(random, 90, copies=copies)
    home = random.integers(0, 4, 90).astype(np.int32)
    whole = knn_graph(from_steps(unit_steps(vectors)), 5)
    rows = np.repeat(np.arange(90), whole.degrees)
    expected = list(zip(rows.tolist(), whole.indices.tolist(), whole.distances.tolist(), strict=True))
    for layout in LAYOUTS:
        graphs = graphs_of(layout, home, vectors, np.ones((90, 4), dtype=bool), 5)
        found = sorted(edge for graph in graphs for edge in edges_of(graph))
        assert found == expected
        assert sorted(np.concatenate([graph.row for graph in graphs]).tolist()) == list(range(90))


@pytest.mark.parametrize("seed", range(3))
def test_the_layout_does_not_change_the_graph(seed):
    random = np.random.default_rng(seed)
    vectors = points_of(random, 80)
    home = random.integers(0, 4, 80).astype(np.int32)
    replicas = random.random((80, 4)) < 0.4
    edges = [
        sorted(edge for graph in graphs_of(layout, home, vectors, replicas, 5) for edge in edges_of(graph))
        for layout in LAYOUTS
    ]
    assert edges[0] == edges[1] == edges[2] == edges[3]


@pytest.mark.parametrize("seed", range(5))
def test_the_graph_is_symmetric_whoever_visits(seed):
    random = np.random.default_rng(seed)
    vectors = points_of(random, 80)
    home = random.integers(0, 5, 80).astype(np.int32)
    replicas = random.random((80, 5)) < 0.3
    graphs = graphs_of([[0, 1], [2], [3, 4]], home, vectors, replicas, 4)
    edges = {(a, b): distance for graph in graphs for a, b, distance in edges_of(graph)}
    assert len(edges) == sum(len(graph.indices) for graph in graphs)
    for (a, b), distance in edges.items():
        assert a != b
        assert edges[b, a] == distance
    for graph in graphs:
        for start, end in zip(graph.indptr, graph.indptr[1:], strict=False):
            assert (np.diff(graph.indices[start:end]) > 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_rows_meet_where_either_visits_the_other(seed):
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(60, 6)).astype(np.float16)
    home = random.integers(0, 4, 60).astype(np.int32)
    replicas = random.random((60, 4)) < 0.2
    standing = replicas.copy()
    standing[np.arange(60), home] = True
    meet = standing[:, home] | standing[:, home].T
    np.fill_diagonal(meet, False)
    points = from_steps(unit_steps(vectors)).astype(np.float64)
    apart = np.where(meet, ((points[:, None] - points) ** 2).sum(axis=2), np.inf)
    expected = {}
    for row in range(60):
        for other in np.argsort(apart[row])[:4].tolist():
            if meet[row, other]:
                expected[row, other] = expected[other, row] = apart[row, other]
    graphs = graphs_of([[0, 2], [1], [3]], home, vectors, replicas, 4)
    found = {(a, b): distance for graph in graphs for a, b, distance in edges_of(graph)}
    assert found.keys() == expected.keys()
    assert np.allclose([found[edge] for edge in expected], list(expected.values()), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("layout", [[[0, 1]], [[0], [1]]])
@pytest.mark.parametrize(("visitor", "host"), [(0, 1), (1, 0)])
def test_one_visit_makes_an_edge(layout, visitor, host):
    vectors = np.array([[1, 0], [1, 0.5]], dtype=np.float16)
    home = np.array([0, 1], dtype=np.int32)
    replicas = np.zeros((2, 2), dtype=bool)
    assert [edges_of(graph) for graph in graphs_of(layout, home, vectors, replicas, 3)] == [[]] * len(layout)
    replicas[visitor, host] = True
    edges = [edge for graph in graphs_of(layout, home, vectors, replicas, 3) for edge in edges_of(graph)]
    assert [edge[:2] for edge in sorted(edges)] == [(0, 1), (1, 0)]
    assert edges[0][2] == edges[1][2] == pytest.approx(2 - 2 / 1.25**0.5, rel=1e-3)


def test_neighbours_come_from_the_concept_and_its_guests_alone():
    random = np.random.default_rng(7)
    vectors = points_of(random, 40)
    home = random.integers(0, 2, 40).astype(np.int32)
    replicas = np.zeros((40, 2), dtype=bool)
    replicas[:, 0] = random.random(40) < 0.2
    partition = partition_of([0], home, vectors, replicas)
    found, computed = found_neighbours(partition, 3)
    own, visiting = partition.home == 0, partition.home != 0
    points = from_steps(unit_steps(partition.vectors)).astype(np.float64)
    for row, point in enumerate(points):
        candidates = [c for c in range(len(points)) if c != row and (own[row] or own[c])]
        apart = sorted(((points[c] - point) ** 2).sum() for c in candidates)[:3]
        assert np.allclose(found.distances[row], apart, atol=1e-6)
        places = np.searchsorted(partition.row, found.ids[row])
        assert np.array_equal(partition.row[places], found.ids[row])
        assert np.array_equal(partition.home[places], found.homes[row])
    assert computed == own.sum() * (own.sum() - 1) // 2 + own.sum() * visiting.sum()


def test_a_pair_found_in_several_concepts_enters_once():
    vectors = np.array([[1, 0], [1, 0.1], [1, 0.3]], dtype=np.float16)
    home = np.array([0, 1, 1], dtype=np.int32)
    found, _ = found_neighbours(partition_of([0, 1], home, vectors, np.ones((3, 2), dtype=bool)), 3)
    assert [sorted(ids) for ids in found.ids.tolist()] == [[-1, 1, 2], [-1, 0, 2], [-1, 0, 1]]


def test_what_was_found_is_told_to_the_rows_own_concepts():
    random = np.random.default_rng(9)
    vectors = points_of(random, 30)
    home = random.integers(0, 3, 30).astype(np.int32)
    partition = partition_of([0, 2], home, vectors, random.random((30, 3)) < 0.4)
    found, _ = found_neighbours(partition, 4)
    records, homes = found_records(partition.row, partition.home, found)
    assert records.dtype == FOUND
    assert len(records) == (found.ids >= 0).sum()
    assert np.array_equal(homes, home[records["row"]])
    assert np.array_equal(records["home"], home[records["neighbour"]])


def record(row, neighbour, distance, home=0):
    return (row, neighbour, home, distance)


def test_the_nearest_of_all_that_was_found_are_chosen():
    nodes = Nodes(np.array([7, 3]), uids_of(2), np.zeros(2, dtype=np.int32))
    records = [record(3, 9, 0.5), record(7, 8, 0.25, 1), record(7, 3, 0.5), record(3, 7, 0.5), record(3, 9, 0.5, 0)]
    chosen = chosen_neighbours(nodes, np.array([*records, record(7, 1, 0.75), record(3, 5, 0.125, 2)], dtype=FOUND), 2)
    assert chosen.ids.tolist() == [[8, 3], [5, 7]]
    assert chosen.homes.tolist() == [[1, 0], [2, 0]]
    assert chosen.distances.tolist() == [[0.25, 0.5], [0.125, 0.5]]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(10, 20)), max_size=40), st.integers(1, 6), st.randoms())
def test_the_order_in_which_it_was_found_does_not_matter(found, k, random):
    nodes = Nodes(np.array([2, 0, 3, 1]), uids_of(4), np.zeros(4, dtype=np.int32))
    # Equally far ones occur often, and the same pair is always as far.
    records = [record(row, other, (row + other) % 3 / 4, other % 5) for row, other in found]
    random.shuffle(records)
    chosen = chosen_neighbours(nodes, np.array(records, dtype=FOUND), k)
    for row, ids, homes, distances in zip(nodes.row, chosen.ids, chosen.homes, chosen.distances, strict=True):
        expected = sorted({(one[3], one[1], one[2]) for one in records if one[0] == row})[:k]
        empty = [(np.inf, -1, -1)] * (k - len(expected))
        assert list(zip(distances.tolist(), ids.tolist(), homes.tolist(), strict=True)) == expected + empty


def test_edges_go_to_the_partitions_of_both_ends():
    nodes = Nodes(np.array([4, 5]), uids_of(2), np.array([0, 1], dtype=np.int32))
    found = np.array([record(4, 5, 0.5, 1), record(4, 9, 0.75, 2), record(5, 8, 0.25, 3)], dtype=FOUND)
    where = np.array([6, 6, 0, 9], dtype=np.int32)
    edges, partitions = outgoing_edges(nodes, chosen_neighbours(nodes, found, 3), where, 6)
    assert edges.dtype == EDGE
    assert partitions.dtype == np.int32
    expected = [(4, 5, 0.5, 6), (4, 9, 0.75, 0), (4, 9, 0.75, 6), (5, 8, 0.25, 6), (5, 8, 0.25, 9)]
    assert sorted((*edge, to) for edge, to in zip(edges.tolist(), partitions.tolist(), strict=True)) == expected


def test_an_edge_joins_from_both_ends_and_once():
    nodes = Nodes(np.array([4, 2]), uids_of(2), np.zeros(2, dtype=np.int32))
    edges = np.array([(2, 4, 0.5), (4, 2, 0.5), (9, 4, 0.25), (2, 7, 0.75)], dtype=EDGE)
    assert edges_of(joined_part(nodes, edges)[0]) == [(4, 2, 0.5), (4, 9, 0.25), (2, 4, 0.5), (2, 7, 0.75)]


def test_own_nodes_are_those_at_home():
    home = np.array([1, 0, 2, 1, 0], dtype=np.int32)
    replicas = np.ones((5, 3), dtype=bool)
    nodes = own_nodes(partition_of([0, 1], home, np.ones((5, 2), dtype=np.float16), replicas))
    assert nodes.row.tolist() == [1, 4, 0, 3]
    assert nodes.concept.tolist() == [0, 0, 1, 1]
    assert nodes.uid.tolist() == uids_of(5)[[1, 4, 0, 3]].tolist()


def test_a_concept_smaller_than_k_leaves_places_empty():
    vectors = np.eye(3, dtype=np.float16)
    home = np.array([0, 0, 1], dtype=np.int32)
    partition = partition_of([0, 1], home, vectors, np.zeros((3, 2), dtype=bool))
    found, computed = found_neighbours(partition, 2)
    assert found.ids.tolist() == [[1, -1], [0, -1], [-1, -1]]
    assert found.homes.tolist() == [[0, -1], [0, -1], [-1, -1]]
    assert np.allclose(found.distances, [[2, np.inf], [2, np.inf], [np.inf, np.inf]], atol=2e-4)
    assert computed == 1
    (graph,) = graphs_of([[0, 1]], home, vectors, np.zeros((3, 2), dtype=bool), 2)
    assert graph.indptr.tolist() == [0, 1, 2, 2]
    counts = {"nodes": 3, "edges": 2, "largest_degree": 1, "degrees": [1, 2], "isolated": 1, "crossing": 0}
    assert statistics(graph) == counts | {"carried": False}


def test_statistics_of_a_partition():
    nodes = Nodes(np.arange(6), uids_of(6), np.zeros(6, dtype=np.int32))
    targets = [(0, 1), *[(1, other) for other in (2, 10, 11)], *[(3, other) for other in range(20, 28)]]
    edges = packed(EDGE, source=np.array(targets)[:, 0], target=np.array(targets)[:, 1], distance=np.ones(len(targets)))
    # Degrees: 1, 4, 1, 8, 0, 0.
    assert statistics(joined_part(nodes, edges)[0]) == {
        "carried": False,
        "nodes": 6,
        "edges": 14,
        "largest_degree": 8,
        "degrees": [2, 2, 0, 1, 1],
        "isolated": 2,
        "crossing": 10,
    }


def test_statistics_of_an_empty_partition():
    nodes = Nodes(np.zeros(0, dtype=np.int64), uids_of(0), np.zeros(0, dtype=np.int32))
    counts = {"nodes": 0, "edges": 0, "largest_degree": 0, "degrees": [], "isolated": 0, "crossing": 0}
    assert statistics(joined_part(nodes, np.zeros(0, dtype=EDGE))[0]) == counts | {"carried": False}


def test_crossing_edges_are_counted():
    random = np.random.default_rng(8)
    vectors = points_of(random, 40)
    home = random.integers(0, 2, 40).astype(np.int32)
    graphs = graphs_of([[0], [1]], home, vectors, np.ones((40, 2), dtype=bool), 3)
    first, second = (statistics(graph)["crossing"] for graph in graphs)
    assert first == second > 0


IDS = st.lists(st.one_of(st.integers(0, 40), st.integers(0, 2**62)), unique=True, max_size=40)


@given(IDS, st.lists(st.one_of(st.integers(0, 40), st.integers(0, 2**62)), max_size=20), st.data())
def test_positions_find_each_id(known, others, data):
    ids = others + (data.draw(st.lists(st.sampled_from(known))) if known else [])
    found = positions(np.array(known, dtype=np.int64), np.array(ids, dtype=np.int64))
    assert found.tolist() == [known.index(one) if one in known else -1 for one in ids]


def test_positions_of_rows_of_many_shards():
    ids = (np.arange(300)[:, None] * 2**32 + np.arange(200)).ravel()
    known = np.random.default_rng(10).permutation(ids)
    assert np.array_equal(known[positions(known, ids)], ids)
    assert (positions(known, ids + 200) == -1).all()
