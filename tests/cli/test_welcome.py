import pytest

from filtering.cli import main


def alone(capsys, folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert main([]) == 0
    return capsys.readouterr().out


def test_without_arguments_it_says_what_to_do_first(tmp_path, monkeypatch, capsys):
    told = alone(capsys, tmp_path, monkeypatch)
    for command in ("filtering demo", "filtering plan --config", "filtering run --config", "filtering --help"):
        assert command in told
    assert len(told.splitlines()) < 15


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
