import uuid
from collections import defaultdict

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from filtering.concepts.partition import (
    by_partition,
    global_rows,
    moved_rows,
    read_partition,
    row_dtype,
    shard_and_row,
)
from filtering.runtime.shuffle import packed, write_groups
from filtering.storage.store import Store

MOST = 4


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(str(tmp_path_factory.mktemp("partitions")))


@st.composite
def members(draw):
    """Rows of a shard, each with up to four concepts of six, and the partitions of the concepts."""
    lists = draw(st.lists(st.lists(st.integers(0, 5), max_size=MOST, unique=True), max_size=12))
    pairs = draw(st.permutations([(row, concept) for row, own in enumerate(lists) for concept in own]))
    return pairs, draw(st.lists(st.integers(0, 3), min_size=6, max_size=6))


@given(members())
def test_a_row_is_copied_to_each_partition_once(given_members):
    pairs, partition_of = given_members
    expected = defaultdict(list)
    for row, concept in pairs:
        expected[row, partition_of[concept]].append(concept)
    rows, concepts = (np.array([pair[at] for pair in pairs], dtype=np.int32) for at in range(2))
    rows, partitions, lists = by_partition(rows, concepts, np.array(partition_of, dtype=np.int32), MOST)
    assert (rows.dtype, partitions.dtype, lists.dtype) == (np.int64, np.int32, np.int32)
    assert lists.shape == (len(rows), MOST)
    copied = list(zip(rows.tolist(), partitions.tolist(), strict=True))
    assert copied == sorted(expected)
    for key, found in zip(copied, lists.tolist(), strict=True):
        wanted = sorted(expected[key])
        assert found == wanted + [-1] * (MOST - len(wanted))


def write_shard(store, name, shard, parts):
    """Write (partition, uid, home, concepts, vector) as the rows of a shard, and return their global ids."""
    dtype = row_dtype(3, MOST)
    lists = np.full((len(parts), MOST), -1, dtype=np.int32)
    for place, part in enumerate(parts):
        lists[place, : len(part[3])] = part[3]
    ids = global_rows(shard, np.arange(len(parts)))
    columns = {"row": ids, "uid": np.array([part[1] for part in parts], dtype="S32")}
    vectors = np.array([part[4] for part in parts], dtype=np.float16).reshape(-1, 3)
    records = packed(dtype, **columns, home=np.array([part[2] for part in parts]), concepts=lists, vector=vectors)
    groups = np.array([part[0] for part in parts], dtype=np.int32)
    write_groups(store, name, groups, dtype, records.__getitem__)
    return ids.tolist()


@st.composite
def shards(draw):
    """Rows of some shards: a partition, a uid, a home and concepts; the home is among them or elsewhere."""
    uids = iter(draw(st.permutations([f"{number:032x}".encode() for number in range(30)])))
    parts = st.tuples(st.integers(0, 2), st.integers(0, 5), st.lists(st.integers(0, 5), min_size=1, max_size=4))
    drawn = draw(st.lists(st.lists(parts, max_size=10), min_size=1, max_size=3))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return [[(p, next(uids), home, sorted(set(own)), random.normal(size=3)) for p, home, own in part] for part in drawn]


@examples(0.4)
@given(shards())
def test_the_rows_of_a_partition_come_back(store, given_shards):
    store = store.child(uuid.uuid4().hex)
    names = [f"{number}.grouped" for number in range(len(given_shards))]
    every = []
    for shard, (name, parts) in enumerate(zip(names, given_shards, strict=True)):
        ids = write_shard(store, name, shard, parts)
        every += [(part, row) for part, row in zip(parts, ids, strict=True)]
    for number in range(4):
        here = sorted([one for one in every if one[0][0] == number], key=lambda one: one[1])
        found = read_partition(store, names, number)
        if not here:
            assert found is None
            continue
        assert found.uid.tolist() == [part[1] for part, _ in here]
        assert found.row.tolist() == [row for _, row in here]
        assert found.home.tolist() == [part[2] for part, _ in here]
        assert found.vectors.dtype == np.float16
        assert np.array_equal(found.vectors, np.array([part[4] for part, _ in here], dtype=np.float16))
        # By concept: first its home rows, then its replicas, each by id.
        ordered = sorted(
            (concept, concept != part[2], place) for place, (part, _) in enumerate(here) for concept in part[3]
        )
        assert found.concept.tolist() == [one[0] for one in ordered]
        assert found.place.tolist() == [one[2] for one in ordered]


def test_home_rows_come_before_replicas():
    store = Store(f"memory://{uuid.uuid4().hex}")
    vector = [1, 2, 3]
    parts = [(0, b"d", 1, [1], vector), (0, b"a", 0, [0, 1], vector), (0, b"c", 1, [0, 1], vector)]
    write_shard(store, "0.grouped", 0, parts)
    found = read_partition(store, ["0.grouped"], 0)
    # In the order of the pool, whatever the uids.
    assert found.uid.tolist() == [b"d", b"a", b"c"]
    assert found.concept.tolist() == [0, 0, 1, 1, 1]
    assert found.uid[found.place].tolist() == [b"a", b"c", b"d", b"c", b"a"]


def test_no_objects_hold_no_partition(store):
    assert read_partition(store, [], 0) is None


@given(st.integers(0, 2**31 - 1), st.lists(st.integers(0, 2**32 - 1)))
def test_global_rows_tell_shard_and_row(shard, rows):
    ids = global_rows(shard, np.array(rows, dtype=np.int64))
    shards, back = shard_and_row(ids)
    assert back.tolist() == rows
    assert shards.tolist() == [shard] * len(rows)


@given(
    st.lists(st.tuples(st.integers(-1, 4), st.integers(0, 2**32 - 1))),
    st.lists(st.integers(-1, 2**31 - 1), min_size=5, max_size=5),
)
def test_rows_move_with_their_shards(rows, places):
    ids = np.array([-1 if shard < 0 else (shard << 32) | row for shard, row in rows], dtype=np.int64)
    expected = [-1 if shard < 0 or places[shard] < 0 else (places[shard] << 32) | row for shard, row in rows]
    assert moved_rows(ids, np.array(places, dtype=np.int64)).tolist() == expected
