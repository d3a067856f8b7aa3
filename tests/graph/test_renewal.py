from dataclasses import dataclass, fields

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from test_sharded import edges_of, partition_of, points_of, sent, uids_of

from filtering.core.errors import RunError
from filtering.graph.joining import (
    CHOSEN,
    CHOSEN_BY,
    BasePart,
    chosen_distances,
    joined_nodes,
    joined_part,
    remaining_edges,
    remaining_nodes,
    same_part,
)
from filtering.graph.sharded import (
    EDGE,
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
    found = [found_records(partition, found_neighbours(partition, k)[0]) for partition in partitions]
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


def test_edges_of_rows_that_choose_again_or_are_gone_do_not_remain():
    base = base_part(nodes_of([1, 2, 3]), [(1, 2, 0.5), (2, 1, 0.5), (2, 3, 0.25), (3, 8, 0.5), (9, 1, 0.75)])
    everyone = {one: one for one in (1, 2, 3, 8, 9)}

    def left(names, again):
        edges = remaining_edges(moved(base, names), np.array(again, dtype=np.int64))
        assert edges.dtype == EDGE
        return sorted(set(edges.tolist()))

    everything = [(1, 2, 0.5), (2, 1, 0.5), (2, 3, 0.25), (3, 8, 0.5), (9, 1, 0.75)]
    assert left(everyone, []) == everything
    assert left(everyone, [2, 9]) == [(1, 2, 0.5), (3, 8, 0.5)]
    # A row that is gone chose nothing, and who chose it chooses again.
    assert left(everyone | {8: -1}, [3]) == [(1, 2, 0.5), (2, 1, 0.5), (2, 3, 0.25), (9, 1, 0.75)]
    assert left(everyone | {9: -1}, []) == everything[:-1]
    assert left({1: 1, 2: 12, 3: 13, 8: 18, 9: 19}, []) == [
        (1, 12, 0.5),
        (12, 1, 0.5),
        (12, 13, 0.25),
        (13, 18, 0.5),
        (19, 1, 0.75),
    ]


def test_a_row_that_does_not_choose_again_has_lost_no_neighbour():
    base = base_part(nodes_of([1, 2]), [(1, 2, 0.5), (2, 8, 0.5)])
    with pytest.raises(RunError, match="is gone, and is not searched again"):
        remaining_edges(moved(base, {1: 1, 2: 2}), np.array([1]))
    assert len(remaining_edges(moved(base, {1: 1, 2: 2}), np.array([2]))) > 0


def test_rows_of_concepts_that_are_not_searched_remain_and_join_those_that_were_sent():
    base = base_part(nodes_of([1, 2, 3, 4], [0, 0, 2, 2]), [])
    remaining = remaining_nodes(base, np.array([True, False, False]))
    assert remaining.row.tolist() == [3, 4]
    sent_rows = Nodes(np.array([7, 5]), np.array([b"b", b"a"], dtype="S32"), np.array([1, 3], dtype=np.int32))
    joined = joined_nodes(remaining, sent_rows)
    assert joined.concept.tolist() == [1, 2, 2, 3]
    assert joined.row.tolist() == [7, 3, 4, 5]
    assert joined.uid.tolist() == [b"b", *uids_of(4)[2:].tolist(), b"a"]


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
