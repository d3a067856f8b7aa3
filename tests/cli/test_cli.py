import json
import shutil
import subprocess
import sys

import pytest
from pools import metadata_config
from processes import call, write_config

from filtering.cli import main
from filtering.cli.completion import completion
from filtering.cli.live import STAGES
from filtering.cli.parser import FORMATS, new_parser
from filtering.exports.options import KNOWN


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
        (["export", "/nowhere", "--format", "tarr", "--out", "x"], "unknown format tarr; did you mean tar?"),
        (["export", "/nowhere", "--fromat", "tar", "--out", "x"], "unknown option --fromat; did you mean --format?"),
        (["methods", "clip_scor"], "did you mean clip_score?"),
        (["completion", "fsh"], "unknown shell fsh; did you mean fish?"),
        (["rn"], "unknown verb rn; did you mean run?"),
        (["--vresion"], "unknown option --vresion; did you mean --version?"),
        (["run"], "--config"),
        (["run", "run.yaml"], "run.yaml: the configuration is given as --config run.yaml"),
        (["run", "--cofnig", "run.yaml"], "unknown option --cofnig; did you mean --config?"),
        (["run", "--config", "run.yaml", "--keep", "0.3"], "unknown option --keep; "),
        (["run", "--config", "run.yaml", "--keep", "0.3"], "--set selection.keep=0.3"),
        (["run", "--config", "run.yaml", "--num-cpus=4"], "--set ray.num_cpus=4"),
        (["plan", "--config", "run.yaml", "--rows", "many"], "--rows: many is not a number"),
        (["status", "run", "--every", "0"], "--every: 0 is not a number of seconds"),
        (["status"], "RUN"),
    ],
)
def test_wrong_input_is_one_line_and_exit_status_2(capsys, tmp_path, metadata_pool, arguments, line):
    config = write_config(tmp_path / "run.yaml", metadata_config(metadata_pool, tmp_path / "run"))
    status, told = ended([argument.format(config=config) for argument in arguments], capsys)
    assert status == 2
    assert line in told.err
    assert told.err.count("\n") == 1
    assert told.out == ""


def ended(arguments, capsys):
    try:
        status = main(arguments)
    except SystemExit as ending:
        status = ending.code
    return status, capsys.readouterr()


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("runs/frist", "runs/first"),
        ("rns/first", "runs/first"),
        ("only", "only/run"),
        ("{absolute}/runs/frist", "{absolute}/runs/first"),
    ],
)
@pytest.mark.parametrize("verb", [["status"], ["verify"], ["diff", "runs/first"]])
def test_a_run_that_is_not_there_is_refused_with_the_nearest(tmp_path, monkeypatch, capsys, verb, given, near):
    for run in ("runs/first", "runs/second", "only/run"):
        (tmp_path / run).mkdir(parents=True)
        (tmp_path / run / "run.json").write_text("{}")
    (tmp_path / "runs/frist-but-no-run").mkdir()
    monkeypatch.chdir(tmp_path)
    given, near = (path.format(absolute=tmp_path) for path in (given, near))
    status, told = ended([*verb, given], capsys)
    assert (status, told.err) == (2, f"filtering: {given}: holds no run; did you mean {near}?\n")


VERBS = sorted(new_parser().verbs())


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_an_example(capsys, verb):
    status, told = ended([verb, "--help"], capsys)
    assert status == 0
    assert f"Example: filtering {verb}" in told.out
    assert verb in ended(["--help"], capsys)[1].out


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_is_explained(verb):
    assert all(action.help for action in new_parser().verbs()[verb]._actions)


def test_the_formats_of_help_are_those_of_export():
    assert tuple(KNOWN) == FORMATS


def test_stages_said_to_come_are_those_of_a_run(finished):
    record = json.loads((finished[0] / "run/run.json").read_text())
    assert tuple(stage["name"] for stage in record["stages"]) == STAGES


def alone(capsys, folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert main([]) == 0
    return capsys.readouterr().out


def test_without_a_verb_it_says_what_to_do_first(tmp_path, monkeypatch, capsys):
    told = alone(capsys, tmp_path, monkeypatch)
    for command in ("filtering demo", "filtering plan --config", "filtering run --config", "filtering --help"):
        assert command in told
    assert len(told.splitlines()) < 15


def test_without_a_verb_it_knows_the_finished_demo(tmp_path, monkeypatch, capsys):
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
def test_without_a_verb_it_knows_a_configuration_and_how_its_run_stands(tmp_path, monkeypatch, capsys, there, said):
    (tmp_path / "mine.yaml").write_text("input:\n  shards: pool/*.tar\noutput: 'out/first'  # here\n")
    (tmp_path / "other.yaml").write_text("services:\n  input: 1\n  output: 2\n")
    (tmp_path / "out/first").mkdir(parents=True)
    for name in there:
        (tmp_path / "out/first" / name).write_text("")
    told = alone(capsys, tmp_path, monkeypatch)
    assert said in told
    assert "other.yaml" not in told


def test_nothing_heavy_is_imported_before_a_verb_needs_it():
    heavy = ["numpy", "pydantic", "rich", "ray", "torch", "fsspec", "pyarrow", "yaml"]
    code = (
        "import sys; from filtering.cli import main; main([])\n"
        "from filtering.cli.parser import new_parser; new_parser().format_help()\n"
        f"sys.exit(' '.join(name for name in {heavy} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "\n")


TRY = """
try() {
  COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
  local complete=$(complete -p filtering); complete=${complete##*-F }
  ${complete%% *}; echo "${COMPREPLY[*]}"
}
"""


def test_bash_completes_verbs_options_files_formats_and_names(tmp_path):
    (tmp_path / "script").write_text(completion("bash"))
    (tmp_path / "run.yaml").write_text("")
    (tmp_path / "runs/first").mkdir(parents=True)
    asked = {
        "filtering ex": "explain export",
        "filtering run --c": "--config",
        "filtering run --config run.y": "run.yaml",
        "filtering export runs/first --format ''": "datacomp shards tar parquet",
        "filtering status runs/f": "runs/first",
        "filtering status runs/first --w": "--watch",
        "filtering methods clip_": "clip_powered clip_score",
        "filtering completion z": "zsh",
    }
    script = f"source ./script\n{TRY}" + "".join(f"try {words}\n" for words in asked)
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert dict(zip(asked, done.stdout.splitlines(), strict=True)) == asked, done.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_take_their_scripts(shell, tmp_path, capsys):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "clip_powered" in script
    if shutil.which(shell):
        (tmp_path / "script").write_text(script)
        subprocess.run([shell, "-n", str(tmp_path / "script")], check=True)


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
