"""An export that is killed goes on, and ends with the same bytes, for any number of workers."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from finished_runs import write_finished
from in_process import export
from pools import Told, members, write_tar

from filtering.core.errors import InputError
from filtering.exports import export as exports
from filtering.exports.job import STATE
from filtering.exports.options import Options
from filtering.runtime.in_process import InProcessExecutor
from filtering.storage.lease import Lease
from filtering.storage.store import Store

# Slow enough to be killed in the middle: each tar waits before it becomes an object.
SLOWLY = """
import sys, time
from filtering import cli
from filtering.exports import tar_export, tars
def slowly(*arguments):
    time.sleep(0.5)
    return tars.copy_samples(*arguments)
tar_export.copy_samples = slowly
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Store:
    folder = tmp_path_factory.mktemp("resumed")
    (folder / "pool").mkdir()
    for shard in range(4):
        write_tar(folder / f"pool/{shard:08d}.tar", members(shard, 12))
    return write_finished(folder / "run", folder / "pool", lambda uid: int(uid, 16) % 3 > 0)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def calm(run: Store, out: Path, form: str = "tar", **options) -> dict[str, bytes]:
    export(run, form, str(out), Options(**options))
    return content(out)


def disk_gone_at(monkeypatch, at):
    written = Store.write_json

    def failing(store, name, value):
        if name == at:
            raise RuntimeError("the disk is gone")
        written(store, name, value)

    monkeypatch.setattr(Store, "write_json", failing)


@pytest.mark.parametrize("options", [{"samples": 4}, {"bytes": 20_000}, {"samples": 4, "shuffle": True}], ids=str)
def test_one_worker_and_two_write_the_same_bytes(finished, tmp_path, options):
    one = calm(finished, tmp_path / "one", **options, cpus=1)
    assert one == calm(finished, tmp_path / "two", **options, cpus=2)
    assert len(one) > 12


def test_an_export_that_is_killed_goes_on_and_ends_with_the_same_bytes(finished, joined, tmp_path):
    out = tmp_path / "out"
    arguments = ["export", finished.url, "--format", "tar", "--samples", "3", "--out", str(out)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    killed = subprocess.Popen([sys.executable, "-c", SLOWLY, *arguments], env=os.environ | joined, **quiet)
    try:
        deadline = time.monotonic() + 120
        while len(list(out.glob("*.tar"))) < 2:
            assert killed.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline, "no tar was written"
            time.sleep(0.01)
    finally:
        killed.kill()
        killed.wait()
    assert not (out / "manifest.json").exists()
    markers = {path: path.stat().st_mtime_ns for path in (out / STATE).rglob("*.done")}
    written = {path.name: path.stat().st_ino for path in out.glob("*.tar")}
    found = calm(finished, out, samples=3)
    assert markers, "the first attempt finished a tar"
    done = [path.name.removesuffix(".done").removeprefix("tar-") + ".tar" for path in markers]
    assert all((out / name).stat().st_ino == written[name] for name in done), "what was done is not done again"
    assert found == calm(finished, tmp_path / "calm", samples=3)


@pytest.mark.parametrize("options", [{"samples": 4}, {"bytes": 20_000}, {"samples": 4, "shuffle": True}], ids=str)
def test_a_task_that_fails_leaves_what_the_next_attempt_goes_on_with(finished, tmp_path, monkeypatch, options):
    disk_gone_at(monkeypatch, "sizes.json")
    with pytest.raises(RuntimeError):
        calm(finished, tmp_path / "out", **options)
    monkeypatch.undo()
    assert calm(finished, tmp_path / "out", **options) == calm(finished, tmp_path / "calm", **options)


def test_two_exports_into_one_place_at_once_are_refused(finished, tmp_path):
    out = Store(str(tmp_path / "out"))
    with Lease(out.child(STATE)), pytest.raises(InputError, match="is being written by"):
        calm(finished, tmp_path / "out")


def test_another_export_in_the_same_place_is_refused_and_the_same_one_is_done(finished, tmp_path):
    first = calm(finished, tmp_path / "out", samples=4)
    assert calm(finished, tmp_path / "out", samples=4) == first
    with pytest.raises(InputError, match="holds another export, --format tar --samples 4 of run 0"):
        calm(finished, tmp_path / "out", samples=5)


def test_an_unfinished_export_with_other_options_is_refused(finished, tmp_path):
    Store(str(tmp_path / "out" / STATE)).write_json("export.json", {"format": "tar", "options": {"samples": 9}})
    Store(str(tmp_path / "out")).write("00000000.tar", b"its first")
    with pytest.raises(InputError, match="holds an unfinished export, --format tar --samples 9"):
        calm(finished, tmp_path / "out")


@pytest.mark.parametrize("into_existing", [False, True])
def test_an_export_that_was_refused_is_not_in_the_way_of_its_correction(finished, tmp_path, into_existing):
    out = tmp_path / "out"
    if into_existing:
        Store(str(out)).write("notes.txt", b"mine")
    with pytest.raises(InputError, match="--bytes: 100 is less than a kept sample"):
        export(finished, "tar", str(out), Options(bytes=100), into_existing=into_existing)
    export(finished, "tar", str(out), Options(bytes=1_000_000), into_existing=into_existing)
    mine = {"notes.txt": b"mine"} if into_existing else {}
    assert content(out) == calm(finished, tmp_path / "calm", bytes=1_000_000) | mine


def test_an_export_that_was_refused_is_not_in_the_way_of_another_format(finished, tmp_path):
    out = Store(str(tmp_path / "out"))
    with pytest.raises(InputError, match="--bytes: 100 is less than a kept sample"):
        export(finished, "tar", out.url, Options(bytes=100))
    out.write("shards.txt", b"mine")
    with pytest.raises(InputError, match=r"shards\.txt is there and was not written by filtering"):
        export(finished, "shards", out.url, into_existing=True)
    assert out.read("shards.txt") == b"mine"
    out.delete("shards.txt")
    export(finished, "shards", out.url)
    assert not (tmp_path / "out" / STATE).exists()


def test_what_an_export_left_that_was_killed_at_its_very_end_is_removed(finished, tmp_path):
    first = calm(finished, tmp_path / "out")
    Store(str(tmp_path / "out" / STATE)).write_json("export.json", {})
    assert calm(finished, tmp_path / "out") == first


FOREIGN = {"mine/00000000.tar": b"1", "notes.txt": b"2", "_export-mine/x": b"3"}


def test_files_of_others_stay_beside_an_export(finished, tmp_path):
    out = Store(str(tmp_path / "out"))
    for name, data in FOREIGN.items():
        out.write(name, data)
    with pytest.raises(InputError, match=r"holds files that do not belong to this output .*--into-existing"):
        calm(finished, tmp_path / "out")
    export(finished, "tar", out.url, into_existing=True)
    assert {name: out.read(name) for name in FOREIGN} == FOREIGN
    # It is an export's folder now.
    export(finished, "tar", out.url)


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("tar", "00000007.tar"),
        ("tar", "manifest.json"),
        ("shards", "sizes.json"),
        ("parquet", "00000000.parquet"),
        ("datacomp", "subset.npy"),
    ],
)
def test_an_export_writes_over_nothing(finished, tmp_path, form, name):
    out = Store(str(tmp_path / "out"))
    out.write(name, b"mine")
    with pytest.raises(InputError, match=f"{name} is there and"):
        export(finished, form, out.url, into_existing=True)
    assert out.read(name) == b"mine"


@pytest.mark.parametrize("form", ["tar", "shards"])
def test_an_export_into_the_pool_is_refused_always(finished, tmp_path, form):
    pool = Path(finished.url).parent / "pool"
    (tmp_path / "link").symlink_to(pool)
    before = content(pool)
    for out in (pool, tmp_path / "link"):
        with pytest.raises(InputError, match=r"--out: .* is where the input has .*; choose a folder of its own"):
            export(finished, form, str(out), into_existing=True)
    assert content(pool) == before


def repeated(run: Store, out: Path, form: str, **options) -> list[str]:
    """Give the command of an export that was finished again, and return what it says."""
    told = Told()
    exports.export(run, form, str(out), Options(**options), told, InProcessExecutor())
    return told.lines


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("tar", {"samples": 4}),
        ("tar", {"bytes": 20_000}),
        ("tar", {"samples": 4, "shuffle": True}),
        ("shards", {}),
    ],
    ids=str,
)
def test_what_was_lost_of_a_finished_export_is_made_again_and_nothing_else(finished, tmp_path, form, options):
    out = tmp_path / "out"
    whole = calm(finished, out, form, **options)
    assert repeated(finished, out, form, **options) == []
    parts, sizes = sorted([*out.glob("*.tar"), *out.glob("keys/*.json")]), out / "sizes.json"
    inodes = {path: path.stat().st_ino for path in parts}
    # The number of an inode that nothing names is given to the next file.
    (tmp_path / "held").hardlink_to(parts[1])
    parts[1].unlink()
    parts[2].write_bytes(b"\0" * 100)
    sizes.unlink()
    (line,) = repeated(finished, out, form, **options)
    assert line.endswith(", as are 2 more objects; what differs is made again")
    assert content(out) == whole
    assert [path for path in parts if path.stat().st_ino != inodes[path]] == parts[1:3]


def test_what_is_lost_while_an_export_waits_to_go_on_is_made_again(finished, tmp_path, monkeypatch):
    out = tmp_path / "out"
    disk_gone_at(monkeypatch, "manifest.json")
    with pytest.raises(RuntimeError):
        calm(finished, out, samples=4)
    monkeypatch.undo()
    (out / "00000001.tar").unlink()
    (line,) = repeated(finished, out, "tar", samples=4)
    assert line == f"--out: {out}/00000001.tar is missing; what differs is made again"
    assert content(out) == calm(finished, tmp_path / "calm", samples=4)


def test_an_export_of_an_earlier_version_which_lists_no_objects_is_made_again(finished, tmp_path):
    out = tmp_path / "out"
    whole = calm(finished, out, samples=4)
    manifest = json.loads(whole["manifest.json"])
    old = {name: value for name, value in manifest.items() if name not in ("version", "written", "results")}
    (out / "manifest.json").write_text(json.dumps(old))
    (out / "00000001.tar").write_bytes(b"old")
    (line,) = repeated(finished, out, "tar", samples=4)
    assert "another version of filtering wrote it" in line
    assert content(out) == whole
    assert "written" not in export(finished, "tar", str(out), Options(samples=4))


def test_an_export_of_a_run_that_was_made_again_with_other_scores_is_another_export(tmp_path):
    (tmp_path / "pool").mkdir()
    write_tar(tmp_path / "pool/00000000.tar", members(0, 4))
    run = write_finished(tmp_path / "run", tmp_path / "pool")
    export(run, "tar", str(tmp_path / "out"))
    record = run.read_json("run.json")
    run.write_json("run.json", record | {"objects": record["objects"] | {"scores": "stages/scores-1"}})
    with pytest.raises(InputError, match=r"of run 0 \(made again since with other results\); choose another"):
        export(run, "tar", str(tmp_path / "out"))


def test_where_the_pool_has_gone_an_export_that_was_damaged_keeps_its_manifest(tmp_path):
    (tmp_path / "pool").mkdir()
    write_tar(tmp_path / "pool/00000000.tar", members(0, 4))
    run, out = write_finished(tmp_path / "run", tmp_path / "pool"), tmp_path / "out"
    whole = calm(run, out, samples=2)
    (tmp_path / "pool/00000000.tar").unlink()
    (out / "00000001.tar").unlink()
    with pytest.raises(InputError, match="it was deleted since the run"):
        calm(run, out, samples=2)
    (out / "00000001.tar").write_bytes(whole["00000001.tar"])
    assert calm(run, out, samples=2) == whole
