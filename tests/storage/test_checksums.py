"""Objects that carry their own checksum: they stay what their format is, and no damage passes."""

import json
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtering.core.errors import DamagedError
from filtering.storage.checksums import (
    KEY,
    PLAIN_SLOT,
    MissingError,
    array_bytes,
    arrays_bytes,
    content_sum,
    fill_file,
    moved,
    record_bytes,
    table_bytes,
)
from filtering.storage.store import Store

TABLE = pa.table({"uid": ["a", "filtering.crc32=deadbeef"], "n": [1, 2]})
ARRAYS = {"a": np.arange(7), "b": np.zeros((2, 3), np.float16)}
RECORD = {"text": 'filtering.crc32": "deadbeef', "list": [1, None]}
READERS = {
    "t.parquet": (lambda url: table_bytes(url, TABLE), lambda store: store.read_table("t.parquet")),
    "a.npz": (lambda url: arrays_bytes(url, ARRAYS), lambda store: store.read_arrays("a.npz")),
    "v.npy": (lambda url: array_bytes(url, ARRAYS["a"]), lambda store: store.read_array("v.npy")),
    "r.json": (lambda url: record_bytes(url, RECORD), lambda store: store.read_record("r.json")),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(str(tmp_path_factory.mktemp("checked") / "stage"))


@pytest.fixture(params=READERS)
def written(request, store):
    make, read = READERS[request.param]
    store.write(request.param, make(store.path(request.param)))
    return request.param, read


def test_what_is_written_is_read(store):
    store.write_table("t.parquet", TABLE)
    store.write_arrays("a.npz", ARRAYS)
    store.write_record("r.json", RECORD)
    assert store.read_table("t.parquet").equals(TABLE)
    assert store.read_table("t.parquet").schema.metadata is None
    assert store.read_table("t.parquet", ["n"]).column_names == ["n"]
    assert all(np.array_equal(store.read_arrays("a.npz")[name], array) for name, array in ARRAYS.items())
    assert store.read_record("r.json") == RECORD


def test_objects_stay_valid_in_their_own_format(store, tmp_path):
    for name, (make, _) in READERS.items():
        (tmp_path / name).write_bytes(make(store.path(name)))
    assert pq.read_table(tmp_path / "t.parquet").equals(TABLE)
    assert np.array_equal(np.load(tmp_path / "a.npz")["a"], ARRAYS["a"])
    assert np.array_equal(np.load(tmp_path / "v.npy", mmap_mode="r"), ARRAYS["a"])
    assert RECORD.items() <= json.loads((tmp_path / "r.json").read_text()).items()


@pytest.mark.parametrize(
    "damage", [lambda data: bytes(len(data)), lambda data: data[: len(data) // 2], lambda data: b""]
)
def test_damage_is_named(written, store, damage):
    name, read = written
    store.write(name, damage(store.read(name)))
    with pytest.raises(DamagedError, match=name):
        read(store)


@given(name=st.sampled_from(sorted(READERS)), at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_flipped_bit_passes(store, name, at, bit):
    make, read = READERS[name]
    data = bytearray(make(store.path(name)))
    data[int(at * len(data))] ^= 1 << bit
    store.write(name, bytes(data))
    with pytest.raises(DamagedError, match=name):
        read(store)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("other", [b"", b"PAR1PAR1", b"PK\5\6", b"\x93NUMPY\1\0\2\0{\n", b"[1]"])
def test_what_is_something_else_under_a_right_checksum_is_named(store, name, other):
    store.write(name, moved(store.path(name), other + PLAIN_SLOT))
    with pytest.raises(DamagedError, match=rf"{name}: is .*damaged") as damaged:
        READERS[name][1](store)
    assert "\n" not in str(damaged.value)


def test_an_array_that_an_npz_lacks_is_named(store):
    store.write_arrays("few.npz", ARRAYS)
    with pytest.raises(DamagedError, match=r"few\.npz: is damaged: it has no array scores"):
        store.read_arrays("few.npz")["scores"]


def test_a_folder_is_no_object(store):
    store.write_record("inner/r.json", RECORD)
    for name in ("", "inner", "inner/r.json/x"):
        with pytest.raises(MissingError, match="is missing"):
            store.read_checked(name)


def test_an_object_does_not_stand_for_another(written, store):
    name, read = written
    store.write(f"other-{name}", store.read(name))
    with pytest.raises(DamagedError, match="its checksum differs"):
        store.read_checked(f"other-{name}")
    with pytest.raises(DamagedError, match="its checksum differs"):
        store.child("other").write(name, store.read(name)) or read(store.child("other"))


def test_a_copy_is_an_object_of_its_own(written, store):
    name, read = written
    other = store.child("copied")
    other.copy(name, store)
    read(other)
    assert other.read(name) != store.read(name)
    assert content_sum(other.read(name)) == content_sum(store.read(name))


def test_what_is_missing_is_named(store):
    with pytest.raises(MissingError, match=r"none\.npy: is missing; give the command of that run again") as missing:
        store.read_array("none.npy")
    assert isinstance(missing.value, FileNotFoundError)
    assert str(pickle.loads(pickle.dumps(missing.value))) == str(missing.value)


def test_a_file_is_filled_before_it_becomes_an_object(store, tmp_path):
    data = array_bytes("elsewhere/x.npy", ARRAYS["b"])
    (tmp_path / "x").write_bytes(data)
    fill_file(store.path("v.npy"), tmp_path / "x")
    store.write("v.npy", (tmp_path / "x").read_bytes())
    assert np.array_equal(store.read_array("v.npy"), ARRAYS["b"])
    assert KEY.encode() in store.read("v.npy")
