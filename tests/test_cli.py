import json

import pytest
from pools import metadata_config
from processes import call, write_config

from filtering.cli import main


@pytest.fixture(scope="module")
def finished(metadata_pool, tmp_path_factory):
    """A run made by the command line in a process of its own, in which open_clip and torch cannot be imported."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "sitecustomize.py").write_text(
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('torch', 'open_clip', 'torchvision'):\n"
        "            raise ImportError(name + ' must not be imported')\n"
        "sys.meta_path.insert(0, Refuse())\n"
    )
    config = metadata_config(metadata_pool, folder / "run", ray={"address": "local", "num_cpus": 2})
    done = call("run", "--config", write_config(folder / "run.yaml", config), "--json", PYTHONPATH=str(folder))
    return folder, done


def test_metadata_runs_without_open_clip_or_torch(finished):
    _, done = finished
    assert done.returncode == 0, done.stderr


def test_json_is_one_object_on_stdout(finished):
    folder, done = finished
    assert json.loads(done.stdout) == json.loads((folder / "run/run.json").read_text())
    assert "embedding" in done.stderr


@pytest.mark.parametrize("verb", ["status", "verify", "report"])
def test_what_is_said_of_a_run(finished, capsys, verb):
    folder, _ = finished
    assert main([verb, str(folder / "run"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {"status": "state", "verify": "ok", "report": "page"}[verb] in told
    assert main([verb, str(folder / "run")]) == 0
    assert capsys.readouterr().out


def test_a_page_and_an_export_are_copied_out(finished, capsys, tmp_path):
    folder, _ = finished
    assert main(["report", str(folder / "run"), "--out", str(tmp_path / "page")]) == 0
    assert "<html" in (tmp_path / "page/index.html").read_text()
    assert main(["export", str(folder / "run"), "--format", "datacomp", "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out/subset.npy").exists()


def test_verify_exits_1_when_something_does_not_hold(finished, capsys, tmp_path):
    import shutil

    folder, _ = finished
    copy = shutil.copytree(folder / "run", tmp_path / "run", ignore=shutil.ignore_patterns("stages"))
    (copy / "manifest/subset.npy").write_bytes(b"")
    assert main(["verify", str(copy)]) == 1
    assert "manifest/subset.npy" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["run", "--config", "/nowhere.yaml"], "/nowhere.yaml: cannot be read"),
        (["run", "--config", "{config}", "--set", "selction.keep=1"], "selction: unknown key; did you mean selection?"),
        (["run", "--config", "{config}", "--set", "selection.keep=2.5"], "selection.keep: 2.5 is not valid"),
        (["run", "--config", "{config}", "--set", "nonsense"], "must read KEY=VALUE"),
        (["verify", "/nowhere"], "/nowhere: holds no finished run"),
        (["status", "/nowhere"], "/nowhere: holds no run"),
        (["export", "/nowhere", "--format", "shards", "--out", "x"], "/nowhere: holds no finished run"),
        (["rn"], "did you mean run?"),
        (["run"], "--config"),
    ],
)
def test_wrong_input_is_one_line_and_exit_status_2(capsys, tmp_path, metadata_pool, arguments, line):
    config = write_config(tmp_path / "run.yaml", metadata_config(metadata_pool, tmp_path / "run"))
    try:
        status = main([argument.format(config=config) for argument in arguments])
    except SystemExit as ended:
        status = ended.code
    told = capsys.readouterr()
    assert status == 2
    assert line in told.err
    assert told.err.count("\n") == 1
    assert told.out == ""


@pytest.mark.parametrize("verb", ["demo", "plan", "run", "status", "verify", "report", "export"])
def test_every_verb_explains_itself_with_an_example(capsys, verb):
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    assert ended.value.code == 0
    assert f"Example: filtering {verb}" in capsys.readouterr().out


def test_what_a_library_prints_stays_off_stdout(finished, capsys, monkeypatch):
    from filtering.manifests import verify

    def noisy(run):
        print("a notice of a library")
        return iter(())

    monkeypatch.setattr(verify, "problems", noisy)
    assert main(["verify", str(finished[0] / "run"), "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["ok"] is True
    assert "a notice of a library" in told.err
