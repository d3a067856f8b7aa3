"""The fast look at a tar finds what the reader of any tar finds, or leaves the tar to it."""

import tarfile
from pathlib import Path

import pytest
from finished_runs import MAX_IMAGE_BYTES, usable, write_finished
from hostile import cases
from pools import members, tar_bytes

from filtering.config.run import Input
from filtering.exports import members as kept
from filtering.exports.scanning import scan
from filtering.manifests.finished import read_finished
from filtering.shards.inventory import list_shards


def content(source) -> list[tuple[int, str, bytes]]:
    with kept.kept_members(source, MAX_IMAGE_BYTES) as found:
        data = found.path.read_bytes()
        spans = zip(found.sample, found.names, found.data, found.stop, strict=True)
        return [(found.rows[sample], name, data[start:stop]) for sample, name, start, stop in spans]


@pytest.mark.parametrize("case", cases(Path("canary")), ids=lambda case: case.name)
def test_hostile_tars_give_the_same_members_both_ways(case, tmp_path, monkeypatch):
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool/00000000.tar").write_bytes(case.data)
    (source,) = read_finished(write_finished(tmp_path / "run", tmp_path / "pool")).sources
    found = content(source)
    monkeypatch.setattr(kept, "scan", lambda path: None)
    assert found == content(source)
    assert len({row for row, _, _ in found}) == len(usable(list_shards(Input(shards=str(tmp_path / "pool")))[0]))


def test_an_ordinary_tar_is_scanned(tmp_path):
    path = tmp_path / "00000000.tar"
    path.write_bytes(tar_bytes(members(0, 30)))
    found = scan(path)
    assert found is not None
    with tarfile.open(path) as tar:
        infos = tar.getmembers()
    assert [name.decode() for name in found.names] == [info.name for info in infos]
    assert found.lines[:, 1].tolist() == [info.offset_data for info in infos]
    assert found.lines[:, 0].tolist() == [info.offset for info in infos]
    assert len(found.keys) == 30


@pytest.mark.parametrize("at", range(0, 512, 7))
def test_a_header_with_one_other_byte_is_none(tmp_path, at):
    data = bytearray(tar_bytes(members(0, 2)))
    data[at] ^= 0x11
    (tmp_path / "00000000.tar").write_bytes(data)
    assert scan(tmp_path / "00000000.tar") is None
