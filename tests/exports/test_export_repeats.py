"""Exports with --repeat hold a sample as often as the run's weights say, and tables say how often that is."""

import tarfile
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from in_process import export
from test_export_chunks import as_read

from filtering.core.errors import InputError
from filtering.exports.options import Options
from filtering.storage.store import Store


def keys_of(path: Path) -> list[str]:
    with tarfile.open(path) as tar:
        return [name.removesuffix(".txt") for name in tar.getnames() if name.endswith(".txt")]


def test_tars_hold_each_sample_as_often_and_none_twice(weighed, repeats, tmp_path):
    found = export(Store(str(weighed)), "tar", str(tmp_path / "out"), Options(samples=7, repeat=True))
    once = export(Store(str(weighed)), "tar", str(tmp_path / "once"), Options(samples=7))
    tars = sorted((tmp_path / "out").glob("*.tar"))
    held = [keys_of(tar) for tar in tars]
    assert Counter(key for keys in held for key in keys) == repeats
    assert all(len(set(keys)) == len(keys) for keys in held)
    assert (found["kept"], found["samples"]) == (len(repeats), repeats.total())
    # The tars of the first time are those of an export without repeats, and members have the pool's bytes.
    first = [path.name for path in sorted((tmp_path / "once").glob("*.tar"))]
    assert once["shards"] == len(first)
    assert all((tmp_path / "out" / name).read_bytes() == (tmp_path / "once" / name).read_bytes() for name in first)
    with tarfile.open(tars[-1]) as last, tarfile.open(tmp_path / "once" / first[0]) as one:
        names = {member.name for member in one}
        assert all(last.extractfile(m).read() == one.extractfile(m.name).read() for m in last if m.name in names)


@pytest.mark.slow
def test_litdata_holds_each_sample_as_often(weighed, repeats, tmp_path):
    export(Store(str(weighed)), "litdata", str(tmp_path / "out"), Options(samples=8, repeat=True))
    assert Counter(row["key"] for row in as_read("litdata", tmp_path / "out")) == repeats


@pytest.mark.parametrize("form", ["parquet", "table"])
def test_tables_have_a_column(weighed, repeats, tmp_path, form):
    options = Options() if form == "parquet" else Options(columns="key,repeat,status")
    export(Store(str(weighed)), form, str(tmp_path / "out"), options)
    rows = pq.read_table(tmp_path / "out/00000000.parquet").to_pylist()
    assert {row["key"]: row["repeat"] for row in rows if row.get("status", "kept") == "kept"} == repeats


def test_repeats_are_refused_where_there_are_none(weighed, tar_run, tmp_path):
    with pytest.raises(InputError, match="--repeat: the run has no weights"):
        export(Store(str(tar_run)), "tar", str(tmp_path / "out"), Options(repeat=True))
    with pytest.raises(InputError, match="--repeat: takes --samples, not --bytes or --shuffle"):
        export(Store(str(weighed)), "tar", str(tmp_path / "out"), Options(repeat=True, shuffle=True))
    with pytest.raises(InputError, match=r"read the score sds; the scores of this run are clip_score$"):
        export(Store(str(weighed)), "table", str(tmp_path / "out"), Options(columns="sds"))
    with pytest.raises(InputError, match="--columns: unknown column repeat"):
        export(Store(str(tar_run)), "table", str(tmp_path / "out"), Options(columns="repeat"))
