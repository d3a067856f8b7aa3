"""Random access to exported tars by webdataset's wids, which its older versions bring (`make test-oldest`)."""

import pytest
from in_process import export
from pools import tar_config

from filtering import open_run
from filtering.exports.options import Options
from filtering.storage.store import Store

wids = pytest.importorskip("wids")


def test_every_exported_sample_is_found_by_its_number(run, tar_pool, tmp_path):
    run(tar_config(tar_pool, tmp_path / "run"))
    export(Store(str(tmp_path / "run")), "tar", str(tmp_path / "out"), Options(samples=7))
    dataset = wids.ShardListDataset(str(tmp_path / "out/wids.json"), cache_dir=str(tmp_path / "cache"))
    kept = open_run(str(tmp_path / "run")).kept().to_table()["key"].to_pylist()
    assert len(dataset) == len(kept)
    assert sorted(dataset[at]["__key__"] for at in range(len(dataset))) == sorted(kept)
    assert dataset[len(kept) - 1][".txt"]
