"""Patterns over what is there: on a disk and in memory."""

import uuid

import fsspec
import pytest

from filtering.core.errors import InputError
from filtering.shards.inventory import expand
from filtering.storage.store import (
    absolute,
    read_object,
    write_object,
)


def test_a_folder_is_expanded_by_one_listing(tmp_path, monkeypatch):
    for name in ("a.tar", "b.tar", "c.txt"):
        (tmp_path / name).write_bytes(b"")
    listed = []
    local = type(fsspec.filesystem("file"))
    ls = local.ls
    monkeypatch.setattr(local, "ls", lambda self, path, **options: listed.append(path) or ls(self, path, **options))
    assert names(expand(str(tmp_path), ".tar")) == ["a.tar", "b.tar"]
    assert listed == [str(tmp_path)]


@pytest.fixture
def tars(tmp_path):
    for name in ("00.tar", "01.tar", "02.tar", "10.tar", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    return str(tmp_path)


def names(urls):
    return [url.rsplit("/", 1)[-1] for url in urls]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("/00.tar", ["00.tar"]),
        ("/{00..02}.tar", ["00.tar", "01.tar", "02.tar"]),
        ("/{02,00}.tar", ["02.tar", "00.tar"]),
        ("/0*.tar", ["00.tar", "01.tar", "02.tar"]),
        ("/?0.tar", ["00.tar", "10.tar"]),
        ("/0[12].tar", ["01.tar", "02.tar"]),
        ("/{0,1}0*.tar", ["00.tar", "10.tar"]),
        ("", ["00.tar", "01.tar", "02.tar", "10.tar"]),
        ("/", ["00.tar", "01.tar", "02.tar", "10.tar"]),
    ],
)
def test_patterns_expand_in_order(tars, pattern, expected):
    for scheme in ("", "file://"):
        urls = expand(scheme + tars + pattern, ".tar")
        assert names(urls) == expected
        assert urls == [f"{tars}/{name}" for name in expected]


def test_lists_expand_in_order_and_once(tars):
    urls = expand([f"{tars}/10.tar", f"{tars}/*.tar", f"file://{tars}/00.tar"], ".tar")
    assert names(urls) == ["10.tar", "00.tar", "01.tar", "02.tar"]


def test_patterns_expand_in_memory():
    folder = f"memory://{uuid.uuid4().hex}"
    for name in ("00.tar", "01.tar", "x.txt"):
        write_object(f"{folder}/{name}", b"data")
    for pattern in (folder, f"{folder}/*.tar", f"{folder}/{{00..01}}.tar"):
        urls = expand(pattern, ".tar")
        assert names(urls) == ["00.tar", "01.tar"]
        assert [read_object(url) for url in urls] == [b"data", b"data"]


def test_what_matches_nothing_is_refused(tars):
    for pattern in (f"{tars}/9*.tar", f"{tars}/empty", f"{tars}/none/*.tar"):
        with pytest.raises(InputError, match=r"no \.tar"):
            expand(pattern, ".tar")
    assert expand(f"{tars}/77.tar", ".tar") == [f"{tars}/77.tar"]


@pytest.mark.parametrize("pattern", ["pool/{00..02.tar", "pool/00}.tar", "nosuchscheme://a/b.tar"])
def test_broken_patterns_are_refused(pattern):
    with pytest.raises(InputError):
        expand(pattern, ".tar")


def test_relative_paths_become_absolute(tars, monkeypatch):
    monkeypatch.chdir(tars)
    assert expand("00.tar", ".tar") == expand("0[0].tar", ".tar") == [f"{tars}/00.tar"]
    assert expand(".", ".tar") == expand(tars, ".tar")
    assert absolute("s3x.tar") == f"{tars}/s3x.tar"
