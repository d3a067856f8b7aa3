from dataclasses import dataclass, fields

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from test_sharded import edges_of, partition_of, points_of, sent, uids_of

from filtering.graph.joining import (
    CHOSEN,
    CHOSEN_BY,
    BasePart,
    chosen_distances,
    joined_nodes,
    joined_part,
    same_part,
)
from filtering.graph.renewal import DROPPED, holding_edges, radii, renewed_choice, standing
from filtering.graph.sharded import (
    EDGE,
    FOUND,
    Nodes,
    ShardGraph,
    chosen_neighbours,
    found_neighbours,
    found_records,
    outgoing_edges,
    own_nodes,
)


@dataclass
class Built:
    """Every partition's part, who chose its edges, and what rows chose."""

    parts: list[ShardGraph]
    bits: list[np.ndarray]
    choices: list


def built(seed, count, layout, k):
    random = np.random.default_rng(seed)
    vectors, concepts = points_of(random, count), 1 + max(c for part in layout for c in part)
    home = random.integers(0, concepts, count).astype(np.int32)
    replicas = random.random((count, concepts)) < 0.3
    where = np.full(concepts, -1, dtype=np.int32)
    for number, part in enumerate(layout):
        where[part] = number
    partitions = [partition_of(sorted(part), home, vectors, replicas) for part in layout]
    nodes = [own_nodes(partition) for partition in partitions]
    found = [
        found_records(partition.row, partition.home, found_neighbours(partition, k)[0]) for partition in partitions
    ]
    found = [(records, where[homes]) for records, homes in found]
    choices = [chosen_neighbours(own, sent(found, number), k) for number, own in enumerate(nodes)]
    edges = [outgoing_edges(own, choices[number], where, number) for number, own in enumerate(nodes)]
    joined = [joined_part(own, sent(edges, number)) for number, own in enumerate(nodes)]
    return Built([part for part, _ in joined], [bits for _, bits in joined], choices)


LAYOUTS = [[[0, 1, 2]], [[0, 1], [2]], [[0], [1], [2]]]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@examples(0.2)
@given(st.integers(0, 2**32 - 1), st.integers(10, 60), st.integers(1, 5))
def test_the_chosen_edges_are_what_rows_chose(layout, seed, count, k):
    graph = built(seed, count, layout, k)
    wanted, told, heard = set(), set(), set()
    for part, bits, choice in zip(graph.parts, graph.bits, graph.choices, strict=True):
        assert bits.dtype == np.uint8
        assert ((bits > 0) & (bits <= CHOSEN | CHOSEN_BY)).all()
        at, column = np.nonzero(choice.ids >= 0)
        wanted |= set(zip(part.row[at].tolist(), choice.ids[at, column].tolist(), strict=True))
        ends = np.array([edge[:2] for edge in edges_of(part)], dtype=np.int64).reshape(-1, 2)
        told |= {tuple(edge) for edge in ends[bits & CHOSEN > 0].tolist()}
        heard |= {tuple(edge) for edge in ends[bits & CHOSEN_BY > 0][:, ::-1].tolist()}
    assert told == heard == wanted


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@examples(0.2)
@given(st.integers(0, 2**32 - 1), st.integers(10, 60), st.integers(1, 5), st.data())
def test_the_distances_of_what_rows_chose_are_those_found(layout, seed, count, k, data):
    graph = built(seed, count, layout, k)
    for part, bits, choice in zip(graph.parts, graph.bits, graph.choices, strict=True):
        rows = np.array(data.draw(st.lists(st.sampled_from(range(len(part.row))))) if len(part.row) else [], dtype=int)
        found = chosen_distances(part, bits, rows, k)
        assert found.dtype == np.float32
        assert np.array_equal(found, choice.distances[rows])


def nodes_of(rows, concepts=None):
    concept = np.zeros(len(rows)) if concepts is None else np.array(concepts)
    return Nodes(np.array(rows, dtype=np.int64), uids_of(len(rows)), concept.astype(np.int32))


def base_part(nodes, edges):
    return BasePart(*joined_part(nodes, np.array(edges, dtype=EDGE)))


def moved(base, names):
    """The part in today's ids, -1 where a row is gone."""
    graph = {part.name: getattr(base.graph, part.name) for part in fields(ShardGraph)}
    for name in ("row", "indices"):
        graph[name] = np.array([names.get(one, -1) for one in graph[name].tolist()], dtype=np.int64)
    return BasePart(ShardGraph(**graph), base.chosen)


def test_a_part_tells_who_chose_each_edge():
    graph, chosen = joined_part(nodes_of([4, 2]), np.array([(4, 2, 0.5), (9, 4, 0.25), (2, 7, 0.75)], dtype=EDGE))
    assert [edge[:2] for edge in edges_of(graph)] == [(4, 2), (4, 9), (2, 4), (2, 7)]
    assert chosen.tolist() == [CHOSEN, CHOSEN_BY, CHOSEN_BY, CHOSEN]
    both = joined_part(nodes_of([4, 2]), np.array([(4, 2, 0.5), (2, 4, 0.5), (4, 2, 0.5)], dtype=EDGE))[1]
    assert both.tolist() == [CHOSEN | CHOSEN_BY] * 2


EDGES = [(1, 2, 0.5), (2, 1, 0.5), (2, 3, 0.25), (3, 8, 0.5), (9, 1, 0.75)]
EVERYONE = {one: one for one in (1, 2, 3, 8, 9)}
NONE = np.zeros(0, dtype=np.int64)


def held(names=EVERYONE, gone=(), dropped=()):
    """The edges of a part that hold, where rows have other ids now, are gone, or dropped an edge."""
    base, gone = moved(base_part(nodes_of([1, 2, 3]), EDGES), names), np.array(gone, dtype=np.int64)
    edges = holding_edges(base, standing(base, gone), gone, np.array(list(dropped), dtype=DROPPED))
    assert edges.dtype == EDGE
    return sorted(set(edges.tolist()))


def test_edges_hold_unless_an_end_is_gone_or_the_row_drops_them():
    assert held() == EDGES
    assert held(EVERYONE | {8: -1}) == [one for one in EDGES if 8 not in one]
    assert held(EVERYONE | {9: -1}) == EDGES[:-1]
    assert held({one: 10 + one for one in EVERYONE}) == [(10 + a, 10 + b, apart) for a, b, apart in EDGES]
    # Of a shard that is still there some rows may be gone.
    assert held(gone=[2]) == [(3, 8, 0.5), (9, 1, 0.75)]
    assert held(dropped=[(1, 2), (9, 1)]) == [(2, 1, 0.5), (2, 3, 0.25), (3, 8, 0.5)]
    assert held(dropped=[(1, 3)]) == EDGES


def test_rows_have_lost_what_they_chose_and_is_gone():
    base = moved(base_part(nodes_of([1, 2, 3]), EDGES), EVERYONE | {8: -1})
    there = standing(base, NONE)
    assert there.rows.all() and there.lost.tolist() == [False, False, True]
    there = standing(base, np.array([1]))
    assert there.rows.tolist() == [False, True, True] and there.lost.tolist() == [False, True, True]
    # Who is chosen by a row that is gone has lost nothing.
    assert not standing(moved(base, EVERYONE | {9: -1}), NONE).lost[0]


def test_a_radius_is_the_distance_of_the_last_of_k_neighbours():
    base = base_part(nodes_of([1, 2, 3]), EDGES)
    there = standing(base, NONE)
    assert radii(base, there, 1).tolist() == [0.5, 0.5, 0.5]
    assert radii(base, there, 2).tolist() == [np.inf, 0.5, np.inf]


def found_of(*edges):
    """What was found, each neighbour at home in concept 4."""
    return np.array([(row, neighbour, 4, apart) for row, neighbour, apart in edges], dtype=FOUND)


def renewed(found, nodes, base, gone=NONE, k=2):
    there = None if base is None else standing(base, gone)
    added, partitions, dropped = renewed_choice(nodes, base, there, found, np.arange(10, dtype=np.int32) + 1, k)
    assert (partitions == 5).all()
    return sorted(added.tolist()), sorted(dropped.tolist())


def test_new_rows_choose_and_known_rows_take_what_is_nearer():
    nodes, base = nodes_of([1, 2, 3]), base_part(nodes_of([1, 2, 3]), EDGES)
    assert renewed(found_of(), nodes, base) == ([], [])
    assert renewed(found_of((2, 7, 0.375)), nodes, base) == ([(2, 7, 0.375)], [(2, 1)])
    assert renewed(found_of((2, 7, 0.625)), nodes, base) == ([], [])
    # As near as the last, the lower id is chosen.
    assert renewed(found_of((2, 0, 0.5)), nodes, base) == ([(2, 0, 0.5)], [(2, 1)])
    # Who has fewer than k takes any.
    assert renewed(found_of((1, 7, 0.875)), nodes, base) == ([(1, 7, 0.875)], [])
    assert renewed(found_of((4, 1, 0.5), (4, 2, 0.25), (4, 3, 0.75)), nodes_of([1, 2, 3, 4]), base) == (
        [(4, 1, 0.5), (4, 2, 0.25)],
        [],
    )
    assert renewed(found_of((1, 2, 0.5)), nodes_of([1]), None) == ([(1, 2, 0.5)], [])


def test_rows_that_have_lost_a_neighbour_keep_the_others_and_choose_more():
    base = base_part(nodes_of([1, 2, 3]), EDGES)
    gone, left = np.array([1]), nodes_of([2, 3])
    assert renewed(found_of((2, 3, 0.25), (2, 6, 0.75)), left, base, gone) == ([(2, 6, 0.75)], [])
    assert renewed(found_of(), left, base, gone) == ([], [])


def test_rows_of_different_concepts_stand_by_concept_and_uid():
    known = nodes_of([3, 4], [2, 2])
    new = Nodes(np.array([7, 5]), np.array([b"b", b"a"], dtype="S32"), np.array([1, 3], dtype=np.int32))
    joined = joined_nodes(known, new)
    assert joined.concept.tolist() == [1, 2, 2, 3]
    assert joined.row.tolist() == [7, 3, 4, 5]
    assert joined.uid.tolist() == [b"b", *uids_of(2).tolist(), b"a"]


def test_a_renewed_part_is_the_bases_if_every_array_is():
    nodes, edges = nodes_of([1, 2]), [(1, 2, 0.5), (2, 8, 0.5)]
    base = base_part(nodes, edges)
    graph, chosen = joined_part(nodes, np.array(edges, dtype=EDGE))
    assert same_part(base, graph, chosen)
    for other in (
        base_part(nodes, [(1, 2, 0.5), (2, 8, 0.25)]),
        base_part(nodes, [(2, 1, 0.5), (2, 8, 0.5)]),
        base_part(nodes, [(1, 2, 0.5), (2, 9, 0.5)]),
        base_part(nodes_of([1, 2, 3]), edges),
        base_part(nodes_of([1, 2], [0, 1]), edges),
        moved(base, {1: 1, 2: 2}),
    ):
        assert not same_part(other, graph, chosen)
    assert np.array_equal(joined_part(nodes, np.array(edges, dtype=EDGE))[0].indices, graph.indices)
