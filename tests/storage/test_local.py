"""A disk that takes no more is said in one line, and nothing half written stays."""

import errno
import re
from pathlib import Path

import pytest
from full_disk import files_of_at_most

from filtering.core.errors import RunError
from filtering.runtime.events import EventLog
from filtering.storage.local import create_whole, disk_error, move_whole, write_whole
from filtering.storage.outputs import delete_halves
from filtering.storage.store import Store, commit_file, create_object, write_chunks, write_object

LARGE = bytes(1 << 16)


WRITERS = {
    "write_whole": lambda folder: write_whole(folder / "x", [LARGE]),
    "create_whole": lambda folder: create_whole(folder / "x", LARGE),
    "write_object": lambda folder: write_object(f"{folder}/x", LARGE),
    "create_object": lambda folder: create_object(f"{folder}/x", LARGE),
    "write_chunks": lambda folder: write_chunks(f"{folder}/x", iter([b"few", LARGE])),
    "a store's table": lambda folder: Store(str(folder)).write_json("x", LARGE.decode()),
    "the log": lambda folder: EventLog(Store(str(folder))).append("x", text=LARGE.decode()),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_disk_that_takes_no_more_is_one_line_and_leaves_nothing(tmp_path, write):
    expected = rf"^{re.escape(str(tmp_path))}: cannot be written \(File too large\), [0-9,]+ bytes are free there; make"
    with files_of_at_most(4096), pytest.raises(RunError, match=expected):
        write(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name != "events.jsonl"] == []


@pytest.mark.parametrize("move", [move_whole, lambda source, target: commit_file(str(target), str(source))])
def test_a_move_to_a_full_disk_leaves_no_half(tmp_path, monkeypatch, move):
    (tmp_path / "source").write_bytes(LARGE)
    target = tmp_path / "out/target"
    replace = Path.replace

    def elsewhere(path, other):
        if path.name == "source":
            raise OSError(errno.EXDEV, "another disk")
        return replace(path, other)

    monkeypatch.setattr(Path, "replace", elsewhere)
    with files_of_at_most(4096), pytest.raises(RunError, match=r"out: cannot be written \(File too large\)"):
        move(tmp_path / "source", target)
    assert list(target.parent.iterdir()) == []
    move(tmp_path / "source", target)
    assert target.read_bytes() == LARGE
    assert [path.name for path in target.parent.iterdir()] == ["target"]


@pytest.mark.parametrize("kind", ["ENOSPC", "EDQUOT", "EROFS", "EFBIG"])
def test_what_a_full_disk_says(tmp_path, kind):
    full = OSError(getattr(errno, kind), "no", f"{tmp_path}/gone/deep/file")
    assert str(disk_error(full)).startswith(f"{tmp_path}/gone/deep: cannot be written (")
    assert disk_error(OSError(errno.ENOENT, "no")) is None
    assert disk_error(ValueError("no")) is None


def test_chunks_that_fail_are_not_the_disks_fault(tmp_path):
    def chunks():
        yield b"few"
        raise OSError(errno.EIO, "the source is broken")

    with pytest.raises(OSError, match="the source is broken"):
        write_whole(tmp_path / "x", chunks())
    assert list(tmp_path.iterdir()) == []


def test_halves_of_killed_writes_are_deleted_and_nothing_else(tmp_path):
    store, half = Store(str(tmp_path)), f".{'0a' * 16}.tmp"
    others = ["a.json", "b.tmp", f"deep/c{half}", f"mine{half}", f"a.json.{'0A' * 16}.tmp"]
    for name in (*others, f"a.json{half}", f"b.npz{half}"):
        store.write(name, b"x")
    delete_halves(store, re.compile(r"a\.json|b\.npz").fullmatch)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == sorted(others)
    delete_halves(store)
    assert not store.exists(f"mine{half}")
