import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from filtering.config.input import Columns
from filtering.core.errors import InputError
from filtering.core.uids import derived_uid
from filtering.embedding.artifacts import EmbeddedShard, half_rows
from filtering.embedding.metadata import MetadataReader
from filtering.embedding.vector_columns import ColumnVectors
from filtering.shards.inventory import Shard, current
from filtering.storage.store import Store

UIDS = [f"{row:032x}" for row in range(4)]
VECTORS = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
COLUMNS = Columns(image="image_embedding", text="text_embedding")


@pytest.fixture
def table(tmp_path):
    """Write a table with columns of vectors, and others if given; return it as a shard."""

    def write(name="a", row_group_size=None, **given):
        path = tmp_path / f"{name}.parquet"
        vectors = {"image_embedding": VECTORS.tolist(), "text_embedding": VECTORS.tolist()}
        columns = {"uid": UIDS, "text": ["a", "b", "c", "d"], **vectors, **given}
        pq.write_table(pa.table(columns), path, row_group_size=row_group_size)
        return current(Shard(0, str(path), 0, ""))

    return write


@pytest.fixture
def read(tmp_path):
    """Read a shard; return the counts, and the shard as it is embedded."""

    def read(shard, columns=COLUMNS):
        store = Store(str(tmp_path / "embedded"))
        return MetadataReader(ColumnVectors(columns))(shard, store), EmbeddedShard(shard, store)

    return read


def test_vectors_are_kept_as_halves_of_length_1(table, read):
    counts, embedded = read(table(row_group_size=3))
    assert (counts["rows"], counts["dimension"]) == (4, 8)
    assert embedded.images().dtype == np.float16
    assert np.array_equal(embedded.images(), half_rows(VECTORS))
    assert embedded.rows()["clip_score"].to_pylist() == pytest.approx([1] * 4, abs=1e-3)


KINDS = {
    "lists": pa.list_(pa.float64()),
    "large lists": pa.large_list(pa.float32()),
    "lists of a fixed length": pa.list_(pa.float32(), 8),
    "halves": pa.list_(pa.float16(), 8),
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_kind_of_list_of_numbers_is_read(table, read, kind):
    vectors = VECTORS.astype(np.float16)
    cells = pa.array(list(vectors), kind)
    _, embedded = read(table(image_embedding=cells, text_embedding=cells))
    # Vectors of any length are scaled to 1 but for halves, which every stage reads as they are.
    images = embedded.images().astype(np.float32)
    expected = half_rows(vectors.astype(np.float32))
    assert np.allclose(images / np.linalg.norm(images, axis=1)[:, None], expected, atol=2e-3)
    assert len(embedded.rows()) == 4


def test_tensors_of_arrow_are_read(table, read):
    cells = pa.FixedShapeTensorArray.from_numpy_ndarray(VECTORS)
    _, embedded = read(table(image_embedding=cells))
    assert np.array_equal(embedded.images(), half_rows(VECTORS))


def test_one_bad_cell_costs_one_sample(table, read):
    cells = VECTORS.tolist()
    images = [cells[0], None, cells[2], [*cells[3][:-1], float("nan")]]
    texts = [cells[0], cells[1], cells[2][:3], cells[3]]
    counts, embedded = read(table(image_embedding=images, text_embedding=texts))
    found = embedded.quarantined()
    assert embedded.rows()["source_row"].to_pylist() == [0]
    assert counts["quarantine_reasons"] == dict.fromkeys(found["reason"].to_pylist(), 1)
    assert list(zip(found["reason"].to_pylist(), found["detail"].to_pylist(), strict=True)) == [
        ("embedding_missing", "column image_embedding has no vector"),
        ("embedding_dimension", "column text_embedding has 3 numbers, not 8"),
        ("embedding_not_finite", ""),
    ]


def test_a_null_among_a_vectors_numbers_costs_its_sample(table, read):
    cells = VECTORS.tolist()
    cells[1][0] = None
    assert read(table(image_embedding=cells))[0]["quarantine_reasons"] == {"embedding_not_finite": 1}


def test_columns_are_read_under_the_names_that_are_given(table, read):
    shard = table(ALT=["w", "x", "y", "z"], id=[7, 8, 9, 10], w=[5] * 4)
    columns = Columns(image="image_embedding", text="text_embedding", caption="alt", key="id", width="w")
    _, embedded = read(shard, columns)
    rows = embedded.rows()
    assert rows["caption"].to_pylist() == ["w", "x", "y", "z"]
    assert rows["key"].to_pylist() == ["7", "8", "9", "10"]
    assert rows["width"].to_pylist() == [5] * 4


def test_a_row_without_a_uid_gets_one_of_table_and_key(table, read):
    shard = table(uid=pa.nulls(4), id=["k0", "k1", "k2", "k3"])
    _, embedded = read(shard, Columns(image="image_embedding", text="text_embedding", key="id"))
    assert embedded.rows()["uid"][0].as_py() == derived_uid(shard.url, "k0")


def test_a_wrong_name_is_refused_with_the_nearest(table):
    line = r"^input\.columns\.image: .*has no column image_emb; did you mean image_embedding\?"
    with pytest.raises(InputError, match=line):
        ColumnVectors(Columns(image="image_emb", text="text_embedding")).check([table()])
    with pytest.raises(InputError, match=r"^input\.columns\.key: .*has no column name"):
        ColumnVectors(COLUMNS.model_copy(update={"key": "name"})).check([table()])


UNUSABLE = {
    "text": (["a"] * 4, "column image_embedding holds string, not lists of numbers"),
    "lists of text": ([["a"]] * 4, "column image_embedding holds list<element: string>, not lists of numbers"),
    "nothing": (pa.nulls(4, pa.list_(pa.float32())), "column image_embedding has no vectors"),
    "another dimension": ([[1.0, 2.0]] * 4, "image vectors have 2 numbers, text vectors 8"),
}


@pytest.mark.parametrize(("cells", "detail"), UNUSABLE.values(), ids=UNUSABLE)
def test_columns_that_hold_no_vectors_are_a_mismatch_of_the_table(table, read, cells, detail):
    shard = table(image_embedding=cells)
    with pytest.raises(InputError) as refused:
        ColumnVectors(COLUMNS).check([shard])
    assert str(refused.value) == f"input.tables: no table has vectors that can be used; {shard.url}: {detail}"
    counts, embedded = read(shard)
    assert counts["quarantine_reasons"] == {"arrays_mismatch": 4}
    assert set(embedded.quarantined()["detail"].to_pylist()) == {detail}


def test_a_table_without_a_column_that_another_has_costs_its_rows_alone(table, read, tmp_path):
    pq.write_table(pa.table({"uid": UIDS, "text": UIDS, "text_embedding": VECTORS.tolist()}), tmp_path / "b.parquet")
    counts, _ = read(current(Shard(0, str(tmp_path / "b.parquet"), 0, "")))
    assert counts["quarantine_reasons"] == {"arrays_mismatch": 4}


def test_a_damaged_row_group_of_vectors_costs_the_table(table, read, tmp_path):
    shard = table()
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    place = pq.ParquetFile(shard.url).metadata.row_group(0).column(2).data_page_offset
    data[place : place + 40] = b"\xff" * 40
    (tmp_path / "a.parquet").write_bytes(data)
    counts, _ = read(current(shard))
    assert counts["samples"] == 4
    assert set(counts["quarantine_reasons"]) == {"arrays_unreadable"}


NUMBERS = st.none() | st.lists(st.none() | st.floats(width=32), max_size=5)


@examples(0.5)
@given(st.lists(NUMBERS, min_size=1, max_size=12), st.data())
def test_every_row_ends_in_one_place_whatever_its_cells_hold(tmp_path_factory, images, data):
    texts = data.draw(st.lists(NUMBERS, min_size=len(images), max_size=len(images)))
    folder, count = tmp_path_factory.mktemp("columns"), len(images)
    cells = {name: pa.array(lists, pa.list_(pa.float32())) for name, lists in (("i", images), ("t", texts))}
    uids = [f"{row:032x}" for row in range(count)]
    pq.write_table(pa.table({"uid": uids, "text": uids, **cells}), folder / "a.parquet")
    shard, store = current(Shard(0, str(folder / "a.parquet"), 0, "")), Store(str(folder / "out"))
    counts = MetadataReader(ColumnVectors(Columns(image="i", text="t")))(shard, store)
    embedded = EmbeddedShard(shard, store)
    rows = embedded.rows()
    assert len(rows) + len(embedded.quarantined()) == count == counts["samples"]
    kept = rows["source_row"].to_numpy()
    lengths = {len(images[row]) for row in kept} | {len(texts[row]) for row in kept}
    assert len(lengths) <= 1
    assert np.isfinite(rows["clip_score"].to_numpy()).all()
    assert np.isfinite(embedded.images()[kept]).all()
