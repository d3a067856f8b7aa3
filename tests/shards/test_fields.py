import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from filtering.config.input import Input
from filtering.core.errors import InputError
from filtering.core.schemas import field_type
from filtering.shards.field_columns import check_fields, read_fields
from filtering.shards.fields import MOST_FACES, fields_of
from filtering.shards.inventory import list_shards

BOX = [0.1, 0.2, 0.5, 0.6]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((0.25, 0.25), (3, 3.0), (True, 1.0), (None, None), ("0.5", None), ([1], None), (float("nan"), None)),
        *((float("inf"), None), (10**400, None), ({}, None)),
    ],
)
def test_a_field_is_a_number_or_missing(value, expected):
    assert fields_of({"punsafe": value}, ["punsafe", "other"]) == {"punsafe": expected, "other": None}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *(([BOX, BOX], [BOX, BOX]), ([], []), (None, None), ([BOX[:3]], None), ([BOX, 1], None), ([["a"] * 4], None)),
        *(([BOX] * 1000, [BOX] * MOST_FACES), ("x", None), ([[None] * 4], None)),
    ],
)
def test_faces_are_boxes_or_missing(value, expected):
    assert fields_of({"face_bboxes": value}, ["face_bboxes"]) == {"face_bboxes": expected}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=12,
)


@examples(0.5)
@given(JSON)
def test_whatever_json_holds_a_field_fits_its_column(value):
    for name, cell in fields_of({"a": value, "face_bboxes": value}, ["a", "face_bboxes"]).items():
        assert len(pa.array([cell], field_type(name))) == 1


def test_columns_of_tables_are_read_and_what_is_no_number_is_missing(tmp_path):
    faces = [[BOX], [], None, [BOX, BOX], [[0.5]]]
    table = pa.table(
        {
            "PUNSAFE": pa.array([0.5, None, 1, 0, 2], pa.float32()),
            "text": [str(row) for row in range(5)],
            "flag": [True, False, None, True, True],
            "face_bboxes": pa.array(faces, pa.list_(pa.list_(pa.float64()))),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    names = ["punsafe", "text", "flag", "face_bboxes", "none"]
    found = {name: values.to_pylist() for name, values in read_fields(str(tmp_path / "a.parquet"), names, 5).items()}
    assert found["punsafe"] == [0.5, None, 1.0, 0.0, 2.0]
    assert found["flag"] == [1.0, 0.0, None, 1.0, 1.0]
    assert found["text"] == found["none"] == [None] * 5
    assert [None if boxes is None else len(boxes) for boxes in found["face_bboxes"]] == [1, 0, None, 2, None]


def test_rows_of_a_damaged_row_group_have_no_fields(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": [float(row) for row in range(300)]}), path, row_group_size=100, use_dictionary=False)
    data = bytearray(path.read_bytes())
    start = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    data[start : start + 60] = bytes(60)
    path.write_bytes(data)
    values = read_fields(str(path), ["a"], 300)["a"].to_pylist()
    assert values[:100] == [float(row) for row in range(100)]
    assert values[200:] == [float(row) for row in range(200, 300)]


def test_a_field_that_no_table_has_is_refused_with_the_nearest(tmp_path):
    pq.write_table(pa.table({"punsafe": [0.5], "uid": ["a"]}), tmp_path / "a.parquet")
    shards = list_shards(Input(tables=f"{tmp_path}/*.parquet", columns={"image": "i", "text": "t"}))
    check_fields(shards, ["punsafe"])
    with pytest.raises(InputError, match=r"^input\.fields: .*a\.parquet has no column punsave; did you mean punsafe\?"):
        check_fields(shards, ["punsave"])
