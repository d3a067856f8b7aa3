"""A disk that takes no more ends a run or an export in one line, and the same command goes on when there is room."""

import re

import pytest
from full_disk import files_of_at_most
from in_process import export
from pools import metadata_config, tar_config, write_metadata

from filtering.core.errors import RunError
from filtering.exports.options import Options
from filtering.storage.store import Store

FULL = r"^/[^ ]*: cannot be written \(File too large\), [0-9,]+ bytes are free there; make room, then give the same"
HALF = f".{'0a' * 16}.tmp"


def halves(folder):
    return [path for path in folder.rglob("*.tmp") if re.search(r"\.[0-9a-f]{32}\.tmp$", path.name)]


@pytest.mark.parametrize("size", [3_000, 12_000, 40_000])
def test_a_run_goes_on_when_there_is_room(run, tmp_path, size):
    config = metadata_config(write_metadata(tmp_path / "pool", [400]), tmp_path / "run", concepts={"clusters": 4})
    with files_of_at_most(size), pytest.raises(RunError, match=FULL):
        run(config)
    assert halves(tmp_path) == []
    assert run(config)["totals"]["kept"] == 120


@pytest.mark.parametrize("size", [1_500, 6_000])
def test_a_run_over_tars_goes_on_when_there_is_room(run, tar_pool, tmp_path, size):
    config = tar_config(tar_pool, tmp_path / "run")
    with files_of_at_most(size), pytest.raises(RunError, match=FULL):
        run(config)
    assert halves(tmp_path) == []


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("tar", {}),
        ("tar", {"bytes": 20_000}),
        ("tar", {"shuffle": True}),
        ("parquet", {}),
        ("datacomp", {"embeddings": True}),
        ("datacomp", {}),
    ],
    ids=str,
)
def test_an_export_goes_on_when_there_is_room(tar_run, tmp_path, form, options):
    out, run = tmp_path / "out", Store(str(tar_run))
    with files_of_at_most(700 if form != "datacomp" or options else 100), pytest.raises(RunError, match=FULL):
        export(run, form, str(out), Options(**options))
    assert halves(tmp_path) == []
    assert export(run, form, str(out), Options(**options))["kept"] > 0


def test_what_killed_writes_left_is_deleted_by_the_next_attempt(run, tmp_path):
    config = metadata_config(write_metadata(tmp_path / "pool", [60]), tmp_path / "run", concepts={"clusters": 2})
    with files_of_at_most(3_000), pytest.raises(RunError):
        run(config)
    out = Store(str(tmp_path / "run"))
    stage = next(name for name in out.child("stages").names() if name.startswith("embedding-"))
    for name in ("run.json", "lease/00000001.json", f"stages/{stage}/0.rows.parquet", "manifest/kept/00000000.parquet"):
        out.write(name + HALF, b"half")
    others = [f"mine{HALF}", f"manifest/mine{HALF}", f"stages/{stage}/mine.tmp", f"deep/run.json{HALF}"]
    for name in others:
        out.write(name, b"mine")
    run(config)
    left = sorted(str(path.relative_to(tmp_path / "run")) for path in (tmp_path / "run").rglob("*.tmp"))
    assert left == sorted(others)
