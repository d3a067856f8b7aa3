import os
import struct
import uuid
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from filtering.config.input import Arrays
from filtering.core import schemas
from filtering.core.errors import InputError, RunError
from filtering.core.uids import content_hash, derived_uid
from filtering.embedding.artifacts import EmbeddedShard
from filtering.embedding.locations import ShardLocation, pool_dimensions
from filtering.embedding.metadata import MetadataReader
from filtering.shards.inventory import Shard, VectorFile, current, npz_url
from filtering.shards.vectors import NpzVectors
from filtering.storage.store import Store, write_object
from filtering.storage.versions import ABSENT

UIDS = [f"{row:032x}" for row in range(4)]
VECTORS = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float16)


@pytest.fixture
def shard(tmp_path):
    """Write a file of metadata, with other columns or arrays if given; return it as a shard."""

    def write(name="a", arrays=None, **given):
        path = tmp_path / f"{name}.parquet"
        pq.write_table(pa.table({"uid": UIDS, "text": ["a", "b", "c", "d"], **given}), path)
        np.savez(path.with_suffix(".npz"), **{"l14_img": VECTORS, "l14_txt": VECTORS, **(arrays or {})})
        return Shard(0, str(path), 0, "", (VectorFile(npz_url(str(path)), ABSENT),))

    return write


@pytest.fixture
def read(tmp_path):
    """Read a shard as it is now; return the counts, and the shard as it is embedded."""

    def read(shard):
        store, shard = Store(str(tmp_path / "embedded")), current(shard)
        return MetadataReader(NpzVectors(Arrays()))(shard, store), EmbeddedShard(shard, store, Arrays())

    return read


def test_each_row_has_its_own_reason_and_detail(shard, read):
    counts, embedded = read(shard(text=["a", None, "c", " "], uid=[UIDS[0], UIDS[1], "X", None]))
    assert counts == {
        "samples": 4,
        "rows": 1,
        "quarantined": 3,
        "quarantine_reasons": {"caption_empty": 2, "uid_malformed": 1},
        "dimension": 8,
        "of_concepts": 0,
    }
    assert embedded.rows()["source_row"].to_pylist() == [0]
    found = embedded.quarantined()
    assert found.schema == schemas.QUARANTINED
    # One without uid and key is named by its place.
    assert found["member"].to_pylist() == [UIDS[1], "x", "row 3"]
    assert found["key"].to_pylist() == [UIDS[1], "x", None]
    assert found["detail"].to_pylist() == ["holds no text", "", "holds no text"]


def test_a_usable_row_has_a_uid_and_what_tells_its_content(shard, read):
    one = shard(uid=[UIDS[0].upper(), None, UIDS[2], None], key=["k", "k1", None, None])
    counts, embedded = read(one)
    assert (counts["rows"], counts["quarantined"]) == (4, 0)
    rows = embedded.rows()
    assert rows["uid"].to_pylist() == [UIDS[0], derived_uid(one.url, "k1"), UIDS[2], derived_uid(one.url, "3")]
    assert rows["key"].to_pylist() == ["k", "k1", UIDS[2], "3"]
    expected = [content_hash(*pair) for pair in zip("abcd", map(bytes, VECTORS), strict=True)]
    assert rows["content"].to_pylist() == expected


def test_rows_that_cannot_be_read_are_counted_where_the_footer_tells_them(shard, read):
    counts, embedded = read(shard(text=[["a"]] * 4))
    assert (counts["samples"], counts["quarantine_reasons"]) == (4, {"metadata_unreadable": 4})
    assert set(embedded.quarantined()["detail"].to_pylist()) == {"column text holds list<element: string>, not text"}
    broken = shard("b")
    Path(broken.url).write_bytes(b"no parquet")
    counts, embedded = read(broken)
    assert counts["samples"] == 1
    assert embedded.quarantined()["member"].to_pylist() == [""]


NOT_VECTORS = {
    "bfloat16": (VECTORS.view("V2"), "array l14_img holds 2 raw bytes each, as bfloat16 is stored, not numbers"),
    "text": (VECTORS.astype(str), "array l14_img holds <U32, not numbers"),
    "complex": (VECTORS.astype(complex), "array l14_img holds complex128, not numbers"),
    "truths": (VECTORS > 0, "array l14_img holds bool, not numbers"),
    "records": (np.zeros((4, 8), [("a", "f4"), ("b", "f4")]), "array l14_img holds records, not numbers"),
    "dates": (np.zeros((4, 8), "M8[s]"), "array l14_img holds datetime64[s], not numbers"),
    "one axis": (VECTORS[:, 0], "4 rows, image array (4,), text array (4, 8)"),
    "three axes": (VECTORS[..., None], "4 rows, image array (4, 8, 1), text array (4, 8)"),
    "fewer rows": (VECTORS[:3], "4 rows, image array (3, 8), text array (4, 8)"),
    "no columns": (VECTORS[:, :0], "4 rows, image array (4, 0), text array (4, 8)"),
}


@pytest.mark.parametrize(("images", "detail"), NOT_VECTORS.values(), ids=NOT_VECTORS)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_that_are_no_vectors_of_the_rows_are_a_mismatch(shard, read, images, detail, save):
    one = shard()
    save(one.url.replace(".parquet", ".npz"), l14_img=images, l14_txt=VECTORS)
    counts, embedded = read(one)
    assert counts["quarantine_reasons"] == {"arrays_mismatch": 4}
    assert set(embedded.quarantined()["detail"].to_pylist()) == {detail}


def test_pickled_objects_are_a_mismatch_and_are_not_loaded(shard, read):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was loaded",))

    one = shard(arrays={"l14_img": np.array([[Bomb()]] * 4, dtype=object)})
    assert read(one)[0]["quarantine_reasons"] == {"arrays_mismatch": 4}


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", "i1"])
def test_numbers_of_any_kind_are_vectors(shard, read, dtype):
    vectors = (100 * VECTORS).astype(dtype)
    counts, _ = read(shard(arrays={"l14_img": vectors, "l14_txt": vectors}))
    assert (counts["rows"], counts["dimension"]) == (4, 8)


def test_a_member_that_is_shorter_than_it_says_is_unreadable(shard, read):
    one = shard()
    path = Path(one.url).with_suffix(".npz")
    with zipfile.ZipFile(path) as archive:
        whole = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("l14_img.npy", whole["l14_img.npy"][:-16])
        archive.writestr("l14_txt.npy", whole["l14_txt.npy"])
    counts, embedded = read(one)
    assert counts["quarantine_reasons"] == {"arrays_unreadable": 4}
    assert "the shape (4, 8), which the file cannot hold" in embedded.quarantined()["detail"][0].as_py()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_vectors_in_which_a_bit_changed_are_unreadable(shard, read, save):
    one = shard()
    path = Path(one.url).with_suffix(".npz")
    save(path, l14_img=VECTORS, l14_txt=VECTORS)
    with zipfile.ZipFile(path) as archive:
        sum_ = struct.pack("<L", archive.getinfo("l14_txt.npy").CRC)
    # A sum that is not that of the bytes is what changed bytes look like, compressed or not.
    path.write_bytes(path.read_bytes().replace(sum_, bytes(4)))
    counts, embedded = read(one)
    assert counts["quarantine_reasons"] == {"arrays_unreadable": 4}
    assert "Bad CRC-32" in embedded.quarantined()["detail"][0].as_py()


def test_the_dimension_of_a_pool_is_that_of_most_rows():
    def place(rows, dimension):
        return ShardLocation(Store("x"), rows, rows, 0, dimension)

    assert pool_dimensions([place(10, 512), place(30, 768), place(15, 512)]) == (768, 0)
    assert pool_dimensions([place(10, 512), place(10, 768)]) == (512, 0)
    assert pool_dimensions([place(10, 768), place(10, 512)]) == (768, 0)
    # Tars, and shards that an older version took.
    assert pool_dimensions([place(10, 0)]) == (0, 0)


def test_a_shard_of_another_dimension_has_no_rows(shard, read):
    _, embedded = read(shard())
    refused = EmbeddedShard(
        embedded.shard, embedded.store, Arrays(), "its vectors have 8 dimensions, those of the pool have 768"
    )
    assert len(refused.rows()) == 0
    assert refused.rows(["uid"]).column_names == ["uid"]
    found = refused.quarantined()
    assert found.schema == schemas.QUARANTINED
    assert found["member"].to_pylist() == UIDS
    assert set(found["reason"].to_pylist()) == {"arrays_mismatch"}


def test_the_first_npz_with_vectors_decides_whether_a_pool_can_be_read(shard, tmp_path):
    text, missing, good = shard("text", {"l14_img": VECTORS.astype(str)}), shard("missing"), shard("good")
    (tmp_path / "missing.npz").unlink()
    NpzVectors(Arrays()).check([text, missing, good])
    with pytest.raises(InputError, match=r"text\.npz: array l14_img holds <U32, not numbers"):
        NpzVectors(Arrays()).check([text, missing])
    with pytest.raises(InputError, match=r"missing\.npz is not there"):
        NpzVectors(Arrays()).check([missing])
    with pytest.raises(InputError, match=r"good\.npz has no array b32_img; it has l14_img, l14_txt"):
        NpzVectors(Arrays(image="b32_img", text="b32_txt")).check([missing, good])


def test_a_flipped_bit_of_the_vectors_costs_their_rows(shard, read):
    # More than zipfile reads, and checks, when it is asked for the header alone.
    vectors = np.random.default_rng(0).normal(size=(4, 8192)).astype(np.float16)
    one = shard(arrays={"l14_img": vectors, "l14_txt": vectors})
    path = Path(one.url).with_suffix(".npz")
    data = path.read_bytes()
    at = data.index(vectors.tobytes())
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    counts, embedded = read(one)
    assert counts["quarantine_reasons"] == {"arrays_unreadable": 4}
    assert "Bad CRC-32 for file 'l14_img.npy'" in embedded.quarantined()["detail"][0].as_py()


def test_vectors_are_those_of_the_npz_that_was_listed(shard, read):
    one = shard()
    _, embedded = read(one)
    assert np.array_equal(embedded.images(), VECTORS)
    path = Path(one.url).with_suffix(".npz")
    os.utime(path, (5, 5))
    with pytest.raises(RunError, match=r"a\.npz: it was written again since the run listed it; give the same command"):
        embedded.images()
    path.unlink()
    with pytest.raises(RunError, match=r"a\.npz: it was deleted since the run listed it; give the same command"):
        embedded.texts()


def test_vectors_on_s3_are_opened_with_one_request_for_their_version(shard, proxy, s3, tmp_path):
    local, folder = shard(), f"s3://{s3.bucket}/{uuid.uuid4().hex}"
    for suffix in ("parquet", "npz"):
        write_object(f"{folder}/a.{suffix}", Path(local.url).with_suffix(f".{suffix}").read_bytes())
    one = current(Shard(0, f"{folder}/a.parquet", 0, "", (VectorFile(f"{folder}/a.npz", ABSENT),)))
    embedded = EmbeddedShard(one, Store(str(tmp_path)), Arrays())
    proxy.set()
    assert np.array_equal(embedded.images(), VECTORS)
    assert proxy.counts()["HEAD"] == 1
    write_object(f"{folder}/a.npz", b"another")
    with pytest.raises(RunError, match=r"a\.npz: its size has changed"):
        embedded.images()
