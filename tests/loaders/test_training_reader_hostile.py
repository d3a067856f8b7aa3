"""Tars that are no tidy ones: exactly what a run kept comes out, with the bytes that the run read."""

import gzip
import io
import tarfile
from pathlib import Path

import pytest
from examples import examples
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from training_reader_runs import place, tar_of, tar_of_members, write_kept

from filtering.loaders import kept_pipeline
from filtering.shards.samples import Sample, read_samples

MEMBER = st.tuples(
    st.sampled_from(["a", "b", "c", "d/a"]),
    st.sampled_from(["jpg", "txt", "json", "png", "b.jpg", "b.txt", "cls"]),
    st.sampled_from([b"{}", b"text", b""]),
)


def found_by_run(tar: bytes) -> dict[str, Sample]:
    return {one.key: one for one in read_samples(io.BytesIO(tar), "0.tar") if isinstance(one, Sample)}


def read_kept(folder: Path, tar: bytes, keys) -> list[dict]:
    """What is read of a tar, alike whether it was noted where samples stand in it or not."""
    path = folder / "0.tar"
    path.write_bytes(tar)
    noted, found = (
        list(kept_pipeline(write_kept(folder / f"run-{noted}", [str(path)], {str(path): keys}, noted)))
        for noted in (True, False)
    )
    assert sorted(noted, key=place) == sorted(found, key=place)
    return noted


@examples(2, suppress=HealthCheck.function_scoped_fixture)
@given(parts=st.lists(MEMBER, max_size=25), drop=st.sets(st.sampled_from("abc")), cut=st.floats(0, 1))
def test_samples_of_interleaved_repeated_and_cut_members_are_those_of_the_run(tmp_path_factory, parts, drop, cut):
    marked = [(f"{key}.{extension}", data + bytes([65 + at])) for at, (key, extension, data) in enumerate(parts)]
    tar = tar_of_members(marked)
    tar = tar[: int(len(tar) * cut)] if cut > 0.3 else tar
    samples = found_by_run(tar)
    kept = {key: sample for key, sample in samples.items() if key not in drop}
    if not kept:
        return
    found = read_kept(tmp_path_factory.mktemp("pool"), tar, kept)
    assert sorted(sample["__key__"] for sample in found) == sorted(kept)
    for sample in found:
        of_run = kept[sample["__key__"]]
        extension = of_run.image_member.rpartition("/")[2].partition(".")[2]
        assert sample[extension] == of_run.image
        assert of_run.caption.encode() in sample.values()


@pytest.mark.parametrize("order", [("jpg", "txt"), ("jpg", "txt", "json")])
def test_members_that_lie_apart_find_each_other(tmp_path, order):
    members = [(f"{at:03d}.{extension}", b'{"a": 1}' + bytes([at])) for extension in order for at in range(20)]
    found = read_kept(tmp_path, tar_of_members(members), ["003", "017"])
    assert [sample["__key__"] for sample in found] == ["003", "017"]
    assert all(list(sample) == ["__key__", "__url__", *order] for sample in found)
    assert found[0]["txt"] == b'{"a": 1}\x03'


def test_a_compressed_tar_is_read(tmp_path):
    samples = [(f"{at:03d}", {"jpg": bytes([at]) * 70_000, "txt": b"a"}) for at in range(20)]
    found = read_kept(tmp_path, gzip.compress(tar_of(samples)), ["003", "017"])
    assert [sample["jpg"] for sample in found] == [bytes([3]) * 70_000, bytes([17]) * 70_000]


def test_links_and_names_of_our_own_are_no_members(tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in (("a.jpg", b"i"), ("a.txt", b"t"), ("a.__url__", b"u"), ("a.__key__", b"k")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("a.npy")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    (found,) = read_kept(tmp_path, buffer.getvalue(), ["a"])
    assert found == {"__key__": "a", "__url__": str(tmp_path / "0.tar"), "jpg": b"i", "txt": b"t"}


def test_a_tar_that_was_broken_behind_its_kept_samples_is_no_error(tmp_path):
    tar = tar_of([(f"{at:03d}", {"jpg": bytes(3000), "txt": b"a", "json": b"{}"}) for at in range(9)])
    cut = tar[: len(tar) // 2]
    keys = list(found_by_run(cut))
    assert 0 < len(keys) < 9
    assert [sample["__key__"] for sample in read_kept(tmp_path, cut, keys)] == keys
