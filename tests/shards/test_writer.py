import json
import tarfile

import pyarrow.parquet as pq
import pytest
import webdataset

from filtering.core.errors import InputError
from filtering.shards.writer import ShardSample, write_shard


def sample(key: str = "000000000", **changes) -> ShardSample:
    metadata = {"uid": "ab", "caption": "a cat", "key": key, "status": "success", "width": 3}
    return ShardSample(**{"key": key, "image": b"image", "caption": b"a cat", "metadata": metadata} | changes)


def names(path) -> list[str]:
    with tarfile.open(path) as tar:
        return tar.getnames()


def test_members_of_a_sample_are_together_and_sorted_by_extension(tmp_path):
    path = write_shard(tmp_path, 7, [sample("b"), sample("a")])
    assert path.name == "00000007.tar"
    assert names(path) == ["b.jpg", "b.json", "b.txt", "a.jpg", "a.json", "a.txt"]


def test_webdataset_reads_what_was_written(tmp_path):
    path = write_shard(tmp_path, 0, [sample("a"), sample("b", image=b"other", image_extension="webp")])
    first, second = webdataset.WebDataset(str(path), shardshuffle=False)
    assert (first["__key__"], first["jpg"], first["txt"]) == ("a", b"image", b"a cat")
    assert json.loads(first["json"])["caption"] == "a cat"
    assert second["webp"] == b"other"


def test_absent_parts_have_no_member(tmp_path):
    path = write_shard(tmp_path, 0, [sample("a", image=None), sample("b", caption=None)])
    assert names(path) == ["a.json", "a.txt", "b.jpg", "b.json"]


def test_time_stamps_are_fractional_in_pax_headers(tmp_path):
    with tarfile.open(write_shard(tmp_path, 0, [sample()])) as tar:
        assert all(float(member.pax_headers["mtime"]) % 1 for member in tar)


def test_the_same_samples_give_the_same_bytes(tmp_path):
    for folder in ("a", "b"):
        write_shard(tmp_path / folder, 0, [sample("a"), sample("b")])
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["00000000.parquet", "00000000.tar", "00000000_stats.json"]
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_parquet_has_img2datasets_columns_and_nulls_for_what_is_unknown(tmp_path):
    path = write_shard(tmp_path, 0, [sample("a"), sample("b", metadata={})])
    table = pq.read_table(path.with_suffix(".parquet"))
    described = ["uid", "caption", "url", "key", "status", "error_message"]
    sizes = ["width", "height", "original_width", "original_height"]
    assert table.column_names == [*described, *sizes, "exif", "sha256"]
    assert table["key"].to_pylist() == ["a", "b"]
    assert table["width"].to_pylist() == [3, None]
    assert table["url"].null_count == 2


def test_statistics_count_by_status(tmp_path):
    failed = sample("b", image=None, metadata={"status": "failed_to_download"})
    write_shard(tmp_path, 0, [sample("a"), failed])
    statistics = json.loads((tmp_path / "00000000_stats.json").read_text())
    assert (statistics["count"], statistics["successes"], statistics["failed_to_download"]) == (2, 1, 1)
    assert statistics["failed_to_resize"] == 0
    assert statistics["status_dict"] == {"success": 1, "failed_to_download": 1}


def test_a_shard_may_be_empty(tmp_path):
    path = write_shard(tmp_path, 0, [])
    assert names(path) == []
    assert pq.read_table(path.with_suffix(".parquet")).num_rows == 0


def test_a_repeated_key_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match="'a' belongs to 2 samples"):
        write_shard(tmp_path / "new", 0, [sample("a"), sample("a")])
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("key", ["", "a.b", "a/b"])
def test_keys_that_readers_would_split_are_refused(tmp_path, key):
    with pytest.raises(InputError, match="free of dots and slashes"):
        write_shard(tmp_path, 0, [sample(key)])
