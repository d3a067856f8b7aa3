import numpy as np
import pyarrow as pa
import pytest
from typing_extensions import TypedDict

from filtering.core.errors import DamagedError
from filtering.core.parsing import Count
from filtering.storage.reading import read_as, read_columns, read_mapping_as, read_record_as, read_rows
from filtering.storage.store import Store

SCHEMA = pa.schema([("uid", pa.string()), ("size", pa.int64())])
ROWS = pa.table({"uid": ["a" * 32, "b" * 32], "size": pa.array([1, None], pa.int64())}, SCHEMA)


@pytest.fixture
def store(tmp_path):
    store = Store(str(tmp_path))
    store.write_table("rows", ROWS)
    store.write_arrays("arrays", {"row": np.arange(3), "uid": np.array([b"a"] * 3)})
    return store


def refused(call, *arguments, **named):
    with pytest.raises(DamagedError) as error:
        call(*arguments, **named)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_is_as_it_should_be_is_returned(store):
    assert read_rows(store, "rows", SCHEMA, nullable=("size",)).equals(ROWS)
    assert read_rows(store, "rows", SCHEMA, ["uid"]).column_names == ["uid"]
    assert read_columns(store, "arrays", row=np.int64, uid="S1")["row"].tolist() == [0, 1, 2]


def test_a_table_of_other_columns_is_refused(store):
    assert "its column size has rows without a value" in refused(read_rows, store, "rows", SCHEMA)
    other = pa.schema([("uid", pa.string()), ("size", pa.int32())])
    assert refused(read_rows, store, "rows", other).startswith(
        f"{store.path('rows')}: is damaged: its column size must be int32"
    )
    store.write_table("rows", ROWS.select(["size"]))
    assert "its column uid must be string" in refused(read_rows, store, "rows", SCHEMA, ["uid"])


@pytest.mark.parametrize(
    ("uid", "said"),
    [
        (pa.array([b"0" * 31 + b"\xff"]).cast(pa.string(), safe=False), "holds text that is not UTF-8"),
        (pa.array(["0" * 31]), "holds what is no uid of 32 characters"),
    ],
)
def test_texts_and_uids_that_cannot_be_are_refused(store, uid, said):
    schema = pa.schema([("uid", pa.string())])
    store.write_table("rows", pa.table([pa.array([], pa.string())], schema=schema))
    assert len(read_rows(store, "rows", schema)) == 0
    store.write_table("rows", pa.table([uid], schema=schema))
    assert f"its column uid {said}" in refused(read_rows, store, "rows", schema)


@pytest.mark.parametrize(
    "wrong", [np.arange(3.0), np.arange(3)[:, None], np.array(1), np.array(["x"] * 3), np.arange(3, dtype=np.int32)]
)
def test_an_array_of_another_dtype_or_shape_is_refused(store, wrong):
    store.write_arrays("arrays", {"row": wrong})
    assert "its array row must be int64 of one dimension" in refused(read_columns, store, "arrays", row=np.int64)


def test_arrays_that_are_missing_or_of_several_lengths_are_refused(store):
    assert "its array score must be" in refused(read_columns, store, "arrays", score=np.float32)
    store.write_arrays("arrays", {"row": np.arange(3), "concept": np.arange(2)})
    assert "must be of one length" in refused(read_columns, store, "arrays", row=np.int64, concept=np.int64)


class Line(TypedDict):
    kept: Count


@pytest.mark.parametrize("record", [{}, {"kept": "x"}, {"kept": None}, {"kept": 10**30}, {"kept": [1]}])
def test_a_record_of_another_form_is_refused_though_its_checksum_is_right(store, record):
    store.write_record("line", record)
    said = refused(read_record_as, store, "line", Line)
    assert "line: is damaged, or another version of filtering wrote it (kept: " in said


def test_a_record_of_which_every_key_is_data_is_a_mapping(store):
    store.write_record("near", {"0": [1, 2], "7": []})
    assert read_mapping_as(store, "near", dict[Count, list[Count]]) == {0: [1, 2], 7: []}
    store.write_record("near", {"0": [1], "x": [2]})
    assert "(x.[key]: " in refused(read_mapping_as, store, "near", dict[Count, list[Count]])


@pytest.mark.parametrize("data", [b"[]", b"7", b"null", b'"x"', b"", b"{", b"[" * 100_000, b"9" * 6000, b"\xff", b"{}"])
def test_json_that_is_no_object_is_refused(store, data):
    store.write("line", data)
    assert refused(store.read_record, "line").startswith(f"{store.path('line')}: ")
    if data != b"{}":
        assert refused(read_as, store, "line", Line, "delete it").endswith("; delete it")
