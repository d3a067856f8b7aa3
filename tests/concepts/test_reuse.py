import uuid

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from filtering.concepts.artifacts import (
    EXACT,
    INVITATION,
    QUERIES_NAME,
    TOUCHED,
    VISITS_NAME,
    read_exact,
    read_touched,
)
from filtering.concepts.assignment import NEAREST_NAME, STATISTICS_NAME, with_radius
from filtering.concepts.partition import moved_rows
from filtering.concepts.reuse import (
    CHANGED,
    SEARCHED_NAME,
    again_rows,
    carry_queries,
    find_exact,
    find_searched,
    join_searched,
    resample_queries,
    still_exact,
    write_changed,
)
from filtering.concepts.training import FEW_NAME
from filtering.embedding.artifacts import EmbeddedShard
from filtering.filters.artifacts import PassingShard
from filtering.shards.inventory import Shard
from filtering.storage.store import Store

SPARE = 2


@pytest.fixture
def store():
    return Store(f"memory://{uuid.uuid4().hex}")


@given(
    st.lists(st.tuples(st.integers(-1, 4), st.integers(0, 2**32 - 1))),
    st.lists(st.integers(-1, 2**31 - 1), min_size=5, max_size=5),
)
def test_rows_move_with_their_shards(rows, places):
    ids = np.array([-1 if shard < 0 else (shard << 32) | row for shard, row in rows], dtype=np.int64)
    expected = [-1 if shard < 0 or places[shard] < 0 else (places[shard] << 32) | row for shard, row in rows]
    assert moved_rows(ids, np.array(places, dtype=np.int64)).tolist() == expected


class Night:
    """A pool of shards, each a list of whole numbers: rows on a line, so that many are equally far."""

    def __init__(self, shards, shapes):
        self.names = list(shards)
        self.points = {(name, row): point for name in shards for row, point in enumerate(shapes[name])}
        self.id_of = {key: (self.names.index(key[0]) << 32) | key[1] for key in self.points}

    def places(self, later):
        """The place of each shard in a later night."""
        found = [later.names.index(name) if name in later.names else -1 for name in self.names]
        return np.array(found, dtype=np.int64)

    def nearest(self, rows, width, among=None):
        """The nearest rows of some shards, as those shards find them: none is its own neighbour."""
        distances = np.full((len(rows), width), np.inf, dtype=np.float32)
        neighbours = np.full((len(rows), width), -1, dtype=np.int64)
        for at, key in enumerate(rows):
            others = [o for o in self.points if o != key and (among is None or o[0] in among)]
            apart = sorted((abs(self.points[o] - self.points[key]), self.id_of[o]) for o in others)[:width]
            for column, (distance, one) in enumerate(apart):
                distances[at, column], neighbours[at, column] = distance, one
        return {"row": self.ids(rows), "distances": distances, "neighbours": neighbours}

    def ids(self, rows):
        return np.array([self.id_of[key] for key in rows], dtype=np.int64)

    def measured(self, among):
        """Every other row of some shards measures recall, in the order of ids."""
        return sorted((key for key in self.points if key[1] % 2 == 0 and key[0] in among), key=self.id_of.get)


def check_exact(night, found, k):
    """What is known of a row is true: the k nearest distances, and everything up to `within`."""
    rows = {one: key for key, one in night.id_of.items()}
    names = [rows[one] for one in found["row"].tolist()]
    every = night.nearest(names, max(len(night.points), k))
    assert found["distances"][:, :k].tolist() == every["distances"][:, :k].tolist()
    width = found["distances"].shape[1]
    for at, key in enumerate(names):
        known = np.isfinite(found["distances"][at])
        assert (found["neighbours"][at] >= 0).tolist() == known.tolist()
        for distance, one in zip(found["distances"][at][known], found["neighbours"][at][known].tolist(), strict=True):
            assert abs(night.points[rows[one]] - night.points[key]) == distance
            assert rows[one] != key
        assert len(set(found["neighbours"][at][known].tolist())) == known.sum()
        # No row nearer than `within` is unknown, as long as there is room for it.
        nearer = (every["distances"][at] < found["within"][at]).sum()
        assert known.sum() >= min(nearer, width)


@st.composite
def chains(draw):
    """Pools of some nights: shapes of shards by name, and which shards each night has, in an order that stays."""
    names = "abcdefgh"
    shapes = {name: draw(st.lists(st.integers(0, 20), max_size=5)) for name in names}
    nights = draw(st.lists(st.sets(st.sampled_from(names), min_size=1), min_size=2, max_size=5))
    return shapes, [sorted(night) for night in nights], draw(st.integers(1, 4))


@examples(2)
@given(chains())
def test_rows_whose_neighbours_still_follow_have_exactly_those_of_todays_pool(chain):
    shapes, nights, k = chain
    width = k + SPARE
    before = Night(nights[0], shapes)
    known = with_radius(before.nearest(before.measured(before.names), width))
    check_exact(before, known, k)
    for shards in nights[1:]:
        now = Night(shards, shapes)
        same = [name for name in now.names if name in before.names]
        new = set(now.names) - set(same)
        left = still_exact(known, before.places(now), now.nearest(now.measured(same), width, new), k)
        assert set(left["row"].tolist()) <= set(moved_rows(known["row"], before.places(now)).tolist()) - {-1}
        check_exact(now, left, k)
        if set(before.names) <= set(now.names):
            # Nothing was lost.
            assert left["row"].tolist() == sorted(moved_rows(known["row"], before.places(now)).tolist())
        # The rows of new shards join, as they do in `find_exact`.
        fresh = with_radius(now.nearest(now.measured(new), width))
        both = {name: np.concatenate([left[name], fresh[name]]) for name in left}
        order = np.argsort(both["row"])
        before, known = now, {name: column[order] for name, column in both.items()}


def test_a_row_that_lost_a_neighbour_stays_if_another_stands_within_what_is_known():
    shapes = {"a": [0, 1], "b": [2], "c": [3], "d": [9]}
    before, now = Night("abc", shapes), Night("acd", shapes)
    known = with_radius(before.nearest([("a", 0)], 3))
    assert known["within"].tolist() == [3]
    new = now.nearest([("a", 0)], 3, {"d"})
    left = still_exact(known, before.places(now), new, 2)
    assert left["distances"].tolist() == [[1, 3, np.inf]]
    assert left["within"].tolist() == [3]
    # A third neighbour at distance 9 is not known to be the nearest: another could stand in between.
    assert len(still_exact(known, before.places(now), new, 3)["row"]) == 0


def test_a_row_that_knew_the_whole_pool_stays_whatever_it_loses():
    shapes = {"a": [0, 1], "b": [2], "d": [9]}
    before, now = Night("ab", shapes), Night("ad", shapes)
    known = with_radius(before.nearest([("a", 0)], 4))
    assert known["within"].tolist() == [np.inf]
    left = still_exact(known, before.places(now), now.nearest([("a", 0)], 4, {"d"}), 4)
    assert left["distances"].tolist() == [[1, 9, np.inf, np.inf]]
    assert left["within"].tolist() == [np.inf]


def queries_of(rows, measures, width=2):
    vectors = np.ones((len(rows), width), dtype=np.float16)
    return {"row": np.array(rows, dtype=np.int64), "measures": np.array(measures, dtype=bool), "vectors": vectors}


def few_of(rows, measures):
    """What a shard sampled, as `sample_shard` writes it."""
    queries = queries_of(rows, measures, 2 if rows else 0)
    return {f"query_{name}": column for name, column in queries.items()}


def test_sampled_rows_of_a_base_join_those_of_new_shards(store):
    base = store.child("base")
    base.write_arrays(QUERIES_NAME, queries_of([1 << 32, (1 << 32) + 1, 2 << 32, 3 << 32], [1, 0, 1, 0]))
    store.write_arrays(FEW_NAME.format("new"), few_of([5, 7], [True, False]))
    store.write_arrays(FEW_NAME.format("empty"), few_of([], []))
    places = np.array([-1, 1, -1, 2], dtype=np.int64)
    found = carry_queries(["new", "empty"], base.url, places, store.url)
    assert found == {"carried": 3, "fresh": 2}
    queries = store.read_arrays(QUERIES_NAME)
    assert queries["row"].tolist() == [5, 7, 1 << 32, (1 << 32) + 1, 2 << 32]
    assert queries["fresh"].tolist() == [True, True, False, False, False]
    assert queries["measures"].tolist() == [True, False, True, False, False]
    assert queries["vectors"].dtype == np.float16
    assert resample_queries(["new", "empty"], store.url) == {"carried": 0, "fresh": 2}
    assert store.read_arrays(QUERIES_NAME)["fresh"].tolist() == [True, True]


def test_of_a_base_that_is_all_gone_no_sampled_row_is_left(store):
    base = store.child("base")
    base.write_arrays(QUERIES_NAME, queries_of([0, 1], [1, 0]))
    assert carry_queries([], base.url, np.array([-1]), store.url) == {"carried": 0, "fresh": 0}
    assert store.read_arrays(QUERIES_NAME)["vectors"].shape[0] == 0


def write_night(store, night, rows, fresh, looked, width):
    """Write what shards found for the sampled rows, all of which measure recall."""
    queries = queries_of(night.ids(rows).tolist(), [True] * len(rows))
    store.write_arrays(QUERIES_NAME, queries | {"fresh": np.array([key in fresh for key in rows], dtype=bool)})
    for name in night.names:
        # Shards that are the same look for new rows alone.
        sought = night.nearest(rows, width, {name})
        if name not in looked:
            old = [key not in fresh for key in rows]
            sought["distances"][old], sought["neighbours"][old] = np.inf, -1
        store.write_arrays(NEAREST_NAME.format(name), {part: sought[part] for part in ("distances", "neighbours")})


@examples(0.4)
@given(chains())
def test_the_true_neighbours_that_are_written_are_true_night_after_night(chain):
    shapes, nights, k = chain
    width, root = k + SPARE, Store(f"memory://{uuid.uuid4().hex}")
    before, store = Night(nights[0], shapes), root.child("0")
    measured = before.measured(before.names)
    write_night(store, before, measured, set(measured), set(before.names), width)
    find_exact(before.names, None, np.zeros(0, np.int64), k, store.url)
    for number, shards in enumerate(nights[1:], 1):
        now, base, store = Night(shards, shapes), store, root.child(f"{number}")
        same = {name for name in now.names if name in before.names}
        known = set(moved_rows(base.read_arrays(EXACT)["row"], before.places(now)).tolist())
        rows = [key for key in now.measured(now.names) if key[0] not in same or now.id_of[key] in known]
        fresh = {key for key in rows if key[0] not in same}
        write_night(store, now, rows, fresh, set(now.names) - same, width)
        looked = now.names if fresh else [name for name in now.names if name not in same]
        found = find_exact(looked, base.url, before.places(now), k, store.url)
        exact = store.read_arrays(EXACT)
        assert (np.diff(exact["row"]) > 0).all()
        assert set(now.ids(sorted(fresh)).tolist()) <= set(exact["row"].tolist())
        assert found == {"rows": len(exact["row"]), "carried": len(exact["row"]) - len(fresh)}
        if exact["distances"].shape[1]:
            check_exact(now, exact, k)
            assert read_exact(store, k)[1].shape[1] == k
        before = now


def test_a_base_in_which_no_row_was_left_knows_no_neighbours(store):
    base, now = store.child("base"), Night("a", {"a": [0, 2, 3]})
    # Where no shard has a row, none says how many neighbours it would have found.
    base.write_arrays(QUERIES_NAME, queries_of([], []) | {"fresh": np.zeros(0, dtype=bool)})
    base.write_arrays(NEAREST_NAME.format("z"), {"asked": np.zeros(0, dtype=np.int64)})
    find_exact(["z"], None, np.zeros(0, np.int64), 1, base.url)
    rows = now.measured("a")
    write_night(store, now, rows, set(rows), {"a"}, 3)
    assert find_exact(["a"], base.url, np.array([-1]), 1, store.url) == {"rows": 2, "carried": 0}
    check_exact(now, store.read_arrays(EXACT), 1)


visits = st.lists(st.tuples(st.integers(0, 5), st.sets(st.integers(0, 5), max_size=3)), max_size=10).map(
    lambda rows: [(home, sorted(hosts - {home})) for home, hosts in rows]
)


def visits_of(rows):
    """The objects that `visit` writes of rows, each with a home and where it is a guest: visits and sums."""
    pairs = [(row, host) for row, (_, hosts) in enumerate(rows) for host in hosts]
    concept = np.array([home for home, _ in rows], dtype=np.int32)
    guest, host = (np.array([pair[at] for pair in pairs], dtype=np.int32) for at in (0, 1))
    sums = {"sizes": np.bincount(concept, minlength=6), "guests": np.bincount(host, minlength=6)}
    stands = {"row": np.arange(len(rows), dtype=np.int32), "concept": concept, "guest": guest, "guest_concept": host}
    return stands, sums


@given(visits, st.lists(st.booleans(), min_size=6, max_size=6))
def test_a_row_chooses_again_where_any_of_its_concepts_changed(rows, changed):
    again = again_rows(visits_of(rows)[0], np.array(changed))
    assert again.dtype == bool
    assert again.tolist() == [any(changed[concept] for concept in (home, *hosts)) for home, hosts in rows]


def shard_of(store, name):
    return PassingShard(EmbeddedShard(Shard(0, name, 1, ""), store), store)


def identity(name):
    return Shard(0, name, 1, "").identity


@examples(0.4)
@given(st.dictionaries(st.sampled_from("abcde"), visits, min_size=1), st.sets(st.sampled_from("abcde")), st.data())
def test_concepts_are_searched_that_share_a_row_with_a_changed_one(shapes, removed, data):
    root = Store(f"memory://{uuid.uuid4().hex}")
    base, store = root.child("base"), root.child("now")
    gone = sorted(set(shapes) & removed)
    now = sorted(set(shapes) - removed)
    new = data.draw(st.lists(st.sampled_from(now), unique=True)) if now else []
    sections = np.array([1, 2, 3], dtype=np.int32)
    store.write_arrays(INVITATION, {"sections": sections, "margin": np.array(1.0)})
    for name, rows in shapes.items():
        stands, sums = visits_of(rows)
        for place in [base] * (name not in new) + [store] * (name in now):
            place.write_arrays(VISITS_NAME.format(identity(name)), stands)
            place.write_arrays(STATISTICS_NAME.format(identity(name)), sums)
    counted = write_changed([identity(n) for n in new], [identity(n) for n in gone], base.url, store.url)
    standing = {name: [{home, *hosts} for home, hosts in rows] for name, rows in shapes.items()}
    changed = set().union(*(concepts for name in (*new, *gone) for concepts in standing[name]))
    assert np.flatnonzero(store.read_arrays(CHANGED)["changed"]).tolist() == sorted(changed)
    again = {name: find_searched(shard_of(store, name), store.url)["rows"] for name in now}
    assert again == {name: sum(bool(concepts & changed) for concepts in standing[name]) for name in now}
    searched = changed.union(*(concepts for name in now for concepts in standing[name] if concepts & changed))
    found = join_searched([identity(name) for name in now], store.url)
    touched = read_touched(store)
    assert np.flatnonzero(touched.changed).tolist() == sorted(changed)
    assert np.flatnonzero(touched.searched).tolist() == sorted(searched)
    assert found == counted | {"searched": len(searched)}
    assert store.exists(TOUCHED)
    assert len(store.names(SEARCHED_NAME.format(""))) == len(now)


def test_without_a_base_every_concept_is_new(store):
    assert read_touched(store) is None
