import uuid

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from line_pools import SPARE, LinePool, chains, check_exact

from filtering.concepts.artifacts import EXACT, QUERIES_NAME, read_exact
from filtering.concepts.partition import moved_rows
from filtering.concepts.reuse import BaseConcepts, find_exact, resample_queries, reuse_queries
from filtering.concepts.training import FEW_NAME
from filtering.concepts.true_neighbours import NEAREST_NAME
from filtering.storage.store import Store


@pytest.fixture
def store():
    return Store(f"memory://{uuid.uuid4().hex}")


def queries_of(rows, measures, width=2):
    vectors = np.ones((len(rows), width), dtype=np.float16)
    return {"row": np.array(rows, dtype=np.int64), "measures": np.array(measures, dtype=bool), "vectors": vectors}


def few_of(rows, measures):
    """The sampled rows of a shard, as `sample_shard` writes them."""
    queries = queries_of(rows, measures, 2 if rows else 0)
    return {f"query_{name}": column for name, column in queries.items()}


def test_sampled_rows_of_a_base_join_those_of_new_shards(store):
    base = store.child("base")
    base.write_arrays(QUERIES_NAME, queries_of([1 << 32, (1 << 32) + 1, 2 << 32, 3 << 32], [1, 0, 1, 0]))
    store.write_arrays(FEW_NAME.format("new"), few_of([5, 7], [True, False]))
    store.write_arrays(FEW_NAME.format("empty"), few_of([], []))
    places = np.array([-1, 1, -1, 2], dtype=np.int64)
    found = reuse_queries(["new", "empty"], BaseConcepts(base, places), store)
    assert found == {"reused": 3, "fresh": 2}
    queries = store.read_arrays(QUERIES_NAME)
    assert queries["row"].tolist() == [5, 7, 1 << 32, (1 << 32) + 1, 2 << 32]
    assert queries["fresh"].tolist() == [True, True, False, False, False]
    assert queries["measures"].tolist() == [True, False, True, False, False]
    assert queries["vectors"].dtype == np.float16
    assert resample_queries(["new", "empty"], store) == {"reused": 0, "fresh": 2}
    assert store.read_arrays(QUERIES_NAME)["fresh"].tolist() == [True, True]


def test_of_a_base_that_is_all_gone_no_sampled_row_is_left(store):
    base = store.child("base")
    base.write_arrays(QUERIES_NAME, queries_of([0, 1], [1, 0]))
    assert reuse_queries([], BaseConcepts(base, np.array([-1])), store) == {"reused": 0, "fresh": 0}
    assert store.read_arrays(QUERIES_NAME)["vectors"].shape[0] == 0


def write_found(store, pool, rows, fresh, searched, width):
    """Write the nearest rows that shards found for the sampled rows, all of which measure recall."""
    queries = queries_of(pool.ids(rows).tolist(), [True] * len(rows))
    store.write_arrays(QUERIES_NAME, queries | {"fresh": np.array([key in fresh for key in rows], dtype=bool)})
    for name in pool.names:
        # Unchanged shards are searched for new rows alone.
        found = pool.nearest(rows, width, {name})
        if name not in searched:
            old = [key not in fresh for key in rows]
            found["distances"][old], found["neighbours"][old] = np.inf, -1
        store.write_arrays(NEAREST_NAME.format(name), {part: found[part] for part in ("distances", "neighbours")})


@examples(0.4)
@given(chains())
def test_the_true_neighbours_that_are_written_are_true_run_after_run(chain):
    shapes, runs, k = chain
    width, root = k + SPARE, Store(f"memory://{uuid.uuid4().hex}")
    before, store = LinePool(runs[0], shapes), root.child("0")
    measured = before.measured(before.names)
    write_found(store, before, measured, set(measured), set(before.names), width)
    find_exact(before.names, None, k, store)
    for number, shards in enumerate(runs[1:], 1):
        now, base, store = LinePool(shards, shapes), store, root.child(f"{number}")
        same = {name for name in now.names if name in before.names}
        known = set(moved_rows(base.read_arrays(EXACT)["row"], before.places(now)).tolist())
        rows = [key for key in now.measured(now.names) if key[0] not in same or now.id_of[key] in known]
        fresh = {key for key in rows if key[0] not in same}
        write_found(store, now, rows, fresh, set(now.names) - same, width)
        searched = now.names if fresh else [name for name in now.names if name not in same]
        found = find_exact(searched, BaseConcepts(base, before.places(now)), k, store)
        exact = store.read_arrays(EXACT)
        assert (np.diff(exact["row"]) > 0).all()
        assert set(now.ids(sorted(fresh)).tolist()) <= set(exact["row"].tolist())
        assert found == {"rows": len(exact["row"]), "reused": len(exact["row"]) - len(fresh)}
        if exact["distances"].shape[1]:
            check_exact(now, exact, k)
            assert read_exact(store, k)[1].shape[1] == k
        before = now


def test_a_base_in_which_no_row_was_left_knows_no_neighbours(store):
    base, now = store.child("base"), LinePool("a", {"a": [0, 2, 3]})
    # Where no shard has a row, none says how many neighbours it would have found.
    base.write_arrays(QUERIES_NAME, queries_of([], []) | {"fresh": np.zeros(0, dtype=bool)})
    base.write_arrays(NEAREST_NAME.format("z"), {"asked": np.zeros(0, dtype=np.int64)})
    find_exact(["z"], None, 1, base)
    rows = now.measured("a")
    write_found(store, now, rows, set(rows), {"a"}, 3)
    assert find_exact(["a"], BaseConcepts(base, np.array([-1])), 1, store) == {"rows": 2, "reused": 0}
    check_exact(now, store.read_arrays(EXACT), 1)
