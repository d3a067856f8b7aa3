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
    radii,
)
from filtering.graph.part_merge import renewed_part
from filtering.graph.renewal import DROPPED, renewed_choice, searching, standing
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
from filtering.graph.spares import Spares, unknown_spares


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


def base_part(nodes, edges, spares=(), reach=np.inf, k=2):
    """A part whose rows have spare neighbours (row, spare one, distance), and lists that reach so far."""
    graph, chosen = joined_part(nodes, np.array(edges, dtype=EDGE))
    known = unknown_spares(np.full(len(nodes.row), reach, dtype=np.float32), k)
    for number, row in enumerate(graph.row.tolist()):
        own = [(apart, one) for source, one, apart in spares if source == row]
        for column, (apart, one) in enumerate(sorted(own)):
            known.ids[number, column], known.distances[number, column] = one, apart
    return BasePart(graph, chosen, known)


def moved(base, names):
    """The part in today's ids, -1 where a row is gone."""
    graph = {part.name: getattr(base.graph, part.name) for part in fields(ShardGraph)}
    for name in ("row", "indices"):
        graph[name] = np.array([names.get(one, -1) for one in graph[name].tolist()], dtype=np.int64)
    ids = np.array([names.get(one, -1) for one in base.spares.ids.ravel().tolist()], dtype=np.int64)
    return BasePart(ShardGraph(**graph), base.chosen, Spares(ids.reshape(base.spares.ids.shape), base.spares.distances))


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
    there, none = standing(base, gone), np.zeros(0, dtype=EDGE)
    part = renewed_part(base, there, standing_nodes(base, there), np.array(list(dropped), dtype=DROPPED), none)
    return sorted(set(directed(part.graph, part.chosen)))


def standing_nodes(base, there):
    return Nodes(*(getattr(base.graph, name)[there.rows] for name in ("row", "uid", "concept")))


def directed(graph, chosen):
    """The edges of a part, (source, target, distance), each as often as one of its ends knows of it."""
    edges = list(zip(edges_of(graph), chosen.tolist(), strict=True))
    return [edge for edge, bits in edges if bits & CHOSEN] + [
        (target, row, apart) for (row, target, apart), bits in edges if bits & CHOSEN_BY
    ]


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
    graph, chosen = joined_part(nodes_of([1, 2, 3]), np.array(EDGES, dtype=EDGE))
    assert radii(graph.indptr, chosen, graph.distances, 1).tolist() == [0.5, 0.5, 0.5]
    assert radii(graph.indptr, chosen, graph.distances, 2).tolist() == [np.inf, 0.5, np.inf]


def found_of(*edges):
    """What was found, each neighbour at home in concept 4."""
    return np.array([(row, neighbour, 4, apart) for row, neighbour, apart in edges], dtype=FOUND)


def chosen_again(found, nodes, base, gone=NONE, k=2):
    there = None if base is None else standing(base, gone)
    choice = renewed_choice(nodes, base, there, found, np.arange(10, dtype=np.int32) + 1, k)
    assert (choice.partitions == 5).all() and set(choice.beside.tolist()) <= {5}
    return choice


def renewed(*arguments):
    """The edges that are added, and those that are dropped."""
    choice = chosen_again(*arguments)
    assert not len(choice.promoted)
    return sorted(choice.added.tolist()), sorted(choice.dropped.tolist())


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


def test_rows_that_have_lost_a_neighbour_and_searched_keep_the_others_and_choose_more():
    # Whose lists reach as far as the last neighbour: none is spare.
    base = base_part(nodes_of([1, 2, 3]), EDGES, reach=0.5)
    gone, left = np.array([1]), nodes_of([2, 3])
    assert searching(base, standing(base, gone), 2).tolist() == [False, True, False]
    assert renewed(found_of((2, 3, 0.25), (2, 6, 0.75)), left, base, gone) == ([(2, 6, 0.75)], [])
    assert renewed(found_of(), left, base, gone) == ([], [])


WITH_SPARES = [(2, 9, 0.625), (2, 8, 0.75)]


def test_a_spare_neighbour_takes_the_place_of_one_that_is_gone():
    base = base_part(nodes_of([1, 2, 3]), EDGES, WITH_SPARES, reach=0.5)
    gone, left = np.array([1]), nodes_of([2, 3])
    assert not searching(base, standing(base, gone), 2).any()
    choice = chosen_again(found_of(), left, base, gone)
    assert (choice.added.tolist(), choice.dropped.tolist()) == ([], [])
    assert choice.promoted.tolist() == [(2, 9, 0.625)]
    # The list reaches as far as it did.
    assert (choice.spares.ids[0].tolist(), choice.spares.distances[0].tolist()) == ([8, -1], [0.75, 0.75])
    # Where spare ones are gone too, the row searches; so does that which chose one of them.
    assert searching(base, standing(base, np.array([1, 8, 9])), 2).tolist() == [False, True, True]
    choice = chosen_again(found_of((2, 6, 0.875), (2, 5, 0.9375)), left, base, np.array([1, 8, 9]))
    assert (choice.added.tolist(), choice.promoted.tolist()) == ([(2, 6, 0.875)], [])
    assert (choice.spares.ids[0].tolist(), choice.spares.reach[0]) == ([5, -1], np.inf)


def test_a_list_takes_new_rows_as_far_as_it_reaches():
    base, nodes = base_part(nodes_of([1, 2, 3]), EDGES, WITH_SPARES, reach=0.5), nodes_of([1, 2, 3])

    def spares(*edges, gone=NONE):
        choice = chosen_again(found_of(*edges), nodes, base, gone)
        return [*choice.spares.ids[1].tolist(), *choice.spares.distances[1].tolist()]

    assert spares() == [9, 8, 0.625, 0.75]
    assert spares((2, 7, 0.6875)) == [9, 7, 0.625, 0.6875]
    # A neighbour that is chosen no more is a spare one.
    assert spares((2, 7, 0.25)) == [1, 9, 0.5, 0.625]
    assert spares((2, 7, 0.8125)) == [9, 8, 0.625, 0.75]
    # With one gone, there is room for what the list reaches, and for no row after its last that is equally far.
    assert spares(gone=np.array([9])) == [-1, 8, 0.625, 0.75]
    assert spares((2, 7, 0.6875), gone=np.array([9])) == [7, 8, 0.6875, 0.75]
    assert spares((2, 10, 0.75), gone=np.array([9])) == [8, -1, 0.75, 0.75]
    assert spares((2, 7, 0.75), gone=np.array([9])) == [7, 8, 0.75, 0.75]
    assert spares((2, 7, 0.8125), gone=np.array([9])) == [8, -1, 0.75, 0.75]


def test_a_complete_list_takes_any_row_and_never_searches():
    base, nodes = base_part(nodes_of([1, 2, 3]), EDGES), nodes_of([2, 3])
    assert not searching(base, standing(base, np.array([1])), 2).any()
    choice = chosen_again(found_of((2, 6, 0.75), (2, 7, 0.875)), nodes, base, np.array([1]))
    assert choice.added.tolist() == [(2, 6, 0.75)]
    assert (choice.spares.ids[0].tolist(), choice.spares.distances[0].tolist()) == ([7, -1], [0.875, np.inf])


def test_rows_of_different_concepts_stand_by_concept_and_uid():
    known = nodes_of([3, 4], [2, 2])
    new = Nodes(np.array([7, 5]), np.array([b"b", b"a"], dtype="S32"), np.array([1, 3], dtype=np.int32))
    joined = joined_nodes(known, new)
    assert joined.concept.tolist() == [1, 2, 2, 3]
    assert joined.row.tolist() == [7, 3, 4, 5]
    assert joined.uid.tolist() == [b"b", *uids_of(2).tolist(), b"a"]


def test_a_renewed_part_is_the_bases_if_nothing_changes_it():
    nodes = nodes_of([1, 2, 3])
    base = base_part(nodes, EDGES)

    def same(base=base, nodes=nodes, gone=(), dropped=(), added=()):
        there = standing(base, np.array(gone, dtype=np.int64))
        pairs, edges = np.array(list(dropped), dtype=DROPPED), np.array(list(added), dtype=EDGE)
        return renewed_part(base, there, nodes, pairs, edges).same

    assert same()
    # What other partitions dropped, and what is known, changes nothing.
    assert same(dropped=[(8, 9), (1, 3)], added=[(1, 2, 0.5)])
    assert not same(dropped=[(1, 2)])
    assert not same(dropped=[(9, 1)])
    assert not same(added=[(1, 3, 0.5)])
    assert not same(added=[(8, 3, 0.5)])
    assert not same(gone=[8])
    assert not same(moved(base, {one: one for one in (1, 2, 3, 8)}))
    assert not same(nodes=nodes_of([1, 2, 3, 4]))
    assert not same(moved(base, {one: one for one in (1, 2, 8, 9)}), nodes_of([1, 2]))


def whole_part(base, gone, nodes, dropped, added):
    """A renewed part by sets: the edges that still hold, and those added, joined."""
    left = set(directed(base.graph, base.chosen))
    held = [edge for edge in left if -1 not in edge[:2] and not gone & {*edge[:2]} and edge[:2] not in dropped]
    return joined_part(nodes, np.array(sorted({*held, *added}), dtype=EDGE))


@examples(0.5)
@given(st.data())
def test_a_renewed_part_is_joined_from_what_holds_and_what_is_added(data):
    rows, ends = st.integers(0, 9), st.integers(0, 14)
    apart = {}

    def edges(one, other):
        pairs = data.draw(st.sets(st.tuples(one, other).filter(lambda pair: pair[0] != pair[1]), max_size=20))
        pairs |= {pair[::-1] for pair in pairs if data.draw(st.booleans())}
        return sorted((*pair, apart.setdefault(frozenset(pair), len(apart) / 64)) for pair in pairs)

    concepts = data.draw(st.lists(st.integers(0, 2), min_size=20, max_size=20))
    known = sorted(data.draw(st.sets(rows)), key=lambda row: (concepts[row], row))
    nodes = nodes_of(known, [concepts[row] for row in known])
    away = data.draw(st.sets(ends))
    base = moved(base_part(nodes, edges(rows, ends)), {one: one for one in range(15) if one not in away})
    gone = data.draw(st.sets(ends)) - away
    there = standing(base, np.array(sorted(gone), dtype=np.int64))
    new = sorted(data.draw(st.sets(st.integers(15, 19))))
    now = joined_nodes(standing_nodes(base, there), nodes_of(new, [concepts[row] for row in new]))
    added = [edge for edge in edges(st.integers(0, 19), st.integers(0, 19)) if data.draw(st.booleans())]
    dropped = {edge[:2] for edge in directed(base.graph, base.chosen) if data.draw(st.booleans())}
    dropped -= {edge[:2] for edge in added}
    pairs = np.array(sorted(dropped), dtype=DROPPED)
    part = renewed_part(base, there, now, pairs, np.array(added, dtype=EDGE))
    graph, chosen = whole_part(base, gone, now, dropped, added)
    for name in (one.name for one in fields(ShardGraph)):
        expected, found = getattr(graph, name), getattr(part.graph, name)
        assert expected.dtype == found.dtype and np.array_equal(expected, found)
    assert part.chosen.dtype == np.uint8 and np.array_equal(part.chosen, chosen)
    old = [*(getattr(base.graph, one.name) for one in fields(ShardGraph)), base.chosen]
    new = [*(getattr(graph, one.name) for one in fields(ShardGraph)), chosen]
    assert part.same == all(map(np.array_equal, old, new))
