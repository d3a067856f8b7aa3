"""What a parquet file says of itself is read here, not by pyarrow, which some of it ends the process of."""

import io
import struct
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtering.shards.footer import Chunk, Pages, pages_of, read_footer
from filtering.shards.metadata import read_columns
from filtering.shards.parquet import BoundedParquet
from filtering.shards.thrift import ThriftError, read_fields

ROWS = 60
UIDS = [f"{row:032x}" for row in range(ROWS)]
CAPTIONS = [f"caption of row {row}" for row in range(ROWS)]


def written(**options):
    file = io.BytesIO()
    table = pa.table({"uid": UIDS, "extra": [{"a": [row], "b": str(row)} for row in range(ROWS)], "text": CAPTIONS})
    pq.write_table(table, file, **options)
    return file.getvalue()


OPTIONS = {
    "snappy": {},
    "zstd, version 2": {"compression": "zstd", "data_page_version": "2.0", "row_group_size": 25},
    "small pages": {"compression": "none", "use_dictionary": False, "data_page_size": 64, "write_batch_size": 8},
    "checksums": {"write_page_checksum": True, "write_page_index": True},
    "plain schema": {"store_schema": False, "write_statistics": False},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_footer_says_what_pyarrow_finds_in_it(options):
    data = written(**options)
    footer, known = read_footer(io.BytesIO(data), len(data)), pq.read_metadata(io.BytesIO(data))
    assert len(footer.groups) == known.num_row_groups
    for group, chunks in enumerate(footer.groups):
        flat = [(path, chunk) for path, some in chunks.items() for chunk in some]
        assert len(flat) == known.num_columns
        for place, (path, chunk) in enumerate(flat):
            column = known.row_group(group).column(place)
            assert path == column.path_in_schema
            assert (chunk.values, chunk.packed) == (column.num_values, column.total_compressed_size)
            assert chunk.dictionary == column.has_dictionary_page
            # The headers of pages count in the footer's sum.
            assert 0 < pages_of(io.BytesIO(data), chunk).unpacked < chunk.unpacked == column.total_uncompressed_size


def test_a_footer_longer_than_what_is_read_at_first_is_read_whole(monkeypatch):
    monkeypatch.setattr("filtering.shards.footer.TAIL_BYTES", 100)
    data = written()
    assert read_footer(io.BytesIO(data), len(data)).data == data[-8 - struct.unpack("<I", data[-8:-4])[0] : -8]
    assert BoundedParquet(io.BytesIO(data), len(data)).rows == ROWS


def patched(data, before, after):
    """The data with other bytes in the footer, at the first place where some stand."""
    start = len(data) - 8 - struct.unpack("<I", data[-8:-4])[0]
    at = data.index(before, start)
    return data[:at] + after + data[at + len(before) :]


def test_a_footer_that_contradicts_itself_does_not_end_the_process(tmp_path):
    # A column that may not lack values, with a histogram of those that it lacks: pyarrow ends the process when it is
    # asked what it knows of that column.
    data = patched(written(), b"\x15\x0c\x25\x02\x18\x04text", b"\x15\x0c\x25\x00\x18\x04text")
    (tmp_path / "x.parquet").write_bytes(data)
    found = read_columns(str(tmp_path / "x.parquet"))
    assert len(found) == ROWS
    assert set(found.reasons) <= {"", "metadata_unreadable"}


def test_a_page_that_says_less_in_the_footer_is_counted_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr("filtering.shards.parquet.BYTES_ALWAYS", 1 << 16)
    file = io.BytesIO()
    table = pa.table({"uid": UIDS, "text": ["x" * 60_000] * ROWS})
    pq.write_table(table, file, use_dictionary=False, compression="zstd")
    data = file.getvalue()
    column = pq.read_metadata(io.BytesIO(data)).row_group(0).column(1)
    true, size = varint(2 * column.total_uncompressed_size), column.total_uncompressed_size
    lie = bytes([*([0x82] + [0x80] * (len(true) - 2)), 0])
    (tmp_path / "x.parquet").write_bytes(patched(data, true, lie))
    found = read_columns(str(tmp_path / "x.parquet"))
    assert set(found.reasons) == {"metadata_unreadable"}
    assert found.details[0].startswith(f"says that column text unpacks to {size / 1e6:.2f} MB")


def varint(number):
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


@pytest.fixture
def repeating(tmp_path):
    """A small table of which each long caption begins as the one before does, and ends there."""
    path = str(tmp_path / "x.parquet")
    table = pa.table({"uid": [f"{row:032x}" for row in range(2_000)], "text": ["x" * 60_000] * 2_000})
    encodings = {"uid": "PLAIN", "text": "DELTA_BYTE_ARRAY"}
    pq.write_table(table, path, use_dictionary=False, column_encoding=encodings, write_statistics=False)
    return path


def test_cells_that_repeat_the_one_before_are_read_within_bounds(repeating, memory, monkeypatch):
    monkeypatch.setattr("filtering.shards.parquet.BYTES_ALWAYS", 1 << 20)
    found = read_columns(repeating)
    assert set(found.reasons) == {"metadata_unreadable"}
    assert "unpack to more than" in found.details[0]
    assert memory.max_memory() < 60 << 20


def test_a_flipped_bit_is_found_where_pages_have_checksums(tmp_path):
    options = {"write_page_checksum": True, "use_dictionary": False, "compression": "none", "row_group_size": 30}
    data = bytearray(written(**options))
    data[data.index(b"caption of row 7")] ^= 4
    (tmp_path / "x.parquet").write_bytes(data)
    found = read_columns(str(tmp_path / "x.parquet"))
    assert set(found.reasons[:30]) == {"metadata_unreadable"}
    assert found.details[0].startswith("column text cannot be read (could not verify page integrity")
    assert found.table["caption"].to_pylist()[30:] == CAPTIONS[30:]


@given(st.binary(max_size=60))
def test_bytes_are_fields_or_no_structure(data):
    started = time.process_time()
    try:
        fields, end = read_fields(data)
    except ThriftError:
        pass
    else:
        assert 0 < end <= len(data)
        assert all(isinstance(field, int) for field in fields)
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x19\xf5\xff\xff\xff\xff\x0f", "more values than there are bytes"),
        (b"\x1c" * 50, "nested too deep"),
        (b"\x19" + b"\x19" * 60, "nested too deep"),
        (b"\x16" + b"\x80" * 12, "too many bytes"),
        (b"\x18\x7fx", "ends within"),
        (b"\x1e\0", "unknown kind 14"),
    ],
)
def test_structures_that_lie_are_refused(data, why):
    with pytest.raises(ThriftError, match=why):
        read_fields(data)


def test_pages_that_reach_beyond_their_column_are_refused():
    header = bytes([0x15, 0, 0x15, 20, 0x15, 200, 5, 0x4C, 0x15, 2, 0x15, 0, 0, 0])
    chunk = Chunk(kind=6, width=0, values=1, unpacked=10, packed=40, start=0, dictionary=False)
    with pytest.raises(ThriftError, match="longer than its column"):
        pages_of(io.BytesIO(header + bytes(26)), chunk)
    assert pages_of(io.BytesIO(header), Chunk(6, 0, 0, 10, 40, 0, False)) == Pages()
