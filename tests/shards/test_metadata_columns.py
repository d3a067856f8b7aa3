"""The columns of a DataComp parquet: by which names they are taken, and the uids of rows that bring none."""

import numpy as np
import pyarrow as pa
import pytest
from metadata_files import UIDS, parquet

from filtering.core.uids import derived_uid
from filtering.shards.columns import with_uids
from filtering.shards.metadata import (
    malformed_uids,
    read_columns,
)


def test_datacomp_columns_are_renamed(tmp_path):
    path = parquet(
        tmp_path,
        uid=UIDS,
        key=["k1", "k2"],
        text=["a", None],
        original_width=[3, 4],
        original_height=[5, None],
        url=["", ""],
    )
    table = read_columns(path).table
    assert table.to_pydict() == {
        "uid": UIDS,
        "key": ["k1", "k2"],
        "caption": ["a", ""],
        "width": [3, 4],
        "height": [5, None],
        "url": ["", ""],
        "sha256": [None, None],
    }


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([True, False], pa.bool_()),
        ([1, 2], pa.duration("s")),
        ([1, 2], pa.date32()),
        ([1, 2], pa.time32("ms")),
        ([1, 2], pa.timestamp("us")),
    ],
)
def test_truth_values_and_times_are_no_captions(tmp_path, cells, kind):
    found = read_columns(parquet(tmp_path, uid=UIDS, text=pa.array(cells, kind)))
    assert found.reasons.tolist() == ["metadata_unreadable"] * 2
    assert found.details.tolist() == [f"column text holds {kind}, not text"] * 2


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64()])
def test_nan_is_no_caption(tmp_path, kind):
    cells = pa.array(np.array([np.nan, 1.5], kind.to_pandas_dtype()), kind)
    found = read_columns(parquet(tmp_path, uid=UIDS, text=cells))
    assert found.table["caption"].to_pylist() == ["", "1.5"]


def test_missing_columns_have_defaults(tmp_path):
    found = read_columns(parquet(tmp_path, uid=UIDS))
    assert found.reasons.tolist() == ["", ""]
    assert found.table.to_pydict() == {
        "uid": UIDS,
        "key": UIDS,
        "caption": ["", ""],
        "width": [None, None],
        "height": [None, None],
        "url": [None, None],
        "sha256": [None, None],
    }


def test_a_caption_column_stands_in_for_text(tmp_path):
    found = read_columns(parquet(tmp_path, uid=UIDS, caption=["x", "y"]))
    assert found.table["caption"].to_pylist() == ["x", "y"]


def test_columns_may_be_named_in_capitals_as_laions_are(tmp_path):
    found = read_columns(parquet(tmp_path, UID=UIDS, TEXT=["x", "y"], WIDTH=[3, 4], HEIGHT=[5, 6], URL=["", ""]))
    assert found.reasons.tolist() == ["", ""]
    assert found.table.to_pydict() == {
        "uid": UIDS,
        "key": UIDS,
        "caption": ["x", "y"],
        "width": [3, 4],
        "height": [5, 6],
        "url": ["", ""],
        "sha256": [None, None],
    }


def test_a_column_in_small_letters_comes_before_one_in_capitals(tmp_path):
    for columns in ({"TEXT": ["a"], "caption": ["b"]}, {"Caption": ["a"], "text": ["b"]}):
        assert read_columns(parquet(tmp_path, **columns)).table["caption"].to_pylist() == ["b"]


def test_the_size_of_the_original_picture_comes_before_that_of_the_stored_one(tmp_path):
    path = parquet(tmp_path, uid=UIDS, width=[1, 1], original_width=[3, 4])
    assert read_columns(path).table["width"].to_pylist() == [3, 4]


def test_an_upper_case_uid_is_lowered(tmp_path):
    table = read_columns(parquet(tmp_path, uid=["AB" * 16, "x"])).table
    assert table["uid"].to_pylist() == table["key"].to_pylist() == ["ab" * 16, "x"]
    assert malformed_uids(table["uid"]).tolist() == [False, True]


@pytest.mark.parametrize(
    ("columns", "keys"),
    [
        ({"key": ["a", "b"]}, ["a", "b"]),
        ({"key": ["a", None]}, ["a", "1"]),
        ({"key": [7, 8]}, ["7", "8"]),
        ({"key": [None, "0"]}, ["row 0", "0"]),
        ({"key": ["row 1", None]}, ["row 1", "1"]),
        ({"text": ["x", "y"]}, ["0", "1"]),
        ({"other": [1, 2]}, ["0", "1"]),
        ({"uid": pa.array([None, None], pa.string())}, ["0", "1"]),
    ],
)
def test_a_row_without_a_uid_gets_one_of_shard_and_key_or_number(tmp_path, columns, keys):
    found = with_uids(read_columns(parquet(tmp_path, **columns)), "/pool/0.parquet")
    assert found.reasons.tolist() == ["", ""]
    assert found.table["key"].to_pylist() == keys
    assert found.table["uid"].to_pylist() == [derived_uid("/pool/0.parquet", key) for key in keys]


def test_only_a_uid_that_is_missing_is_derived(tmp_path):
    found = with_uids(read_columns(parquet(tmp_path, uid=[UIDS[0], None], key=["a", "b"])), "p")
    assert found.table["uid"].to_pylist() == [UIDS[0], derived_uid("p", "b")]


def test_a_row_that_cannot_be_used_is_given_no_uid(tmp_path):
    found = with_uids(read_columns(parquet(tmp_path, text=["x", " "], other=[1, 2])), "p")
    assert found.reasons.tolist() == ["", "caption_empty"]
    assert found.table["uid"].to_pylist() == [derived_uid("p", "0"), None]
    assert found.table["key"].to_pylist() == ["0", ""]


def test_malformed_uids_are_marked():
    uids = pa.chunked_array([["0" * 32, None], ["x" * 32, "A" * 32, "0" * 31, "9" * 32]])
    assert malformed_uids(uids).tolist() == [False, True, True, True, True, False]


def test_a_url_or_a_hash_that_cannot_be_read_costs_no_row(tmp_path):
    cells = {"url": [[1], [2]], "sha256": [True, False]}
    found = read_columns(parquet(tmp_path, text=["a", "b"], **cells))
    assert found.reasons.tolist() == ["", ""]
    assert found.table["url"].null_count == found.table["sha256"].null_count == 2
    found = read_columns(parquet(tmp_path, text=["a", "b"], url=[b"\xff", b"http://x/1"], sha256=["AB", None]))
    assert found.table["url"].to_pylist() == [None, "http://x/1"]
    assert found.table["sha256"].to_pylist() == ["ab", None]
