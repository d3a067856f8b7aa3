"""Folders whose names hold what patterns are made of: pools, outputs, bases, tables and what reads a run."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from finished_runs import hash_of
from in_process import export
from pools import members, metadata_config, tar_config, write_metadata, write_tar
from processes import write_config

from filtering.cli import main
from filtering.loaders import kept_pipeline
from filtering.storage.store import Store

ODD = ["run[1]v?2*", "a{1,2}b{0..1}\\ #%20", "a::b"]


@pytest.fixture
def said(capsys):
    """Call a command in this process and return what it printed; it ends well."""

    def call(*words):
        status = main(words)
        out, err = capsys.readouterr()
        assert status == 0, err
        return out

    return call


@pytest.mark.slow
@pytest.mark.parametrize("name", ODD)
def test_a_run_over_metadata_with_a_base_and_a_table(tmp_path, run, said, name):
    folder = tmp_path / name
    folder.mkdir()
    pool = write_metadata(folder / "pool", [60], dimension=16)
    uids = pq.read_table(next(pool.glob("*.parquet")))["uid"]
    table = pa.table({"uid": uids, "own": pa.array(np.arange(60.0), pa.float32())})
    pq.write_table(table, folder / "scores.parquet")
    selection = {"score": {"table": f"{folder}/scores.parquet", "column": "own"}, "method": "top", "keep": 0.5}
    config = metadata_config(pool, folder / "first", selection=selection, concepts={"clusters": 2}, graph={"k": 3})
    config["input"] = {"metadata": str(pool)}
    run(config)
    run({**config, "output": f"{folder}//second", "base": f"{folder}//first"})
    assert hash_of(folder / "first") == hash_of(folder / "second")
    said("status", f"{folder}/second")
    said("verify", f"{folder}//second")
    said("diff", f"{folder}/first", f"{folder}/second")
    said("report", f"{folder}/second", "--out", f"{folder}/page")
    said("explain", f"{folder}/second", uids[0].as_py())
    export(Store(f"{folder}/second"), "parquet", f"{folder}//kept[1]")
    assert (folder / "page/index.html").is_file() and list((folder / "kept[1]").glob("*.parquet"))


@pytest.mark.parametrize("name", ["run[1]{a,b}?*"])
def test_a_run_over_tars_and_what_reads_them(tmp_path, run, said, name):
    folder = tmp_path / name
    folder.mkdir()
    write_tar(folder / "0[0]{1}.tar", members(0, 8))
    path = write_config(tmp_path / "run.yaml", tar_config(folder, folder / "run"))
    said("run", "--config", str(path))
    keys = sorted(sample["__key__"] for sample in kept_pipeline(f"{folder}/run"))
    export(Store(f"{folder}/run"), "tar", f"{folder}/out")
    assert list((folder / "out").glob("*.tar"))
    said("verify", f"{folder}/run")
    shown = json.loads(said("explain", f"{folder}/run", keys[0], "--json"))
    assert len(keys) == 4 and keys[0] in json.dumps(shown)
