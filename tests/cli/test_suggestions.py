import pytest


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["rn"], "unknown command rn; did you mean run?"),
        (["--vresion"], "unknown option --vresion; did you mean --version?"),
        (["status"], "RUN"),
    ],
)
def test_a_wrong_command_line_is_refused_with_the_nearest_name(refused, arguments, line):
    assert line in refused(*arguments)


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("runs/frist", "runs/first"),
        ("rns/first", "runs/first"),
        ("only", "only/run"),
        ("{absolute}/runs/frist", "{absolute}/runs/first"),
    ],
)
@pytest.mark.parametrize("command", [["status"], ["verify"], ["diff", "runs/first"]])
def test_a_run_that_is_not_there_is_refused_with_the_nearest(tmp_path, monkeypatch, call_main, command, given, near):
    for run in ("runs/first", "runs/second", "only/run"):
        (tmp_path / run).mkdir(parents=True)
        (tmp_path / run / "run.json").write_text("{}")
    (tmp_path / "runs/frist-but-no-run").mkdir()
    monkeypatch.chdir(tmp_path)
    given, near = (path.format(absolute=tmp_path) for path in (given, near))
    status, _, err = call_main(*command, given)
    assert (status, err) == (2, f"filtering: {given}: holds no run; did you mean {near}?\n")
