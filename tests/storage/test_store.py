import errno
import os
import threading
import uuid
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pytest

from filtering.core.errors import InputError, RunError
from filtering.storage.retries import taken
from filtering.storage.store import (
    Store,
    checksum,
    commit_file,
    create_object,
    digest,
    open_object,
    read_object,
    read_range,
    stream_object,
    write_chunks,
    write_object,
)


@pytest.fixture(params=["disk", "file", "memory"])
def store(request, tmp_path):
    if request.param == "memory":
        return Store(f"memory://{uuid.uuid4().hex}/run")
    return Store(("file://" if request.param == "file" else "") + str(tmp_path / "run"))


def test_objects_come_back_whole(store):
    store.write("a/b.bin", b"\0\1")
    store.write("a/b.bin", b"second")
    assert store.read("a/b.bin") == b"second"
    assert store.child("a").read("b.bin") == b"second"
    assert store.exists("a/b.bin")
    assert read_object(store.path("a/b.bin")) == b"second"


@pytest.mark.parametrize("read", [read_object, open_object, stream_object, lambda url: write_object(url, b"x")])
def test_what_has_no_end_is_refused_and_not_waited_for(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for name in ("pipe", "link"):
        with pytest.raises(
            InputError, match=rf"^{tmp_path}/{name} is no regular file but a pipe, a socket or a device$"
        ):
            read(str(tmp_path / name))


def test_what_is_not_there(store):
    assert not store.exists("none")
    assert store.names() == []
    store.delete("none")
    with pytest.raises(FileNotFoundError):
        store.read("none")


def test_json_tables_and_arrays_come_back(store):
    value = {"b": [1, 2.5, None], "a": "é"}
    store.write_json("x.json", value)
    assert store.read_json("x.json") == value
    table = pa.table({"uid": ["a", "b"], "n": [1, 2]})
    store.write_table("x.parquet", table)
    assert store.read_table("x.parquet").equals(table)
    assert store.read_table("x.parquet", ["n"]).column_names == ["n"]
    arrays = {"one": np.arange(3), "two": np.ones((2, 2), dtype=np.float16)}
    store.write_arrays("x.npz", arrays)
    back = store.read_arrays("x.npz")
    assert back.keys() == arrays.keys()
    assert all(np.array_equal(back[name], arrays[name]) and back[name].dtype == arrays[name].dtype for name in arrays)


def test_damaged_json_is_reported(store):
    store.write("x.json", b'{"a": ')
    with pytest.raises(RunError, match="is no JSON, it is damaged"):
        store.read_json("x.json")


def test_object_arrays_are_not_unpickled(store):
    with pytest.raises(ValueError, match=r"[Oo]bject"):
        store.write_arrays("x.npz", {"a": np.array([{}], dtype=object)})


def test_names_are_sorted_and_filtered(store):
    for name in ("b.done", "a.done", "c.parquet", "inner/d.done"):
        store.write(name, b"x")
    assert store.names(".done") == ["a.done", "b.done"]
    assert store.names() == ["a.done", "b.done", "c.parquet", "inner"]
    store.write("z.done", b"")
    assert store.names(".done") == ["a.done", "b.done", "z.done"]
    store.delete("a.done")
    assert store.names(".done") == ["b.done", "z.done"]


def every_name(store):
    """The names of all objects inside, however deep."""
    filesystem, path = fsspec.core.url_to_fs(store.url)
    return sorted(entry.split("/run/", 1)[1] for entry in filesystem.find(path))


DEEP = ["a.json", "stages/graph/1.npz", "stages/graph/1.npz.done", "stages/graph/deep/2.npz", "stages/graph-2/1.npz"]


@pytest.mark.parametrize("at_once", [1, 2, 1000])
def test_all_objects_are_deleted_but_those_whose_url_stays(store, monkeypatch, at_once):
    monkeypatch.setattr("filtering.storage.store.DELETED_AT_ONCE", at_once)
    for name in DEEP:
        store.write(name, name.encode())
    beside = Store(store.url + "2")
    beside.write("a.json", b"beside")
    stays = {store.path("stages/graph/1.npz"), store.path("stages/graph-2/1.npz")}
    asked = []
    assert store.delete_but(lambda url: bool(asked.append(url)) or url in stays) == 2
    assert sorted(asked) == sorted(store.path(name) for name in DEEP)
    assert every_name(store) == ["stages/graph-2/1.npz", "stages/graph/1.npz"]
    assert store.read("stages/graph/1.npz") == b"stages/graph/1.npz"
    assert beside.read("a.json") == b"beside"
    assert store.delete_but(lambda url: url in stays) == 2
    assert store.delete_but(lambda url: False) == 0
    assert store.delete_but(lambda url: False) == 0
    assert every_name(store) == []


def test_of_what_is_not_there_nothing_stays(store):
    assert Store(store.url + "-none").delete_but(lambda url: True) == 0


def test_a_url_that_ends_in_a_slash_names_the_same_objects(store):
    for name in DEEP:
        store.write(name, b"x")
    stays = {store.path("a.json")}
    assert Store(store.url + "/").delete_but(stays.__contains__) == 1
    assert every_name(store) == ["a.json"]


def test_a_folder_is_deleted_with_all_it_holds_and_none_whose_name_it_begins(store):
    for name in DEEP:
        store.write(name, b"x")
    store.delete_folder("stages/graph")
    assert every_name(store) == ["a.json", "stages/graph-2/1.npz"]
    store.delete_folder("stages/graph")
    store.delete_folder("none")
    # An object is no folder.
    store.delete_folder("a.json")
    assert every_name(store) == ["a.json", "stages/graph-2/1.npz"]
    store.delete_folder("stages")
    assert store.names() == ["a.json"]


def test_names_of_objects_are_no_patterns(tmp_path):
    for folder in (str(tmp_path), f"memory://{uuid.uuid4().hex}"):
        store, other = Store(f"{folder}/night[12]"), Store(f"{folder}/night1")
        for one in (store, other):
            one.write("a", b"x")
            one.write("deep/b", b"x")
        assert store.delete_but(lambda url: url.endswith("/b")) == 1
        assert store.names() == ["deep"]
        assert other.names() == ["a", "deep"]
        Store(folder).delete_folder("night[12]")
        assert Store(folder).names() == ["night1"]
        assert other.names() == ["a", "deep"]


def test_a_write_leaves_no_temporary_file(tmp_path):
    store = Store(str(tmp_path))
    for number in range(3):
        store.write("x", bytes(number))
    assert store.names() == ["x"]


def test_equal_tables_give_equal_bytes(tmp_path):
    store, written = Store(str(tmp_path)), []
    for _ in range(2):
        store.write_table("a", pa.table({"n": list(range(1000))}))
        written.append(store.read("a"))
    assert written[0] == written[1]


def test_an_object_is_created_once(store):
    url = store.path("lease/1.json")
    assert create_object(url, b"first")
    assert not create_object(url, b"second")
    assert store.read("lease/1.json") == b"first"
    assert store.child("lease").names() == ["1.json"]


def test_one_of_many_threads_creates_a_file_and_no_other_content_is_ever_seen(tmp_path):
    won, barrier = [], threading.Barrier(8)

    def race(number):
        barrier.wait()
        for turn in range(20):
            if create_object(str(tmp_path / f"{turn}"), b"%d" % number * 1000):
                won.append((turn, number))

    threads = [threading.Thread(target=race, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(turn for turn, _ in won) == list(range(20))
    assert all((tmp_path / str(turn)).read_bytes() == b"%d" % number * 1000 for turn, number in won)
    assert len(list(tmp_path.iterdir())) == 20


def test_a_finished_file_becomes_an_object(store, tmp_path):
    file = tmp_path / "made"
    for content in (b"first", b"second"):
        file.write_bytes(content)
        commit_file(store.path("a/b.npy"), str(file))
        assert store.read("a/b.npy") == content
        assert not file.exists()
    assert store.child("a").names() == ["b.npy"]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, 3, b"012"),
        (3, 6, b"345"),
        (8, 10, b"89"),
        (8, 99, b"89"),
        (10, 20, b""),
        (4, 4, b""),
        (0, 10, b"0123456789"),
    ],
)
def test_a_range_comes_back(store, start, end, expected):
    store.write("a/digits", b"0123456789")
    assert read_range(store.path("a/digits"), start, end) == expected


def test_a_range_of_nothing_is_missing(store):
    with pytest.raises(FileNotFoundError):
        read_range(store.path("none"), 0, 4)


@pytest.mark.parametrize("chunks", [[], [b""], [b"one"], [b"one", b"", b"two", b"3" * 100_000]])
def test_chunks_become_one_object(store, chunks):
    write_chunks(store.path("a/b"), iter(chunks))
    assert store.read("a/b") == b"".join(chunks)
    write_chunks(store.path("a/b"), [b"second"])
    assert store.read("a/b") == b"second"
    assert store.child("a").names() == ["b"]


def test_chunks_that_break_off_leave_the_object_as_it_was(store):
    def broken():
        yield b"half"
        raise RuntimeError("the rest is lost")

    store.write("x", b"before")
    with pytest.raises(RuntimeError, match="lost"):
        write_chunks(store.path("x"), broken())
    assert store.read("x") == b"before"


def test_objects_are_deleted_by_suffix(store):
    store.delete_all(".found")
    for name in ("a.found", "b.found", "found", "a.found.done", "inner/c.found"):
        store.write(name, b"x")
    store.delete_all(".found")
    assert store.names() == ["a.found.done", "found", "inner"]
    assert store.child("inner").names() == ["c.found"]


def test_a_file_is_committed_across_filesystems(tmp_path, monkeypatch):
    replace = Path.replace

    def refused(self, target):
        if self.name == "made":
            raise OSError(errno.EXDEV, "another device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refused)
    (tmp_path / "made").write_bytes(b"content")
    commit_file(str(tmp_path / "a/b"), str(tmp_path / "made"))
    assert (tmp_path / "a/b").read_bytes() == b"content"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b"]


def test_bytes_are_counted(store, tmp_path):
    taken()
    store.write("x", b"123")
    create_object(store.path("y"), b"1")
    create_object(store.path("y"), b"12")
    (tmp_path / "made").write_bytes(b"12345")
    commit_file(store.path("z"), str(tmp_path / "made"))
    write_chunks(store.path("c"), [b"12", b"3456"])
    store.read("x")
    read_range(store.path("c"), 1, 3)
    assert taken() == {"retries": 0, "read_bytes": 5, "written_bytes": 15}


def test_digests_do_not_depend_on_key_order():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest([1, 2]) != digest([2, 1])
    assert len(digest("x")) == 16
    assert checksum(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_memory_is_a_filesystem_of_its_own(store):
    store.write("x", b"1")
    assert fsspec.filesystem("memory").exists(store.path("x")) == store.url.startswith("memory")
