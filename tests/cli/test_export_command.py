import json

import pytest

from filtering.cli.export import FORMATS
from filtering.exports.options import KNOWN


def test_an_export_is_written(metadata_run, call_main, tmp_path):
    assert call_main("export", str(metadata_run), "--format", "datacomp", "--out", str(tmp_path / "out"))[0] == 0
    assert (tmp_path / "out/subset.npy").exists()


def test_shards_that_hold_more_than_was_kept_are_warned_of(metadata_run, call_main, tmp_path):
    status, out, _ = call_main("export", str(metadata_run), "--format", "shards", "--out", str(tmp_path / "out"))
    totals = json.loads((metadata_run / "run.json").read_text())["totals"]
    line = (
        f"warning: these shards hold {totals['input'] - totals['kept']:,} samples that were not kept, which a trainer "
    )
    assert status == 0
    assert line in out


@pytest.mark.parametrize("where", ["", "memory://exports/", "s3://exports/"])
@pytest.mark.parametrize("name", ["subset\udcff.npy", "folder\udcff", "folder\udcff/subset.npy"])
def test_a_name_that_is_not_utf_8_is_refused(metadata_run, call_main, tmp_path, where, name):
    out = f"{where or f'{tmp_path}/'}{name}"
    status, _, err = call_main("export", str(metadata_run), "--format", "datacomp", "--out", out)
    assert (status, err.count("\n")) == (2, 1)
    assert "\\udcff" in err and "is not UTF-8, which no record can hold; choose another name" in err
    assert not list(tmp_path.iterdir())


def test_the_formats_of_help_are_those_of_exports():
    assert tuple(KNOWN) == FORMATS


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--format", "shards"], "/nowhere: holds no finished run"),
        (["--format", "tarr"], "unknown format tarr; did you mean tar?"),
        (["--fromat", "tar"], "unknown option --fromat; did you mean --format?"),
    ],
)
def test_what_cannot_be_exported_is_refused(refused, arguments, line):
    assert line in refused("export", "/nowhere", *arguments, "--out", "x")


def test_a_table_says_how_many_samples_it_has(metadata_run, call_main, tmp_path):
    out = str(tmp_path / "out")
    status, printed, _ = call_main("export", str(metadata_run), "--format", "table", "--columns", "uid", "--out", out)
    assert (status, printed.strip()) == (0, f"1,100 samples as table in {out} (objects: 3)")
