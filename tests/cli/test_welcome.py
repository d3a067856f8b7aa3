import re

import pytest
import yaml

from filtering.cli import main
from filtering.config.run import parse_config
from filtering.embedding.checkpoint import model_files


def alone(capsys, folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert main([]) == 0
    return capsys.readouterr().out


def test_without_arguments_it_says_what_to_do_first(tmp_path, monkeypatch, capsys):
    told = alone(capsys, tmp_path, monkeypatch)
    for command in ("filtering demo", "filtering plan --config", "filtering run --config", "filtering --help"):
        assert command in told
    assert len(told.splitlines()) < 15


def test_the_configuration_that_it_proposes_is_valid(tmp_path, monkeypatch, capsys):
    told = [line.strip() for line in alone(capsys, tmp_path, monkeypatch).splitlines()]
    config = parse_config(
        yaml.safe_load("\n".join(line for line in told if re.match("(input|embedding|output): ", line)))
    )
    assert model_files(config.embedding).name == "ViT-B-32"


def test_without_arguments_it_knows_the_finished_demo(tmp_path, monkeypatch, capsys):
    (tmp_path / "filtering-demo/run").mkdir(parents=True)
    (tmp_path / "filtering-demo/run/run.json").write_text("{}")
    told = alone(capsys, tmp_path, monkeypatch)
    assert "The demo is finished" in told
    assert "filtering report filtering-demo/run" in told


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ((), "filtering plan --config mine.yaml"),
        (("events.jsonl",), "filtering status out/first --watch"),
        (("events.jsonl", "run.json"), "filtering report out/first"),
    ],
)
def test_without_arguments_it_knows_a_configuration_and_how_its_run_stands(tmp_path, monkeypatch, capsys, there, said):
    (tmp_path / "mine.yaml").write_text("input:\n  shards: pool/*.tar\noutput: 'out/first'  # here\n")
    (tmp_path / "other.yaml").write_text("services:\n  input: 1\n  output: 2\n")
    (tmp_path / "out/first").mkdir(parents=True)
    for name in there:
        (tmp_path / "out/first" / name).write_text("")
    told = alone(capsys, tmp_path, monkeypatch)
    assert said in told
    assert "other.yaml" not in told
