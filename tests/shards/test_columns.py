import decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from filtering.shards import columns, parquet
from filtering.shards.metadata import UnreadableError, malformed_uids, read_columns

UIDS = [f"{row:032x}" for row in range(4)]
GOOD = ["a cat", "a dog", "a fox", "an owl"]


def read(folder, **given):
    path = str(folder / "x.parquet")
    pq.write_table(pa.table({"uid": UIDS, **given}), path)
    return read_columns(path)


TEXTS = {
    "text": pa.string(),
    "large": pa.large_string(),
    "view": pa.string_view(),
    "bytes": pa.binary(),
    "large bytes": pa.large_binary(),
    "encoded": pa.dictionary(pa.int32(), pa.string()),
}


@pytest.mark.parametrize("kind", TEXTS.values(), ids=TEXTS)
def test_text_of_every_type_is_read(tmp_path, kind):
    found = read(tmp_path, text=pa.array(GOOD).cast(kind), key=pa.array(["k1", "k2", None, "k4"]).cast(kind))
    assert found.table["caption"].to_pylist() == GOOD
    assert found.table["key"].to_pylist() == ["k1", "k2", UIDS[2], "k4"]
    assert found.reasons.tolist() == [""] * 4


def no_text(values, kind):
    """Strings of any bytes: Arrow does not look at them when it is given buffers."""
    data = pa.array(values, pa.binary())
    plain = pa.Array.from_buffers(pa.string(), len(data), data.buffers())
    return plain.dictionary_encode() if kind == "encoded" else plain if kind == "text" else data


@pytest.mark.parametrize("kind", ["text", "bytes", "encoded"])
def test_a_cell_that_is_not_utf8_costs_its_own_row(tmp_path, kind):
    found = read(
        tmp_path,
        text=no_text([b"a cat", b"caf\xe9", b"a fox", b"\xed\xa0\x80"], kind),
        key=no_text([b"k1", b"k2", b"\xffk3", b"k4"], kind),
    )
    assert found.reasons.tolist() == ["", "caption_not_utf8", "key_not_utf8", "caption_not_utf8"]
    # What tables are made of is text, whatever was read.
    assert found.table["key"].to_pylist() == ["k1", "k2", "\ufffdk3", "k4"]
    found.table.validate(full=True)


def test_a_uid_that_is_no_text_is_no_uid_and_nothing_else(tmp_path):
    path = str(tmp_path / "x.parquet")
    pq.write_table(pa.table({"uid": no_text([UIDS[0].encode(), b"\xff", b"u" * 9000], "text"), "text": GOOD[:3]}), path)
    found = read_columns(path)
    assert found.table["uid"].to_pylist() == [UIDS[0], "\ufffd", "u" * 60]
    assert malformed_uids(found.table["uid"]).tolist() == [False, True, True]


def test_a_uid_that_is_missing_is_null(tmp_path):
    path = str(tmp_path / "x.parquet")
    pq.write_table(pa.table({"uid": [UIDS[0], None, None], "key": ["k1", "k2", None]}), path)
    found = read_columns(path)
    assert found.table["uid"].to_pylist() == [UIDS[0], None, None]
    assert found.table["key"].to_pylist() == ["k1", "k2", ""]
    assert malformed_uids(found.table["uid"]).tolist() == [False, True, True]


def test_captions_without_a_visible_character_are_empty(tmp_path):
    found = read(tmp_path, text=["a", "\ufeff\u200b", None, " \x00"])
    assert found.reasons.tolist() == ["", "caption_empty", "caption_empty", "caption_empty"]


def test_captions_that_are_all_missing_are_empty_whether_their_column_has_a_type_or_none(tmp_path):
    for nothing in (pa.nulls(4), pa.nulls(4, pa.string())):
        assert read(tmp_path, text=nothing).reasons.tolist() == ["caption_empty"] * 4


@pytest.mark.parametrize("encoded", [True, False])
def test_captions_have_the_bound_that_they_have_in_tars(tmp_path, encoded):
    texts = pa.array(["a", "x" * (64 << 10), "x" * (64 << 10 | 1), "x" * 1_000_000])
    found = read(tmp_path, text=texts.dictionary_encode() if encoded else texts, key=["k", "k" * 4096, "l", "k" * 4097])
    assert found.reasons.tolist() == ["", "", "caption_too_long", "name_too_long"]
    assert found.table["caption"].to_pylist()[:2] == texts.to_pylist()[:2]


NOT_SIZES = {
    "text": (["512", "None", "", " 7 "], [512, None, None, 7]),
    "text of floats": (["512.0", "1e3", "-1", "512.5"], [512, None, None, None]),
    "floats": ([512.0, float("nan"), float("inf"), -1.0], [512, None, None, None]),
    "fractions": ([0.5, 3e10, 7.0, None], [None, None, 7, None]),
    "int64": (pa.array([512, 2**32 + 1, -5, 2**31]), [512, None, None, None]),
    "uint64": (pa.array([512, 2**64 - 1, 0, None], pa.uint64()), [512, None, 0, None]),
    "halves": (pa.array([512.0, float("nan"), 1.5, 0.0], pa.float16()), [512, None, None, 0]),
    "decimals": (
        [decimal.Decimal("512.0"), decimal.Decimal("1.5"), None, decimal.Decimal(2**40)],
        [512, None, None, None],
    ),
    "encoded": (pa.array(["512", "None", None, "512"]).dictionary_encode(), [512, None, None, 512]),
    "nothing": (pa.nulls(4), [None] * 4),
}


@pytest.mark.parametrize(("values", "expected"), NOT_SIZES.values(), ids=NOT_SIZES)
def test_a_size_that_is_no_whole_number_of_pixels_is_not_known(tmp_path, values, expected):
    found = read(tmp_path, original_width=values)
    assert found.table["width"].to_pylist() == expected
    assert found.reasons.tolist() == [""] * 4


UNREADABLE = {
    "lists": ({"text": [["a"], [], None, ["b"]]}, "column text holds list<element: string>, not text"),
    "structures": ({"text": [{"a": "b"}] * 4}, "column text holds struct<a: string>, not text"),
    "size lists": ({"original_width": [[1]] * 4}, "column original_width holds list<element: int64>, not numbers"),
    "truths": ({"original_height": [True] * 4}, "column original_height holds bool, not numbers"),
    "key maps": ({"key": [[1]] * 4}, "column key holds list<element: int64>, not text"),
}


@pytest.mark.parametrize(("given", "detail"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_column_that_holds_no_such_cells_is_named_and_its_rows_are_counted(tmp_path, given, detail):
    found = read(tmp_path, **given)
    assert found.reasons.tolist() == ["metadata_unreadable"] * 4
    assert set(found.details) == {detail}
    assert found.table["uid"].to_pylist() == UIDS


def test_a_table_with_a_column_twice_has_no_usable_row(tmp_path):
    path = str(tmp_path / "x.parquet")
    pq.write_table(pa.table([UIDS, GOOD, GOOD], names=["uid", "text", "text"]), path)
    assert read_columns(path).reasons.tolist() == ["metadata_unreadable"] * 4
    assert set(read_columns(path).details) == {"has 2 columns text"}


def test_a_damaged_row_group_costs_its_own_rows_and_names_the_column(tmp_path):
    path = tmp_path / "x.parquet"
    # Unencoded, so that a page is where the footer says, and compressed, so that damage is seen.
    table = pa.table({"uid": UIDS, "text": [text * 50 for text in GOOD]})
    pq.write_table(table, path, row_group_size=2, use_dictionary=False, compression="zstd")
    place = pq.read_metadata(path).row_group(1).column(1)
    data = bytearray(path.read_bytes())
    end = place.data_page_offset + place.total_compressed_size
    data[end - 20 : end] = bytes(20)
    path.write_bytes(data)
    found = read_columns(str(path))
    assert found.reasons.tolist() == ["", "", "metadata_unreadable", "metadata_unreadable"]
    assert found.details[2].startswith("column text cannot be read (")
    assert found.table["uid"].to_pylist()[:2] == UIDS[:2]


def test_a_bit_that_changed_in_a_page_with_a_checksum_is_noticed(tmp_path):
    path = tmp_path / "x.parquet"
    table = pa.table({"uid": UIDS, "text": GOOD})
    # Plain and not compressed: nothing but the checksum tells that it is another text.
    options = {"use_dictionary": False, "compression": "none", "write_page_checksum": True}
    pq.write_table(table, path, row_group_size=2, **options)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"a fox", b"a fix"))
    found = read_columns(str(path))
    assert found.reasons.tolist() == ["", "", "metadata_unreadable", "metadata_unreadable"]
    assert "column text cannot be read (" in found.details[2] and "CRC" in found.details[2]


def bomb(folder, rows, text, **options):
    """A table whose captions are one cell of a dictionary."""
    path = str(folder / "bomb.parquet")
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), [text])
    table = pa.table({"uid": [f"{row:032x}" for row in range(rows)], "text": texts})
    pq.write_table(table, path, store_schema=False, compression="zstd", **options)
    return path


def test_a_long_caption_that_a_dictionary_repeats_takes_its_own_length(tmp_path, memory):
    path = bomb(tmp_path, 2_000, "x" * 1_000_000)
    found = read_columns(path)
    assert set(found.reasons) == {"caption_too_long"}
    assert memory.max_memory() < 100 << 20


@pytest.fixture
def few_bytes(monkeypatch):
    monkeypatch.setattr(parquet, "BYTES_ALWAYS", 1 << 16)


def test_pages_that_unpack_to_more_than_the_file_may_are_not_read(tmp_path, few_bytes):
    found = read_columns(bomb(tmp_path, 200, "x" * 10_000, use_dictionary=False))
    assert found.reasons.tolist() == ["metadata_unreadable"] * 200
    assert found.details[0].startswith("says that column text unpacks to 2.00 MB")


def test_captions_are_taken_until_a_file_has_too_much_text(tmp_path, few_bytes):
    # 2,000 bytes each, all from one cell of a dictionary.
    path = bomb(tmp_path, 1_000, "x" * 2_000)
    reasons = read_columns(path).reasons.tolist()
    assert set(reasons) == {"", "shard_text_too_large"}
    assert reasons == sorted(reasons)
    allowed = parquet.BYTES_ALWAYS + parquet.BYTES_A_BYTE * (tmp_path / "bomb.parquet").stat().st_size
    assert reasons.count("") == allowed // 2_000


def test_cells_of_one_length_count_as_they_are_in_memory(tmp_path, few_bytes):
    path = str(tmp_path / "x.parquet")
    wide = pa.array([b"x" * 5_000] * 200, pa.binary(5_000))
    pq.write_table(pa.table({"uid": [f"{row:032x}" for row in range(200)], "text": wide}), path)
    assert "column text unpacks to 1.00 MB" in read_columns(path).details[0]


def test_more_rows_than_a_file_can_hold_are_not_believed(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "ROWS_ALWAYS", 100)
    path = str(tmp_path / "x.parquet")
    pq.write_table(pa.table({"uid": pa.nulls(100_000, pa.string())}), path)
    with pytest.raises(UnreadableError, match="it has 100,000 rows, which a file of"):
        read_columns(path)


def test_rows_are_read_in_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "BATCH_ROWS", 3)
    found = read(tmp_path, text=["a", "", "c", "d"], original_width=[1, None, 3, 4])
    assert found.table["caption"].to_pylist() == ["a", "", "c", "d"]
    assert found.table["width"].to_pylist() == [1, None, 3, 4]
    assert found.reasons.tolist() == ["", "caption_empty", "", ""]
    assert found.table.schema == columns.SCHEMA
