import itertools
import uuid

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from incremental_graphs import WIDTH, Night, Rows, chains, same_graphs, same_queries

from filtering.graph.artifacts import PART_NAMES, SPARES_NAME, read_adjacent, read_origins
from filtering.graph.renewal_stage import PARTS
from filtering.runtime.records import to_plain
from filtering.storage.store import Store


@pytest.mark.slow
@examples(0.4)
@given(chains())
def test_a_graph_renewed_night_after_night_is_that_of_the_whole_pool(chain):
    shapes, nights, partitions, k = chain
    root, count = Store(f"memory://{uuid.uuid4().hex}"), max(partitions) + 1
    (names, absent), *later = nights
    before = Night(root, shapes, names, partitions, k, absent)
    store, _ = before.build("0")
    for number, (names, absent) in enumerate(later, 1):
        now = Night(root, shapes, names, partitions, k, absent)
        whole, expected = now.build(f"{number}-whole")
        renewed, found = now.build(f"{number}", (before, store))
        same_graphs(whole, renewed, count)
        same_queries(whole, renewed, count)
        work = ("guests", "distances", "share_of_brute_force", "searched_concepts", "carried_partitions")
        plain, whole_plain = to_plain(found), to_plain(expected)
        assert {name: value for name, value in plain.items() if name not in work} == {
            name: value for name, value in whole_plain.items() if name not in work
        }
        # Two rows that both search are compared from either side, and a row with itself.
        assert found.distances <= 2 * expected.distances + expected.nodes + expected.replicas
        exact, told = (read_adjacent(one.child("graph")) for one in (whole, renewed))
        # Partitions that are adjacent no more may still be named.
        assert all(set(others) <= set(told.get(one, [])) for one, others in exact.items())
        before, store = now, renewed


@examples(0.3)
@given(chains())
def test_where_nothing_changed_every_part_stays_where_it_lies(chain):
    shapes, nights, partitions, k = chain
    root = Store(f"memory://{uuid.uuid4().hex}")
    night = Night(root, shapes, nights[0][0], partitions, k, nights[0][1])
    first, _ = night.build("0")
    store = first
    for number in (1, 2):
        store, found = night.build(f"{number}", (night, store))
        assert found.distances == found.searched_concepts == 0
        graph, places = store.child("graph"), read_origins(store.child("graph"))
        assert not any(graph.names(name.format(0)[8:]) for name in PART_NAMES)
        assert all(part["carried"] for part in graph.read_record(PARTS).values())
        for part in graph.read_record(PARTS):
            assert places.of(int(part))[0] == first.child("graph")


def test_only_partitions_near_a_change_are_written(tmp_path):
    # Four concepts, a partition each; a row of the second visits the third.
    shapes = {
        name: Rows(
            np.random.default_rng(at).normal(size=(3, WIDTH)).astype(np.float16),
            np.array([f"{at}{row:031x}" for row in range(3)], dtype="S32"),
            np.full(3, home, dtype=np.int32),
            [hosts, set(), set()],
        )
        for at, (name, home, hosts) in enumerate(
            [("a", 0, set()), ("b", 1, {2}), ("c", 2, set()), ("d", 3, set()), ("e", 0, set()), ("f", 2, set())]
        )
    }
    root = Store(str(tmp_path))
    night = Night(root, shapes, list("abcd"), [0, 1, 2, 3], 2)
    store, _ = night.build("0")
    later = Night(root, shapes, list("abcde"), [0, 1, 2, 3], 2)
    renewed, found = later.build("1", (night, store))
    assert renewed.child("graph").names(".graph.npz") == ["00000000.graph.npz"]
    assert (found.searched_concepts, found.reused_partitions) == (1, 3)
    last = Night(root, shapes, list("abcdef"), [0, 1, 2, 3], 2)
    renewed, found = last.build("2", (later, renewed))
    # The visitor chooses again, and so its own concept is searched.
    assert renewed.child("graph").names(".graph.npz") == ["00000001.graph.npz", "00000002.graph.npz"]
    origins = read_origins(renewed.child("graph"))
    assert [origins.of(number)[0].url.rsplit("/", 2)[1] for number in (0, 3)] == ["1", "0"]


def rows_of(*rows):
    """Rows of (direction, home, concepts in which they have replicas)."""
    angles, home, replicas = zip(*rows, strict=True)
    vectors = np.array([[np.cos(angle), np.sin(angle), 0] for angle in angles], dtype=np.float16)
    return Rows(vectors, np.array([f"{angle:032.20f}" for angle in angles], "S32"), np.array(home, np.int32), replicas)


@pytest.mark.parametrize("partitions", [[0, 1, 2], [0, 1, 1], [0, 0, 1], [2, 1, 0], [0, 0, 0]], ids=str)
def test_an_edge_goes_where_it_is_not_searched_once_its_row_has_nearer_ones(partitions):
    # The row at 0.2 is the only one to choose that at 0, whose own neighbour is at -0.1.
    shapes = {
        "a": rows_of((0, 0, {1}), (-0.1, 0, set())),
        "b": rows_of((0.2, 1, {2})),
        "c": rows_of((0.21, 2, set())),
    }
    root = Store(f"memory://{uuid.uuid4().hex}")
    night, later = (Night(root, shapes, list(names), partitions, 1) for names in ("ab", "abc"))
    store, first = night.build("0")
    renewed, found = later.build("1", (night, store))
    whole, expected = later.build("1-whole")
    same_graphs(whole, renewed, max(partitions) + 1)
    assert (first.edges, found.edges, expected.edges) == (4, 4, 4)
    # The new row searches in its own concept; who visits that is offered the row, and does not search.
    assert found.searched_concepts == 1
    # And back: the row that was added goes, and the edge returns.
    back, _ = night.build("2", (later, renewed))
    same_graphs(store, back, max(partitions) + 1)


def test_rows_that_lost_neighbours_take_spare_ones_and_do_not_search():
    shapes = {"a": rows_of(*((angle, 0, set()) for angle in np.arange(0.1, 1.3, 0.1))), "b": rows_of((0, 0, set()))}
    root = Store(f"memory://{uuid.uuid4().hex}")
    night, later = (Night(root, shapes, list(names), [0], 2) for names in ("ab", "a"))
    store, _ = night.build("0")
    renewed, found = later.build("1", (night, store))
    whole, _ = later.build("1-whole")
    same_graphs(whole, renewed, 1)
    assert found.distances == found.searched_concepts == 0
    # A part that an older version wrote has none in store.
    store.child("graph").delete(SPARES_NAME.format(0))
    renewed, found = later.build("2", (night, store))
    same_graphs(whole, renewed, 1)
    assert found.searched_concepts == 1


def test_spare_neighbours_in_another_partition_are_known_to_go():
    # The row at 0 chooses that at 0.1, and has those at 0.2 and 0.25, of the other partition, in store.
    near, far = rows_of((0, 0, {1}), (0.1, 0, set())), rows_of((0.2, 1, set()), (0.25, 1, set()), (0.3, 1, set()))
    shapes, root = {"a": near, "b": far}, Store(f"memory://{uuid.uuid4().hex}")
    nights = [Night(root, shapes, ["a", "b"], [0, 1], 1, frozenset(absent)) for absent in ([], [("b", 0)])]
    nights.append(Night(root, shapes, ["a", "b"], [0, 1], 1, frozenset([("b", 0), ("a", 1)])))
    store, _ = nights[0].build("0")
    for number, (before, now) in enumerate(itertools.pairwise(nights), 1):
        store, _ = now.build(f"{number}", (before, store))
        same_graphs(now.build(f"{number}-whole")[0], store, 2)
