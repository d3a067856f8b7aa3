import uuid

import numpy as np
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from filtering.concepts.artifacts import REPLICATION, TOUCHED, Assignment, read_touched, write_assignment
from filtering.concepts.statistics import write_sums
from filtering.concepts.touched import (
    CHANGED,
    SEARCHED_NAME,
    find_searched,
    join_searched,
    rows_searched_again,
    write_changed,
)
from filtering.embedding.artifacts import EmbeddedShard
from filtering.filters.artifacts import PassingShard
from filtering.shards.inventory import Shard
from filtering.storage.store import Store

assignments = st.lists(st.tuples(st.integers(0, 5), st.sets(st.integers(0, 5), max_size=3)), max_size=10).map(
    lambda rows: [(home, sorted(others - {home})) for home, others in rows]
)


def assignment_of(rows):
    """Rows of a shard, each with a home concept and those of its replicas."""
    pairs = [(row, other) for row, (_, others) in enumerate(rows) for other in others]
    concept = np.array([home for home, _ in rows], dtype=np.int32)
    replica, other = (np.array([pair[at] for pair in pairs], dtype=np.int32) for at in (0, 1))
    return Assignment(np.arange(len(rows), dtype=np.int32), concept, replica, other)


@given(assignments, st.lists(st.booleans(), min_size=6, max_size=6))
def test_a_row_chooses_again_where_any_of_its_concepts_changed(rows, changed):
    again = rows_searched_again(assignment_of(rows), np.array(changed))
    assert again.dtype == bool
    assert again.tolist() == [any(changed[concept] for concept in (home, *others)) for home, others in rows]


def shard_of(store, name):
    return PassingShard(EmbeddedShard(Shard(0, name, 1, ""), store), store)


def identity(name):
    return Shard(0, name, 1, "").identity


@examples(0.4)
@given(st.dictionaries(st.sampled_from("abcde"), assignments, min_size=1), st.sets(st.sampled_from("abcde")), st.data())
def test_concepts_are_searched_that_share_a_row_with_a_changed_one(shapes, removed, data):
    root = Store(f"memory://{uuid.uuid4().hex}")
    base, store = root.child("base"), root.child("now")
    gone = sorted(set(shapes) & removed)
    now = sorted(set(shapes) - removed)
    new = data.draw(st.lists(st.sampled_from(now), unique=True)) if now else []
    sections = np.array([1, 2, 3], dtype=np.int32)
    store.write_arrays(REPLICATION, {"sections": sections, "margin": np.array(1.0)})
    for name, rows in shapes.items():
        assigned = assignment_of(rows)
        for place in [base] * (name not in new) + [store] * (name in now):
            write_assignment(place, identity(name), assigned)
            write_sums(place, identity(name), assigned, np.zeros(len(rows), dtype=np.float32), 6)
    counted = write_changed([identity(n) for n in new], [identity(n) for n in gone], base, store)
    standing = {name: [{home, *others} for home, others in rows] for name, rows in shapes.items()}
    changed = set().union(*(concepts for name in (*new, *gone) for concepts in standing[name]))
    assert np.flatnonzero(store.read_arrays(CHANGED)["changed"]).tolist() == sorted(changed)
    again = {name: find_searched(shard_of(store, name), store) for name in now}
    assert again == {name: sum(bool(concepts & changed) for concepts in standing[name]) for name in now}
    searched = changed.union(*(concepts for name in now for concepts in standing[name] if concepts & changed))
    found = join_searched([identity(name) for name in now], store)
    touched = read_touched(store)
    assert np.flatnonzero(touched.changed).tolist() == sorted(changed)
    assert np.flatnonzero(touched.searched).tolist() == sorted(searched)
    assert found == counted | {"searched": len(searched)}
    assert store.exists(TOUCHED)
    assert len(store.names(SEARCHED_NAME.format(""))) == len(now)


def test_without_a_base_every_concept_is_new():
    assert read_touched(Store(f"memory://{uuid.uuid4().hex}")) is None
