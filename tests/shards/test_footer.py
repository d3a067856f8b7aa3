import contextlib
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from filtering.shards.footer import read_footer
from filtering.shards.metadata import UnreadableError, read_columns, row_count

UIDS = ["0" * 32, "f" * 32, "a" * 32]


def footer_of(data):
    return read_footer(io.BytesIO(data), len(data))


def written(table, **options):
    pq.write_table(table, buffer := io.BytesIO(), **options)
    return buffer.getvalue()


def as_pyarrow_says(data):
    known = pq.read_metadata(io.BytesIO(data))
    groups = [known.row_group(group) for group in range(known.num_row_groups)]
    return [[group.column(place) for place in range(group.num_columns)] for group in groups]


@examples(1)
@given(
    st.lists(st.tuples(st.text(max_size=9), st.integers(-(2**40), 2**40), st.lists(st.floats(width=32))), max_size=40),
    st.integers(1, 9),
    st.booleans(),
    st.sampled_from(["none", "snappy", "zstd"]),
)
def test_chunks_are_those_that_pyarrow_tells(rows, group_rows, dictionary, compression):
    kinds = [("text", pa.string()), ("wide", pa.int64()), ("vector", pa.list_(pa.float32()))]
    columns = [pa.array([row[place] for row in rows], kind) for place, (_, kind) in enumerate(kinds)]
    table = pa.table({**dict(zip(["text", "wide", "vector"], columns, strict=True)), "yes": [True] * len(rows)})
    table = table.replace_schema_metadata({"of": "a test"})
    options = {"row_group_size": group_rows, "use_dictionary": dictionary, "compression": compression}
    data = written(table, **options)
    found = [[chunk for some in group.values() for chunk in some] for group in footer_of(data).groups]
    assert [[(chunk.values, chunk.unpacked, chunk.dictionary) for chunk in group] for group in found] == [
        [(chunk.num_values, chunk.total_uncompressed_size, chunk.has_dictionary_page) for chunk in group]
        for group in as_pyarrow_says(data)
    ]


@pytest.mark.parametrize(
    "change",
    [(b"\x15\x0c%\x02\x18\x04text", b"\x15\x00%\x02\x18\x04text"), (b"%\x02\x18\x04text", b"%\x00\x18\x04text")],
)
def test_statistics_that_contradict_a_column_end_no_process(tmp_path, change):
    # pyarrow's Python classes abort here: "Unencoded byte array data bytes does not support BOOLEAN", and "Definition
    # level histogram size mismatch".
    data = written(pa.table({"uid": UIDS, "text": ["a", "b", "c"], "original_width": [1, 2, 3]}))
    assert data.count(change[0]) == 1
    (tmp_path / "x.parquet").write_bytes(data.replace(*change))
    rows = read_columns(str(tmp_path / "x.parquet"))
    assert rows.reasons.tolist() == ["metadata_unreadable"] * 3
    assert all("column text cannot be read" in detail for detail in rows.details)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PAR1",
        b"PAR1" * 3,
        b"PAR1\0\0\0\0PAR1",
        b"PAR1\xff\0\0\0PAR1",
        b"\xff" * 4 + b"PAR1",
        b"P" * 50 + b"\0\0\0\1PAR1",
        b"PAR1....\4\0\0\0PARE",
        b"x" * 99,
        b"x" * 100,
    ],
)
def test_what_is_no_parquet_is_unreadable(tmp_path, data):
    (tmp_path / "x.parquet").write_bytes(data)
    for read in (read_columns, row_count):
        with pytest.raises(UnreadableError, match=r"x\.parquet: the table cannot be read \("):
            read(str(tmp_path / "x.parquet"))


@examples(3)
@given(st.data())
def test_a_damaged_footer_is_a_value_error_or_chunks(data):
    whole = written(pa.table({"uid": UIDS, "wide": [1, 2, 3]}))
    footer = bytearray(footer_of(whole).data)
    for _ in range(data.draw(st.integers(1, 3))):
        footer[data.draw(st.integers(0, len(footer) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(footer[: data.draw(st.integers(0, len(footer)))])
    file = b"PAR1" + cut + len(cut).to_bytes(4, "little") + b"PAR1"
    with contextlib.suppress(ValueError):
        assert isinstance(footer_of(file).groups, tuple)
