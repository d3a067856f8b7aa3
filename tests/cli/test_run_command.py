import json
from pathlib import Path

import pytest
from pools import metadata_config
from processes import call, write_config

from filtering.cli import main
from filtering.cli.run import run_lines
from filtering.runtime.run_record import read_run
from filtering.storage.store import Store

CONFIG = ["run", "--config", "run.yaml"]


@pytest.fixture(scope="module")
def finished(metadata_pool, tmp_path_factory):
    """A run made by the command line in a process of its own, in which open_clip and torch cannot be imported.

    Its tasks run in that process, too.
    """
    folder = tmp_path_factory.mktemp("cli")
    (folder / "sitecustomize.py").write_text(
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('torch', 'open_clip', 'torchvision'):\n"
        "            raise ImportError(name + ' must not be imported')\n"
        "sys.meta_path.insert(0, Refuse())\n"
    )
    config = metadata_config(metadata_pool, folder / "run", ray={"address": "none"})
    done = call("run", "--config", write_config(folder / "run.yaml", config), "--json", PYTHONPATH=str(folder))
    return folder, done


@pytest.mark.slow
def test_metadata_runs_without_open_clip_or_torch(finished):
    _, done = finished
    assert done.returncode == 0, done.stderr


HEAVY = ("torch", "ray", "faiss", "numba", "pyarrow", "numpy")
WRONG = {
    "input": {"shards": ["none/*.tar", "{0..9999999999}.tar"]},
    "embedding": {"model": "ViT-B-33", "pretrained": "openai"},
    "graf": {"k": 3},
    "graph": {"recall": 2},
    "selection": {"score": "clipscore"},
}
SAID = [
    "--set graph.k: must read KEY=VALUE, such as selection.keep=0.3",
    "graf: unknown key; did you mean graph?",
    "output: is missing; it must be",
    "graph.recall: 2 is not valid",
    "selection.score: unknown scorer clipscore; did you mean clip_score?",
    "embedding.model: open_clip knows no ViT-B-33; did you mean ViT-B-32?",
    "{0..9999999999}.tar: its braces stand for 10,000,000,001 names",
    "input.shards: none/*.tar is not there",
]


@pytest.mark.parametrize("name", ["run", "plan"])
def test_all_mistakes_are_said_at_once_before_anything_heavy_is_imported(tmp_path, name):
    (tmp_path / "sitecustomize.py").write_text(
        f"import sys\nsys.modules.update(dict.fromkeys({HEAVY}))  # whoever imports one of these fails\n"
    )
    config = write_config(tmp_path / "run.yaml", WRONG)
    done = call(name, "--config", config, "--set", "graph.k", PYTHONPATH=f"{tmp_path}:{Path.cwd()}")
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert len(lines) == len(SAID)
    assert all(line.startswith(f"filtering: {said}") for line, said in zip(lines, SAID, strict=True)), lines


def test_json_is_one_object_on_stdout(finished):
    folder, done = finished
    assert json.loads(done.stdout) == read_run(Store(str(folder / "run")))
    assert "embedding" in done.stderr


def test_a_person_reads_totals_warnings_and_where_the_results_are(metadata_run):
    record = json.loads((metadata_run / "run.json").read_text())
    totals, *warnings, manifest, report, after = run_lines(record | {"warnings": ["a warning"]}, "runs/first")
    assert totals.startswith(f"kept {record['totals']['kept']:,} of {record['totals']['input']:,} samples; dropped ")
    assert warnings == ["warning: a warning"]
    assert manifest == f"manifest  runs/first/manifest  {record['manifest_hash'][:16]}"
    assert report == "report    runs/first/report/index.html"
    # Of metadata there are no tars to export.
    assert after.startswith("next: filtering report runs/first, filtering explain runs/first SAMPLE, filtering export ")
    assert after.endswith("--format parquet --out URL")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["run", "--config", "/nowhere.yaml"], "/nowhere.yaml: cannot be read"),
        (["run", "--config", "{config}", "--set", "selction.keep=1"], "selction: unknown key; did you mean selection?"),
        (["run", "--config", "{config}", "--set", "selection.keep=2.5"], "selection.keep: 2.5 is not valid"),
        (["run", "--config", "{config}", "--set", "nonsense"], "must read KEY=VALUE"),
        (["run"], "--config"),
        (["run", "run.yaml"], "run.yaml: give the configuration as --config run.yaml"),
        (["run", "--cofnig", "run.yaml"], "unknown option --cofnig; did you mean --config?"),
        ([*CONFIG, "--keep", "0.3"], "unknown option --keep; "),
        ([*CONFIG, "--keep", "0.3"], "--set selection.keep=0.3"),
        ([*CONFIG, "--num-cpus=4"], "--set ray.num_cpus=4"),
    ],
)
def test_a_wrong_configuration_is_refused(refused, config_file, arguments, line):
    assert line in refused(*(argument.format(config=config_file) for argument in arguments))


def test_every_mistake_of_a_configuration_is_a_line(call_main, config_file):
    status, out, err = call_main("run", "--config", config_file, "--set", "graph.kk=3", "--set", "selection.keep=2.5")
    assert (status, out) == (2, "")
    lines = err.splitlines()
    assert [line.partition(";")[0] for line in lines] == [
        "filtering: graph.kk: unknown key",
        "filtering: selection.keep: 2.5 is not valid",
    ]


def test_a_finished_run_is_not_done_again(metadata_pool, tmp_path, capsys):
    config = metadata_config(metadata_pool, tmp_path / "run")
    arguments = ["run", "--config", write_config(tmp_path / "run.yaml", config)]
    for done in (0, 11):
        assert main(arguments) == 0
        assert capsys.readouterr().err.count("already done") == done


def test_a_run_says_what_the_method_auto_stands_for(metadata_pool, tmp_path, capsys):
    for selection, said in (({"keep": 0.3}, 1), ({"method": "top", "score": "clip_score"}, 0)):
        config = metadata_config(metadata_pool, tmp_path / "run", selection=selection)
        assert main(["run", "--config", write_config(tmp_path / "run.yaml", config)]) == 0
        told = capsys.readouterr().err
        assert told.count("selection: the method auto is d2 with score right, budget distinct, variant novelty") == said
