import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from filtering.core.errors import InputError
from filtering.embedding.target_vectors import read_targets, target_file

VECTORS = np.array([[3.0, 4.0], [0.0, 2.0], [-1.0, 0.0]])
UNIT = [[0.6, 0.8], [0, 1], [-1, 0]]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_npy_files(tmp_path, dtype):
    np.save(tmp_path / "x.npy", VECTORS.astype(dtype))
    found = read_targets(str(tmp_path / "x.npy"))
    assert found.dtype == np.float32
    assert np.allclose(found, UNIT)


def test_npz_files(tmp_path):
    np.savez(tmp_path / "x.npz", other=np.zeros(3), images=VECTORS)
    assert np.allclose(read_targets(f"{tmp_path}/x.npz#images"), UNIT)
    with pytest.raises(InputError, match="no array image; did you mean images"):
        read_targets(f"{tmp_path}/x.npz#image")
    with pytest.raises(InputError, match=r"x\.npz#NAME"):
        read_targets(f"{tmp_path}/x.npz")


@pytest.mark.parametrize(
    ("url", "file", "name"),
    [
        ("a/x.npy", "a/x.npy", ""),
        ("a#b/x.npy", "a#b/x.npy", ""),
        ("x.npz", "x.npz", ""),
        ("x.npz#a#b", "x.npz", "a#b"),
        ("a#b/x.npz#c", "a#b/x.npz", "c"),
        ("a.npz/x.parquet#c#.npy", "a.npz/x.parquet", "c#.npy"),
    ],
)
def test_the_path_of_targets_ends_with_its_suffix(url, file, name):
    assert target_file(url) == (file, name)


@pytest.mark.parametrize("url", ["images", "images#1", "x.npz/", "x.npz.gz#x", ""])
def test_what_has_no_such_suffix_is_a_directory(url):
    assert target_file(url) is None


def test_remote_files():
    with fsspec.open("memory://targets/x.npy", "wb") as file:
        np.save(file, VECTORS)
    assert np.allclose(read_targets("memory://targets/x.npy"), UNIT)


@pytest.mark.parametrize(
    "kind",
    [pa.list_(pa.float32()), pa.list_(pa.float32(), 2), pa.large_list(pa.float64()), pa.list_(pa.float16())],
)
def test_columns_of_parquet_files(tmp_path, kind):
    column = pa.array([np.asarray(row, np.float16) for row in VECTORS], pa.list_(pa.float16())).cast(kind)
    pq.write_table(pa.table({"image": column}), tmp_path / "x.parquet", row_group_size=2)
    assert np.allclose(read_targets(f"{tmp_path}/x.parquet#image"), UNIT, atol=1e-3)


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        ([[1.0, 2.0], [1.0]], pa.list_(pa.float32()), "lists of 1 to 2"),
        ([[1.0, 2.0], None], pa.list_(pa.float32()), "nulls"),
        ([[1.0, 2.0], None], pa.list_(pa.float32(), 2), "nulls"),
        ([[1.0, None]], pa.list_(pa.float32()), "nulls"),
        ([[1, 2]], pa.list_(pa.int32()), "lists of floats"),
        (["a"], pa.string(), "lists of floats"),
        ([], pa.list_(pa.float32()), "shape"),
        ([[]], pa.list_(pa.float32()), "shape"),
        ([[1.0, float("nan")]], pa.list_(pa.float32()), "NaN"),
    ],
)
def test_columns_that_hold_no_vectors_are_refused(tmp_path, values, kind, message):
    pq.write_table(pa.table({"image": pa.array(values, kind)}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match=message):
        read_targets(f"{tmp_path}/x.parquet#image")


def test_a_missing_column_is_refused_with_the_nearest(tmp_path):
    pq.write_table(pa.table({"image": pa.array([[1.0]])}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match="no column images; did you mean image"):
        read_targets(f"{tmp_path}/x.parquet#images")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(3), "shape"),
        (np.zeros((0, 3)), "shape"),
        (np.zeros((2, 2), int), "must hold floats"),
        (np.array([[1.0, np.inf]]), "infinity"),
    ],
)
def test_arrays_that_are_no_vectors_are_refused(tmp_path, array, message):
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(InputError, match=message):
        read_targets(str(tmp_path / "x.npy"))


def test_nothing_is_unpickled(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "x.npz", x=np.array([{}], dtype=object), allow_pickle=True)
    for url in ("x.npy", "x.npz#x"):
        with pytest.raises(InputError, match="cannot be read"):
            read_targets(f"{tmp_path}/{url}")


@pytest.mark.parametrize("url", ["x.npy", "x.npz#x", "x.parquet#x"])
def test_files_that_are_not_there_or_damaged_are_refused(tmp_path, url):
    with pytest.raises(InputError, match="is not there"):
        read_targets(f"{tmp_path}/{url}")
    (tmp_path / url.partition("#")[0]).write_bytes(b"not what its name says")
    with pytest.raises(InputError, match="cannot be read") as caught:
        read_targets(f"{tmp_path}/{url}")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("url", ["images", "images/", "x.txt", "x.npz.gz#x", "x.npy#x"])
def test_other_urls_are_refused(url):
    with pytest.raises(InputError, match=r"\.npz#NAME, \.parquet#COLUMN, or a directory of images"):
        read_targets(url)


def test_targets_that_say_they_are_larger_than_their_file_are_not_given_room(tmp_path):
    with (tmp_path / "x.npy").open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (10**12, 512)})
    with pytest.raises(InputError, match=r"targets: .*x\.npy cannot be read .*\(1000000000000, 512\), which the file"):
        read_targets(str(tmp_path / "x.npy"))


def test_compressed_targets_that_unpack_to_far_more_than_their_file_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("filtering.shards.metadata.BYTES_ALWAYS", 1 << 16)
    np.savez_compressed(tmp_path / "x.npz", zeros=np.zeros((100_000, 8), np.float32))
    with pytest.raises(InputError, match=r"targets: .*x\.npz: array zeros .* which the file cannot hold"):
        read_targets(f"{tmp_path}/x.npz#zeros")


def test_lists_of_equal_numbers_count_as_they_are_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("filtering.shards.parquet.BYTES_ALWAYS", 1 << 16)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(1_000_000)), 1_000)
    pq.write_table(pa.table({"vector": vectors}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match=r"column vector unpacks to 8\.00 MB"):
        read_targets(f"{tmp_path}/x.parquet#vector")
