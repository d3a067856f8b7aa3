import uuid

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filtering.concepts.partition import (
    Partition,
    global_rows,
    partition_table,
    read_groups,
    read_partition,
    runs,
    shard_and_row,
    write_groups,
)
from filtering.storage import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(str(tmp_path_factory.mktemp("groups")))


@settings(max_examples=60, deadline=None)
@given(groups=st.lists(st.lists(st.integers(0, 5), max_size=20), min_size=1, max_size=3))
def test_groups_come_back_in_order(store, groups):
    store = store.child(uuid.uuid4().hex)
    names = [f"{number}.parquet" for number in range(len(groups))]
    for name, ones in zip(names, groups, strict=True):
        places = [f"{name}/{place}" for place in range(len(ones))]
        table = pa.table({"place": pa.array(places, pa.string()), "group": pa.array(ones, pa.int32())})
        write_groups(store, name, table, np.array(ones, dtype=np.int32))
    for group in range(7):
        expected = [
            f"{name}/{place}"
            for name, ones in zip(names, groups, strict=True)
            for place, one in enumerate(ones)
            if one == group
        ]
        table = read_groups(store, names, group)
        if expected:
            assert table["place"].to_pylist() == expected
            assert set(table["group"].to_pylist()) == {group}
        else:
            assert table is None


def test_an_empty_table_keeps_its_columns(store):
    write_groups(store, "none.parquet", pa.table({"row": pa.array([], pa.int64())}), np.array([], dtype=np.int32))
    assert read_groups(store, ["none.parquet"], 0) is None
    assert store.read_table("none.parquet").schema.names == ["row"]


def test_no_objects_hold_no_group(store):
    assert read_groups(store, [], 0) is None


def test_each_group_is_one_row_group(store):
    groups = np.array([4, 1, 4, 1, 1, 9])
    write_groups(store, "rows.parquet", pa.table({"row": np.arange(6)}), groups)
    file = pq.ParquetFile(store.path("rows.parquet"))
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [3, 2, 1]


def random_partition(random, rows, width=4):
    return Partition(
        global_rows(3, np.arange(rows)),
        np.array([random.bytes(16).hex() for _ in range(rows)], dtype="S32"),
        random.integers(0, 4, rows).astype(np.int32),
        random.integers(0, 4, rows).astype(np.int32),
        random.normal(size=(rows, width)).astype(np.float16),
    )


def test_a_partition_comes_back_sorted_by_concept_and_uid(store):
    random = np.random.default_rng(0)
    parts = [random_partition(random, 30), random_partition(random, 0), random_partition(random, 20)]
    names = []
    for number, part in enumerate(parts):
        names.append(f"part{number}.parquet")
        write_groups(store, names[-1], partition_table(part), part.concept % 2)
    for group in (0, 1):
        found = read_partition(store, names, group)
        expected = sorted(
            (concept, uid, row, home, vector.tobytes())
            for part in parts
            for row, uid, concept, home, vector in zip(
                part.row.tolist(),
                part.uid.tolist(),
                part.concept.tolist(),
                part.home.tolist(),
                part.vectors,
                strict=True,
            )
            if concept % 2 == group
        )
        columns = (found.concept.tolist(), found.uid.tolist(), found.row.tolist(), found.home.tolist())
        assert list(zip(*columns, (v.tobytes() for v in found.vectors), strict=True)) == expected
        assert found.vectors.dtype == np.float16
    assert read_partition(store, names, 2) is None


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**31 - 1), st.lists(st.integers(0, 2**32 - 1)))
def test_global_rows_tell_shard_and_row(shard, rows):
    ids = global_rows(shard, np.array(rows, dtype=np.int64))
    shards, back = shard_and_row(ids)
    assert back.tolist() == rows
    assert shards.tolist() == [shard] * len(rows)


def test_runs_of_equal_values():
    assert list(runs(np.array([]))) == []
    assert list(runs(np.array([2, 2, 5, 7, 7]))) == [slice(0, 2), slice(2, 3), slice(3, 5)]
