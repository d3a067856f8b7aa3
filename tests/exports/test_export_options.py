"""What cannot be exported is refused in one line before anything is written."""

import json

import pytest
from finished_runs import write_finished
from in_process import export
from pools import members, write_tar

from filtering.cli import main
from filtering.core.errors import InputError
from filtering.exports.export import export as whole_export
from filtering.exports.options import Options
from filtering.storage.store import Store

WRONG = [
    ("tars", {}, r"--format: unknown format tars; did you mean tar\?"),
    ("shards", {"samples": 5}, "--samples: is no option of --format shards; it is one of tar, parquet"),
    ("parquet", {"shuffle": True}, "--shuffle: is no option of --format parquet; it is one of tar"),
    ("tar", {"no_urls": True}, "--no-urls: is no option of --format tar; it is one of datacomp and parquet"),
    ("tar", {"seed": 3}, "--seed: means nothing without --shuffle"),
    ("tar", {"seed": 0}, "--seed: means nothing without --shuffle"),
    ("datacomp", {"all": True}, "--all: means nothing without --embeddings"),
    ("tar", {"samples": 5, "bytes": 5}, "--bytes: give either --samples or --bytes"),
    ("tar", {"samples": 0}, "--samples: 0 is not valid"),
    ("tar", {"shuffle": True, "seed": -1}, "--seed: -1 is not valid"),
]


@pytest.fixture
def finished(tmp_path) -> Store:
    (tmp_path / "pool").mkdir()
    write_tar(tmp_path / "pool/00000000.tar", members(0, 4))
    return write_finished(tmp_path / "run", tmp_path / "pool")


@pytest.mark.parametrize(("form", "options", "message"), WRONG)
def test_wrong_options_are_refused_in_one_line(finished, tmp_path, form, options, message):
    with pytest.raises(InputError, match=message) as found:
        export(finished, form, str(tmp_path / "out"), Options(**options))
    assert "\n" not in str(found.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("inside", ["", "/", "/exported", "/../run/x"])
def test_an_output_inside_the_run_is_refused(finished, tmp_path, inside):
    for form in ("datacomp", "shards", "tar", "parquet"):
        with pytest.raises(InputError, match="is inside the run's directory"):
            export(finished, form, f"{tmp_path}/run{inside}")


def test_tars_of_a_run_over_metadata_are_refused_with_the_formats_that_there_are(finished, tmp_path):
    record = finished.read_json("run.json")
    record["config"]["input"] = {"shards": None, "metadata": "x"}
    finished.write_json("run.json", record)
    with pytest.raises(InputError, match=r"has no tars; its formats are datacomp, shards, parquet"):
        export(finished, "tar", str(tmp_path / "out"))


def test_what_a_run_lacks_is_named(finished, tmp_path):
    with pytest.raises(InputError, match="holds no finished run"):
        export(Store(str(tmp_path / "nothing")), "tar", str(tmp_path / "out"))
    (tmp_path / "run/stages/inventory-0/shards.json").unlink()
    with pytest.raises(InputError, match=r"its inventory, .*shards.json, is gone"):
        export(finished, "tar", str(tmp_path / "out"))
    export(finished, "datacomp", str(tmp_path / "out"))


def test_only_the_subset_file_goes_to_a_path_of_its_own(finished, tmp_path):
    export(finished, "datacomp", str(tmp_path / "out.npy"))
    for form, options in (("tar", Options()), ("datacomp", Options(embeddings=True))):
        with pytest.raises(InputError, match=r"--out: .*out.npy must be a folder"):
            export(finished, form, str(tmp_path / "out.npy"), options)


@pytest.mark.usefixtures("cluster")
def test_the_command_line_knows_the_options(finished, tmp_path, capsys):
    arguments = ["export", finished.url, "--format", "tar", "--out", str(tmp_path / "out"), "--samples", "3"]
    assert main([*arguments, "--shuffle", "--seed", "1", "--cpus", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["kept"], found["shards"], found["tars"]) == (4, 2, "{00000000..00000001}.tar")
    assert main([*arguments, "--seed", "1"]) == 2
    assert capsys.readouterr().err == "filtering: --seed: means nothing without --shuffle\n"
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--bytes", "0"])
    assert stopped.value.code == 2


def test_a_small_export_starts_no_ray(finished, tmp_path, monkeypatch):
    def refused(*given, **named):
        raise AssertionError("Ray is not needed")

    monkeypatch.setattr("filtering.runtime.engine.RayExecutor", refused)
    assert whole_export(finished, "tar", str(tmp_path / "out"))["kept"] == 4
    # More than is done here in the seconds that Ray takes to start, or CPUs that were asked for.
    with pytest.raises(AssertionError, match="Ray is not needed"):
        whole_export(finished, "tar", str(tmp_path / "cpus"), Options(cpus=2))
    monkeypatch.setattr("filtering.exports.export.SMALL_SAMPLES", 3)
    with pytest.raises(AssertionError, match="Ray is not needed"):
        whole_export(finished, "tar", str(tmp_path / "large"))
