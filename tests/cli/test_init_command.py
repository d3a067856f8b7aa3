import json

import pytest

from filtering.cli import main
from filtering.cli.init import examples
from filtering.config.run import load_config


@pytest.mark.parametrize("name", examples())
def test_every_example_is_a_configuration(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["init", name]) == 0
    assert f"wrote run.yaml, the example {name}" in capsys.readouterr().out
    where = "" if name == "local" else "s3://"
    assert load_config("run.yaml").output.startswith(f"{where}runs/")


def test_what_is_there_is_not_overwritten(tmp_path, refused):
    path = tmp_path / "mine.yaml"
    path.write_text("mine")
    line = refused("init", "--out", str(path))
    assert f"init: {path} is there already; give another file by --out" in line
    assert path.read_text() == "mine"


def test_json_names_the_file(tmp_path, capsys):
    assert main(["init", "nightly", "--out", str(tmp_path / "n.yaml"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"example": "nightly", "file": f"{tmp_path}/n.yaml"}


def test_an_unknown_example_is_refused_with_the_nearest(refused):
    assert "did you mean nightly?" in refused("init", "nightli")


def test_a_folder_that_is_not_there_is_named(tmp_path, refused):
    assert str(tmp_path / "none" / "run.yaml") in refused("init", "--out", str(tmp_path / "none" / "run.yaml"))
