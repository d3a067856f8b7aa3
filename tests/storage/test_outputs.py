"""An output in the place of the input, and an output with files of others, are refused in one line."""

import os
import re

import pytest

from filtering.core.errors import InputError
from filtering.storage.outputs import Layout, check_folder, check_inputs, check_output, checksum_of, place_of
from filtering.storage.store import Store, checksum

LAYOUT = Layout("output", re.compile(r"run\.json|manifest"))


@pytest.fixture
def out(tmp_path):
    return Store(str(tmp_path / "out"))


def test_nothing_and_an_empty_folder_are_free(out, tmp_path):
    check_output(out, LAYOUT, (), into_existing=False)
    (tmp_path / "out").mkdir()
    check_output(out, LAYOUT, (), into_existing=False)


def test_what_is_no_folder_takes_no_output(tmp_path):
    (tmp_path / "file").write_bytes(b"mine")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("file", "pipe", "loop", "link"):
        with pytest.raises(InputError, match=rf"^--out: {tmp_path}/{name} is no folder; choose another$"):
            check_folder("--out", f"{tmp_path}/{name}")
        with pytest.raises(InputError, match=rf"/{name}/a/b lies in {tmp_path}/{name}, which is no folder; choose"):
            check_folder("--out", f"{tmp_path}/{name}/a/b")
    for url in (f"{tmp_path}", f"{tmp_path}/new/run", "memory://new/run"):
        check_folder("--out", url)


def test_a_name_that_is_not_utf8_takes_no_output(tmp_path):
    with pytest.raises(InputError, match=r"^--out: .*/o\\udcff is not UTF-8, which no record can hold; choose another"):
        check_folder("--out", f"{tmp_path}/o\udcff")


def test_files_of_others_are_refused_unless_insisted(out):
    for name in ("reports/a", "b", "c", "d"):
        out.write(name, b"x")
    with pytest.raises(
        InputError, match=r"holds files that do not belong to this output \(b, c, d and 1 more\).*--into-ex"
    ):
        check_output(out, LAYOUT, (), into_existing=False)
    check_output(out, LAYOUT, (), into_existing=True)
    check_output(out, LAYOUT, {"reports", "b", "c", "d"}, into_existing=False)


@pytest.mark.parametrize("name", ["run.json", "manifest/notes.txt"])
def test_a_name_that_is_written_must_be_free(out, name):
    out.write(name, b"x")
    with pytest.raises(InputError, match=rf"out/{name.partition('/')[0]} is there and was not written by filtering"):
        check_output(out, LAYOUT, (), into_existing=True)


def test_half_of_a_file_of_ours_is_nobodys(out):
    out.write(f"run.json.{'0' * 32}.tmp", b"x")
    check_output(out, LAYOUT, (), into_existing=False)
    out.write(f"mine.json.{'0' * 32}.tmp", b"x")
    with pytest.raises(InputError, match="do not belong to this output"):
        check_output(out, LAYOUT, (), into_existing=False)


@pytest.mark.parametrize(
    ("output", "refused"),
    [
        ("pool", True),
        ("pool/", True),
        ("pool/../pool//", True),
        ("link", True),
        ("pool/a.tar", True),
        ("pool/a.tar/run", True),
        ("pool/run", False),
        ("", False),
        ("pool2", False),
    ],
)
def test_an_output_in_the_place_of_the_input(tmp_path, output, refused):
    (tmp_path / "pool").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "pool")
    folder = Store(f"{tmp_path}/{output}")
    if not refused:
        check_inputs(folder, LAYOUT, [f"{tmp_path}/pool/a.tar"])
        return
    with pytest.raises(InputError, match=r"is where the input has .*a\.tar"):
        check_inputs(folder, LAYOUT, [f"{tmp_path}/pool/a.tar"])


def test_names_that_are_written_hold_no_input_however_deep(tmp_path):
    check_inputs(Store(str(tmp_path)), LAYOUT, [f"{tmp_path}/other/kept/0.parquet"])
    with pytest.raises(InputError, match="is where the input has"):
        check_inputs(Store(str(tmp_path)), LAYOUT, [f"file://{tmp_path}/manifest/kept/0.parquet"])


@pytest.mark.parametrize("chain", ["zip://a.tar::{}", "zip://a.tar::file://{}", "zip://a.tar::simplecache::file://{}"])
def test_a_chain_lies_where_its_last_link_is(tmp_path, chain):
    url = chain.format(tmp_path / "pool/p.zip")
    check_inputs(Store(str(tmp_path / "run")), LAYOUT, [url])
    with pytest.raises(InputError, match="is where the input has"):
        check_inputs(Store(str(tmp_path / "pool")), LAYOUT, [url])


def test_what_a_shard_links_to_counts(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store/a.tar").write_bytes(b"x")
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool/a.tar").symlink_to(tmp_path / "store/a.tar")
    with pytest.raises(InputError, match="is where the input has"):
        check_inputs(Store(str(tmp_path / "store")), LAYOUT, [f"{tmp_path}/pool/a.tar"])


def test_one_place_has_one_name():
    assert place_of("s3a://bucket/a//b/../c/") == place_of("s3://bucket/a/c")
    assert place_of("memory://a/b") != place_of("memory://a/b2")


def test_a_checksum_is_that_of_all_bytes(out):
    data = bytes(3 << 20) + b"end"
    out.write("a", data)
    assert checksum_of(out.path("a")) == checksum(data)
