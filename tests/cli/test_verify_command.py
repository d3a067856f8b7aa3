import json
import shutil


def test_a_run_that_holds_is_said_to_hold(metadata_run, call_main):
    status, out, _ = call_main("verify", str(metadata_run), "--json")
    assert status == 0
    assert json.loads(out) == {"run": str(metadata_run), "problems": [], "ok": True}
    status, out, _ = call_main("verify", str(metadata_run))
    assert (status, out) == (0, f"{metadata_run}: no problems found\n")


def test_it_exits_with_1_when_something_does_not_hold(metadata_run, call_main, tmp_path):
    copy = shutil.copytree(metadata_run, tmp_path / "run", ignore=shutil.ignore_patterns("stages"))
    (copy / "manifest/subset.npy").write_bytes(b"")
    status, out, _ = call_main("verify", str(copy))
    assert status == 1
    assert "manifest/subset.npy" in out


def test_what_is_no_run_is_refused(refused):
    assert "/nowhere: holds no finished run" in refused("verify", "/nowhere")
