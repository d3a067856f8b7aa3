import numpy as np
import pytest

from filtering.concepts.partition import Partition
from filtering.embedding.objects import unit_rows
from filtering.graph.knn import knn_graph
from filtering.graph.sharded import directed_edges, merged_graph, positions, statistics


def points_of(random, count, width=6):
    vectors = random.normal(size=(count, width)).astype(np.float16)
    vectors[count // 2 : count // 2 + 5] = vectors[:5]
    return vectors


def uids_of(count):
    return np.array([f"{number:032x}" for number in range(count)], dtype="S32")


def partition_of(concepts, home, vectors, guests):
    """Every concept holds its own rows and those of `guests`, each ordered by uid."""
    rows = [np.flatnonzero((home == concept) | guests[:, concept]) for concept in concepts]
    standing = [np.full(len(part), concept) for part, concept in zip(rows, concepts, strict=True)]
    row = np.concatenate(rows)
    return Partition(
        row.astype(np.int64),
        uids_of(len(home))[row],
        np.concatenate(standing).astype(np.int32),
        home[row],
        vectors[row],
    )


def graphs_of(partitions, k):
    edges = [directed_edges(partition, k) for partition in partitions]
    merged = []
    for part in edges:
        sources, targets, distances = [], [], []
        for other in edges:
            if other is not part:
                crossing = np.isin(other.neighbours, part.row)
                sources.append(np.repeat(other.row, k).reshape(-1, k)[crossing])
                targets.append(other.neighbours[crossing])
                distances.append(other.distances[crossing])
        nothing = np.zeros(0)
        merged.append(
            merged_graph(
                part,
                np.concatenate([*sources, nothing.astype(np.int64)]),
                np.concatenate([*targets, nothing.astype(np.int64)]),
                np.concatenate([*distances, nothing.astype(np.float32)]),
            )
        )
    return merged


def edges_of(graph):
    rows = np.repeat(graph.row, np.diff(graph.indptr))
    return list(zip(rows.tolist(), graph.indices.tolist(), graph.distances.tolist(), strict=True))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("layout", [[[0, 1, 2, 3]], [[0, 1], [2, 3]], [[0], [1], [2], [3]], [[2, 0], [3, 1]]])
def test_with_every_row_a_guest_everywhere_the_graph_is_exact(seed, layout):
    random = np.random.default_rng(seed)
    vectors = points_of(random, 90)
    home = random.integers(0, 4, 90).astype(np.int32)
    everywhere = np.ones((90, 4), dtype=bool)
    merged = graphs_of([partition_of(sorted(part), home, vectors, everywhere) for part in layout], 5)
    whole = knn_graph(unit_rows(vectors), 5)
    rows = np.repeat(np.arange(90), whole.degrees)
    expected = list(zip(rows.tolist(), whole.indices.tolist(), whole.distances.tolist(), strict=True))
    found = sorted(edge for graph in merged for edge in edges_of(graph))
    assert [edge[:2] for edge in found] == [edge[:2] for edge in expected]
    assert np.allclose([edge[2] for edge in found], [edge[2] for edge in expected], rtol=1e-6)
    assert sorted(np.concatenate([graph.row for graph in merged]).tolist()) == list(range(90))


@pytest.mark.parametrize("seed", range(5))
def test_the_graph_is_symmetric_whoever_visits(seed):
    random = np.random.default_rng(seed)
    vectors = points_of(random, 80)
    home = random.integers(0, 5, 80).astype(np.int32)
    guests = random.random((80, 5)) < 0.3
    merged = graphs_of([partition_of(part, home, vectors, guests) for part in ([0, 1], [2], [3, 4])], 4)
    edges = {(a, b): distance for graph in merged for a, b, distance in edges_of(graph)}
    assert len(edges) == sum(len(graph.indices) for graph in merged)
    for (a, b), distance in edges.items():
        assert a != b
        assert edges[b, a] == distance
    for graph in merged:
        for start, end in zip(graph.indptr, graph.indptr[1:], strict=False):
            assert (np.diff(graph.indices[start:end]) > 0).all()


def test_neighbours_come_from_the_concept_and_its_guests_alone():
    random = np.random.default_rng(7)
    vectors = points_of(random, 40)
    home = random.integers(0, 2, 40).astype(np.int32)
    guests = random.random((40, 2)) < 0.2
    edges = directed_edges(partition_of([0, 1], home, vectors, guests), 3)
    assert edges.row.tolist() == [*np.flatnonzero(home == 0), *np.flatnonzero(home == 1)]
    points = unit_rows(vectors).astype(np.float64)
    for row, neighbours, homes, distances in zip(
        edges.row, edges.neighbours, edges.homes, edges.distances, strict=True
    ):
        concept = home[row]
        candidates = [c for c in np.flatnonzero((home == concept) | guests[:, concept]) if c != row]
        apart = sorted((((points[c] - points[row]) ** 2).sum(), c) for c in candidates)[:3]
        assert np.allclose(distances, [distance for distance, _ in apart], atol=1e-6)
        assert homes.tolist() == home[neighbours].tolist()


def test_a_concept_smaller_than_k_leaves_places_empty():
    vectors = np.eye(3, dtype=np.float16)
    home = np.array([0, 0, 1], dtype=np.int32)
    edges = directed_edges(partition_of([0, 1], home, vectors, np.zeros((3, 2), dtype=bool)), 2)
    assert edges.neighbours.tolist() == [[1, -1], [0, -1], [-1, -1]]
    assert edges.homes.tolist() == [[0, -1], [0, -1], [-1, -1]]
    nothing = np.zeros(0, dtype=np.int64)
    graph = merged_graph(edges, nothing, nothing, nothing.astype(np.float32))
    assert graph.indptr.tolist() == [0, 1, 2, 2]
    assert statistics(graph) == {"nodes": 3, "edges": 2, "largest_degree": 1, "isolated": 1, "crossing": 0}


def test_crossing_edges_are_counted():
    random = np.random.default_rng(8)
    vectors = points_of(random, 40)
    home = random.integers(0, 2, 40).astype(np.int32)
    merged = graphs_of([partition_of([c], home, vectors, np.ones((40, 2), dtype=bool)) for c in (0, 1)], 3)
    first, second = (statistics(graph)["crossing"] for graph in merged)
    assert first == second > 0


def test_positions_find_each_id():
    known = np.array([70, 3, 11, 5])
    assert positions(known, np.array([5, 5, 70, 11, 3])).tolist() == [3, 3, 0, 2, 1]
