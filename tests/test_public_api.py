"""The public API: what `filtering` exports, how light it is, and the examples of docs/python.md."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import filtering

PAGE = Path(__file__).parents[1] / "docs/python.md"
HEAVY = ("torch", "ray", "faiss", "open_clip", "pyarrow", "numba")


def test_every_exported_name_is_there_and_documented():
    text = PAGE.read_text()
    for name in filtering.__all__:
        assert getattr(filtering, name) is not None
        assert name in dir(filtering)
        # What a call returns is described where the call is.
        assert f"`{name}" in text


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'kept'"):
        filtering.kept  # noqa: B018


@pytest.mark.parametrize("statement", ["import filtering", "from filtering import cli; cli"])
def test_importing_loads_nothing_heavy(statement):
    command = f"import sys; {statement}; print([name for name in {HEAVY!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.slow
def test_the_examples_of_the_documentation_run(tar_pool, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("pool").symlink_to(tar_pool)
    (config,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    Path("run.yaml").write_text(config)
    examples = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    names: dict = {}
    for example in examples:
        exec(compile(example, str(PAGE), "exec"), names)
    said = capsys.readouterr().out
    assert "0.5 none" in said
    assert "selection.kep: unknown key; did you mean keep?" in said
    totals = names["run"].summary["totals"]
    assert names["kept"].count_rows() == totals["kept"] == 30
    assert len(names["reasons"]) == 1
    assert names["found"]["outcome"] == "kept"
    assert isinstance(names["image"], bytes)


def test_tables_have_a_row_for_each_sample(metadata_run):
    run = filtering.open_run(str(metadata_run))
    totals = run.summary["totals"]
    assert run.kept().count_rows() == totals["kept"]
    assert run.dropped().count_rows() == totals["dropped"]
    assert run.quarantined().count_rows() == totals["quarantined"]
    assert run.kept().schema.names == ["uid", "key", "shard", "concept", "score", "rank"]


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(filtering.InputError, match=r"holds no finished run \(no run.json\)"):
        filtering.open_run(str(tmp_path))
