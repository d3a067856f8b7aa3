"""Runs over pools on web servers: what they keep is what a run over the same pool on a disk keeps."""

import json
import tarfile

import pytest
from in_process import export
from pools import metadata_config, tar_config
from web_server import WebServer

from filtering.explanations.answer import explain
from filtering.loaders import kept_pipeline
from filtering.storage.store import Store

pytestmark = pytest.mark.slow


def kept(run):
    return Store(str(run)).read("manifest/subset.npy")


def counts(run):
    lines = (run / "manifest/shards.jsonl").read_text().splitlines()
    return [{name: value for name, value in json.loads(line).items() if name not in ("url",)} for line in lines]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_pool_of_tars_is_filtered_exported_explained_and_read(tar_pool, tar_run, tmp_path, run, ranges):
    output = tmp_path / "run"
    with WebServer(tar_pool, ranges, faults=[None, None, None, 503, None, "cut"]) as server:
        shards = server.url(f"{{00000000..{len(list(tar_pool.glob('*.tar'))) - 1:08d}}}.tar")
        run(tar_config([], output, input={"shards": shards, "root": server.url().rstrip("/")}))
        samples = sorted(sample["__key__"] for sample in kept_pipeline(str(output)))
        export(Store(str(output)), "tar", str(tmp_path / "tars"))
        assert "picture" in str(explain(str(output), samples[0]))
    assert (kept(output), counts(output)) == (kept(tar_run), counts(tar_run))
    assert samples == sorted(sample["__key__"] for sample in kept_pipeline(str(tar_run)))
    (exported,) = (tmp_path / "tars").glob("*.tar")
    with tarfile.open(exported) as tar:
        assert sorted({name.partition(".")[0] for name in tar.getnames()}) == samples


@pytest.mark.parametrize("ranges", [True, False])
def test_a_pool_of_metadata_is_filtered(metadata_pool, metadata_run, tmp_path, run, ranges):
    output = tmp_path / "run"
    with WebServer(metadata_pool, ranges, {"index", "chunked"}) as server:
        run(metadata_config(server.url().rstrip("/"), output))
    assert (kept(output), counts(output)) == (kept(metadata_run), counts(metadata_run))
