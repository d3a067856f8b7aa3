import io
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from metadata_files import UIDS, parquet

from filtering.core.errors import InputError, RunError
from filtering.shards.metadata import (
    UnreadableError,
    array_header,
    array_names,
    read_array,
    read_columns,
    row_count,
)
from filtering.storage.store import write_object
from filtering.storage.versions import version_of

ARRAYS = {
    "l14_img": np.random.default_rng(0).normal(size=(20, 6)).astype(np.float16),
    "l14_txt": np.asfortranarray(np.random.default_rng(1).normal(size=(20, 6))),
    "uids": np.array([(1, 2), (3, 4)], dtype=[("f0", "<u8"), ("f1", "<u8")]),
    "none": np.zeros((0, 6), dtype=np.float32),
    "big_endian": np.arange(5, dtype=">i4"),
}


@pytest.fixture
def npz(tmp_path):
    path = tmp_path / "00000000.npz"
    np.savez(path, **ARRAYS)
    return str(path)


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("scheme", ["", "file://"])
def test_an_array_is_mapped_in_place(npz, name, scheme):
    found = read_array(scheme + npz, name)
    assert isinstance(found, np.memmap) or found.size == 0
    assert found.dtype == ARRAYS[name].dtype
    assert np.array_equal(found, np.load(npz)[name])
    with pytest.raises(ValueError, match="read-only"):
        found[...] = found


@pytest.mark.parametrize("name", ARRAYS)
def test_a_compressed_array_is_read(tmp_path, name):
    np.savez_compressed(tmp_path / "x.npz", **ARRAYS)
    found = read_array(str(tmp_path / "x.npz"), name)
    assert found.dtype == ARRAYS[name].dtype
    assert np.array_equal(found, ARRAYS[name])


def test_an_array_elsewhere_is_read():
    buffer = io.BytesIO()
    np.savez(buffer, **ARRAYS)
    write_object("memory://metadata/x.npz", buffer.getvalue())
    found = read_array("memory://metadata/x.npz", "l14_img")
    assert not isinstance(found, np.memmap)
    assert np.array_equal(found, ARRAYS["l14_img"])


@examples(0.2)
@given(st.lists(st.integers(0, 4), min_size=0, max_size=3), st.sampled_from(["f2", "f4", "i8", "u1"]), st.booleans())
def test_any_shape_comes_back(tmp_path_factory, shape, dtype, fortran):
    path = tmp_path_factory.mktemp("npz") / "x.npz"
    array = np.arange(int(np.prod(shape)), dtype=dtype).reshape(shape)
    array = np.asfortranarray(array) if fortran else array
    np.savez(path, other=np.ones(3), x=array)
    found = read_array(str(path), "x")
    assert found.shape == array.shape
    assert array_header(str(path), "x").shape == array.shape
    assert np.array_equal(found, array)


@pytest.mark.parametrize("extra", [b"", b"\x99\x99\x04\0abcd"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_npy_version_is_mapped(tmp_path, extra, version):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, ARRAYS["l14_img"], version=version)
    entry = zipfile.ZipInfo("l14_img.npy")
    entry.extra = extra
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("first.npy", b"some bytes")
        archive.writestr(entry, buffer.getvalue())
    assert np.array_equal(read_array(str(tmp_path / "x.npz"), "l14_img"), ARRAYS["l14_img"])


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_object_arrays_are_refused_without_unpickling(tmp_path, save):
    save(tmp_path / "x.npz", bad=np.array([Bomb()], dtype=object))
    with pytest.raises(InputError, match=r"x\.npz"):
        read_array(str(tmp_path / "x.npz"), "bad")


def test_an_array_that_is_not_there_is_named(npz):
    with pytest.raises(InputError, match="b32_img"):
        read_array(npz, "b32_img")
    assert array_names(npz) == list(ARRAYS)


def test_a_damaged_npz_is_refused(tmp_path):
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(InputError, match=r"x\.npz"):
        read_array(str(tmp_path / "x.npz"), "l14_img")


@pytest.mark.parametrize("read", [read_array, array_header])
def test_a_damaged_npz_and_a_missing_array_are_one_line(tmp_path, read):
    (tmp_path / "broken.npz").write_bytes(b"no archive")
    np.savez(tmp_path / "whole.npz", there=np.ones(3))
    for name, message in (("broken", "cannot be read"), ("whole", "has no array l14_img")):
        with pytest.raises(InputError, match=message) as refused:
            read(str(tmp_path / f"{name}.npz"), "l14_img")
        assert "\n" not in str(refused.value)


@examples(7, derandomize=True)
@given(st.data(), st.sampled_from(["table", "stored", "compressed"]))
def test_damaged_bytes_are_called_so_wherever_they_are(tmp_path_factory, data, kind):
    whole, read = damageable(tmp_path_factory, kind)
    cut = data.draw(st.integers(0, len(whole)))
    damaged = bytearray(whole[:cut] if data.draw(st.booleans()) else whole)
    for at in data.draw(st.lists(st.integers(0, max(len(damaged) - 1, 0)), max_size=4)) if damaged else ():
        damaged[at] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "x"
    path.write_bytes(damaged)
    try:
        read(str(path))
    except UnreadableError as error:
        assert "\n" not in str(error)


def damageable(folder, kind):
    path = folder.getbasetemp() / f"whole-{kind}"
    if kind == "table":
        pq.write_table(pa.table({"uid": UIDS, "text": ["a", "b"], "original_width": [3, 4]}), path)
        return path.read_bytes(), lambda url: read_columns(url)
    with path.open("wb") as stream:
        (np.savez if kind == "stored" else np.savez_compressed)(stream, l14_img=ARRAYS["l14_img"])
    return path.read_bytes(), lambda url: np.array(read_array(url, "l14_img"))


def test_an_array_that_states_more_than_its_file_can_hold_is_not_given_room(tmp_path):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f2", "fortran_order": False, "shape": (10**12, 512)})
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("l14_img.npy", buffer.getvalue())
    with pytest.raises(UnreadableError, match=r"the shape \(1000000000000, 512\), which the file cannot hold"):
        read_array(str(tmp_path / "x.npz"), "l14_img")


def test_what_the_storage_raises_is_not_taken_for_damage(tmp_path):
    (tmp_path / "x.npz").mkdir()
    for read in (read_columns, array_names, lambda url: read_array(url, "l14_img")):
        with pytest.raises(OSError, match="directory"):
            read(str(tmp_path / "x.npz"))


def stored(path, members):
    """Write members as they are, uncompressed, each with what the zip says of it."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)


def npy(shape, data, dtype="<f2"):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": dtype, "fortran_order": False, "shape": shape})
    return buffer.getvalue() + data


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_array_shorter_than_it_says_does_not_reach_into_its_neighbour(tmp_path, compression):
    with zipfile.ZipFile(tmp_path / "x.npz", "w", compression) as archive:
        archive.writestr("l14_img.npy", npy((20, 6), bytes(100)))
        archive.writestr("l14_txt.npy", npy((20, 6), bytes(240)))
    with pytest.raises(UnreadableError, match=r"the shape \(20, 6\), which the file cannot hold"):
        read_array(str(tmp_path / "x.npz"), "l14_img")
    assert read_array(str(tmp_path / "x.npz"), "l14_txt").shape == (20, 6)


def test_a_member_that_the_archive_says_is_longer_does_not_reach_into_its_neighbour(tmp_path):
    stored(tmp_path / "x.npz", {"l14_img": npy((20, 6), bytes(100)), "l14_txt": npy((20, 6), bytes(240))})
    whole = (tmp_path / "x.npz").read_bytes()
    length = len(npy((20, 6), bytes(100)))
    # Where both lengths of the first member stand: in its local header, and in the archive's list.
    longer = whole.replace(length.to_bytes(4, "little") * 2, (length + 140).to_bytes(4, "little") * 2)
    (tmp_path / "x.npz").write_bytes(longer)
    with pytest.raises(UnreadableError, match="array l14_img cannot be read"):
        read_array(str(tmp_path / "x.npz"), "l14_img")


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_flipped_bit_of_an_array_is_noticed(tmp_path, compression):
    # More than zipfile reads, and checks, when it is asked for the header alone.
    noise = np.random.default_rng(0).bytes(24_000)
    with zipfile.ZipFile(tmp_path / "x.npz", "w", compression) as archive:
        archive.writestr("l14_img.npy", npy((20, 600), noise))
    data = bytearray((tmp_path / "x.npz").read_bytes())
    data[len(data) - 200] ^= 4
    (tmp_path / "x.npz").write_bytes(data)
    with pytest.raises(UnreadableError, match="array l14_img cannot be read"):
        read_array(str(tmp_path / "x.npz"), "l14_img")


@pytest.mark.parametrize("url", ["{}", "memory://b.npz"])
def test_a_member_into_which_another_reaches_is_refused_wherever_it_lies(tmp_path, url):
    stored(tmp_path / "x.npz", {"l14_img": npy((20, 6), bytes(240)), "l14_txt": npy((20, 6), bytes(240))})
    data = bytearray((tmp_path / "x.npz").read_bytes())
    # Where the archive's list says that the second member starts.
    at = data.rindex(b"PK\1\2") + 42
    data[at : at + 4] = (int.from_bytes(data[at : at + 4], "little") - 60).to_bytes(4, "little")
    url = url.format(tmp_path / "x.npz")
    write_object(url, bytes(data))
    with pytest.raises(UnreadableError, match="array l14_img cannot be read"):
        read_array(url, "l14_img")


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("url", ["{}", "memory://a.npz"])
def test_a_damaged_header_after_which_bytes_are_left_is_noticed(tmp_path, compression, url):
    right, wrong = (npy((20, 600), np.random.default_rng(0).bytes(24_000), dtype) for dtype in ("<f2", "|u1"))
    with zipfile.ZipFile(tmp_path / "x.npz", "w", compression) as archive:
        archive.writestr("l14_img.npy", wrong)
        archive.getinfo("l14_img.npy").CRC = zlib.crc32(right)
    url = url.format(tmp_path / "x.npz")
    write_object(url, (tmp_path / "x.npz").read_bytes())
    with pytest.raises(UnreadableError, match="array l14_img cannot be read"):
        read_array(url, "l14_img")


def test_a_member_that_unpacks_to_far_more_than_the_file_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr("filtering.shards.metadata.BYTES_ALWAYS", 1 << 16)
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("l14_img.npy", npy((2, 3), bytes(1 << 23)))
    with pytest.raises(UnreadableError, match="which the file cannot hold"):
        read_array(str(tmp_path / "x.npz"), "l14_img")


def test_an_array_of_another_version_is_refused_and_one_that_is_mapped_stays_what_it_was(npz, tmp_path):
    before = version_of(npz)
    mapped = read_array(npz, "l14_img", before)
    np.savez(tmp_path / "other.npz", l14_img=np.zeros(3))
    (tmp_path / "other.npz").replace(npz)
    for read in (array_names, lambda url, version: read_array(url, "l14_img", version)):
        with pytest.raises(RunError, match=r"00000000\.npz: its size has changed .* since the run listed it"):
            read(npz, before)
    assert np.array_equal(mapped, ARRAYS["l14_img"])


def test_a_compressed_array_that_unpacks_to_far_more_than_the_file_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("filtering.shards.metadata.BYTES_ALWAYS", 1 << 16)
    np.savez_compressed(tmp_path / "x.npz", l14_img=np.zeros((100_000, 8), np.float16), small=np.zeros(9))
    monkeypatch.setattr(np.lib.format, "read_array", lambda *args, **kwargs: pytest.fail("it was read"))
    with pytest.raises(UnreadableError, match="which the file cannot hold"):
        read_array(str(tmp_path / "x.npz"), "l14_img")


def test_a_header_that_says_it_is_very_long_is_not_read(tmp_path):
    data = b"\x93NUMPY\x02\0" + (1 << 30).to_bytes(4, "little") + b" " * 100
    stored(tmp_path / "x.npz", {"l14_img": data})
    with pytest.raises(UnreadableError, match="cannot be read"):
        array_header(str(tmp_path / "x.npz"), "l14_img")


def test_rows_are_counted_by_the_footer_alone(tmp_path):
    assert row_count(parquet(tmp_path, uid=UIDS)) == 2
    (tmp_path / "x.parquet").write_bytes(b"no parquet")
    with pytest.raises(UnreadableError, match=r"x\.parquet"):
        row_count(str(tmp_path / "x.parquet"))


@pytest.mark.parametrize("name", ["l14_img", "l14_txt"])
def test_a_flipped_bit_of_an_array_is_found_where_it_is_verified(npz, name):
    with Path(npz).open("r+b") as file:
        at = file.read().index(ARRAYS[name].tobytes("A")) + 17
        file.seek(at)
        flipped = file.read(1)[0] ^ 2
        file.seek(at)
        file.write(bytes([flipped]))
    with pytest.raises(UnreadableError, match=f"array {name} cannot be read \\(.*(checksum|CRC)"):
        read_array(npz, name)
    assert np.array_equal(read_array(npz, "big_endian"), ARRAYS["big_endian"])
