import uuid

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtering.runtime import shuffle
from filtering.runtime.shuffle import packed, read_groups, runs, write_groups
from filtering.storage.retries import taken
from filtering.storage.store import Store

RECORD = np.dtype([("writer", "<i4"), ("place", "<i8")])


@pytest.fixture(scope="module", params=["disk", "memory"])
def store(request, tmp_path_factory):
    if request.param == "memory":
        return Store(f"memory://{uuid.uuid4().hex}")
    return Store(str(tmp_path_factory.mktemp("exchange")))


def write(store, name, groups, writer=0):
    """Write one record a place, that tells the writer and the place."""
    places = np.arange(len(groups))
    records = packed(RECORD, writer=np.full(len(groups), writer), place=places)
    return write_groups(store, name, np.array(groups, dtype=np.int32), RECORD, records.__getitem__)


def written(store, groupings):
    names = [f"{writer}.records" for writer in range(len(groupings))]
    return names, [write(store, names[writer], groups, writer) for writer, groups in enumerate(groupings)]


def expected(groupings, first, last):
    """Every record of the groups [first, last): by writer, group and place."""
    return [
        (writer, place)
        for writer, groups in enumerate(groupings)
        for group in range(first, last)
        for place, one in enumerate(groups)
        if one == group
    ]


@given(
    groupings=st.lists(st.lists(st.integers(0, 6), max_size=25), min_size=1, max_size=4),
    first=st.integers(0, 7),
    count=st.integers(0, 8),
)
def test_ranges_of_groups_come_back_in_order(store, groupings, first, count):
    store = store.child(uuid.uuid4().hex)
    names, present = written(store, groupings)
    assert present == [sorted(set(groups)) for groups in groupings]
    for last in (first + count, None):
        wanted = expected(groupings, first, first + 1 if last is None else last)
        found = read_groups(store, names, first, last)
        if wanted:
            assert found.dtype == RECORD
            assert found.tolist() == wanted
        else:
            assert found is None


def test_the_objects_are_read_in_the_order_of_their_names(store):
    names, _ = written(store.child("order"), [[1, 0], [1, 1]])
    assert read_groups(store.child("order"), names[::-1], 1).tolist() == [(1, 0), (1, 1), (0, 0)]


def test_an_object_without_the_group_adds_nothing(store):
    names, _ = written(store.child("without"), [[3, 5], [4], [5]])
    assert read_groups(store.child("without"), names, 5).tolist() == [(0, 1), (2, 0)]
    assert read_groups(store.child("without"), names, 4).tolist() == [(1, 0)]
    for absent in (0, 2, 6):
        assert read_groups(store.child("without"), names, absent) is None


def test_an_empty_object_holds_no_group(store):
    assert write(store, "empty", []) == []
    write(store, "full", [0, 0])
    assert read_groups(store, ["empty"], 0, 10) is None
    assert read_groups(store, ["empty", "full", "empty"], 0).tolist() == [(0, 0), (0, 1)]


def test_no_objects_hold_no_group(store):
    assert read_groups(store, [], 0) is None


def test_every_kind_of_field_comes_back(store):
    random = np.random.default_rng(0)
    fields = [("row", "<i8"), ("uid", "S32"), ("home", "<i4"), ("lists", "<i4", (3,)), ("grid", "<f2", (2, 5))]
    dtype = np.dtype(fields)
    columns = {
        "row": random.integers(-(2**62), 2**62, 40),
        "uid": np.array([random.bytes(16).hex() for _ in range(40)], dtype="S32"),
        "home": random.integers(-1, 9, 40),
        "lists": random.integers(-1, 100, (40, 3)),
        "grid": random.normal(size=(40, 2, 5)).astype(np.float16),
    }
    groups = random.integers(0, 4, 40)
    write_groups(store, "fields", groups, dtype, packed(dtype, **columns).__getitem__)
    for group in range(4):
        found = read_groups(store, ["fields"], group)
        assert found.dtype == dtype
        for name, values in columns.items():
            assert np.array_equal(found[name], values[groups == group])


def test_more_groups_than_one_request_tells_of(store):
    groups = np.random.default_rng(1).permutation(np.arange(0, 20_000, 4))
    write(store, "many", groups.tolist())
    assert int.from_bytes(store.read("many")[:8], "little") > 2 * shuffle.HEADER_BYTES
    places = {int(group): place for place, group in enumerate(groups)}
    for group in (0, 4, 9_996, 19_996):
        assert read_groups(store, ["many"], group)["place"].tolist() == [places[group]]
    assert read_groups(store, ["many"], 19_997) is None
    assert read_groups(store, ["many"], 3) is None
    assert read_groups(store, ["many"], 5_000, 5_010)["place"].tolist() == [places[at] for at in (5_000, 5_004, 5_008)]


@pytest.mark.parametrize("count", [3, 100, 1_400])
def test_a_reader_asks_for_its_own_records_alone(store, count):
    groups = np.repeat(np.arange(count), 200)
    write(store, "large", groups.tolist())
    header = 16 + int.from_bytes(store.read("large")[:8], "little")
    taken()
    assert len(read_groups(store, ["large"], 1)) == 200
    assert taken()["read_bytes"] <= max(header, shuffle.HEADER_BYTES) + 200 * RECORD.itemsize


@pytest.mark.parametrize("size", [1, RECORD.itemsize, 5 * RECORD.itemsize, 5 * RECORD.itemsize + 1])
def test_small_chunks_make_the_same_object(store, monkeypatch, size):
    groups = np.random.default_rng(2).integers(0, 5, 123)
    write(store, "object", groups.tolist())
    whole, asked = store.read("object"), []
    records = packed(RECORD, writer=np.zeros(123), place=np.arange(123))

    def record(places):
        asked.append(len(places))
        return records[places]

    monkeypatch.setattr(shuffle, "CHUNK_BYTES", size)
    write_groups(store, "object", groups, RECORD, record)
    assert store.read("object") == whole
    assert max(asked) == max(1, size // RECORD.itemsize)
    assert sum(asked) == 123


def test_equal_records_make_equal_objects(store):
    found = []
    for _ in range(2):
        write(store, "object", [2, 0, 1, 0, 2])
        found.append(store.read("object"))
    assert found[0] == found[1]


def test_writing_again_replaces_the_object(store):
    write(store, "twice", [0, 1, 1])
    write(store, "twice", [2])
    assert read_groups(store, ["twice"], 0, 9).tolist() == [(0, 0)]


@given(st.lists(st.integers(0, 5)).map(sorted))
def test_runs_of_equal_values(values):
    found = list(runs(np.array(values, dtype=np.int64)))
    assert [len(set(values[span])) for span in found] == [1] * len(set(values))
    assert [value for span in found for value in values[span]] == values


def test_columns_are_packed():
    records = packed(RECORD, place=np.array([5, 6]), writer=np.array([1, 2]))
    assert records.dtype == RECORD
    assert records.tolist() == [(1, 5), (2, 6)]
    assert len(packed(RECORD, place=np.zeros(0), writer=np.zeros(0))) == 0
