import json

import pytest
from pools import metadata_config, tar_config
from processes import call, kill_in_stage, write_config

STAGES = ("inventory", "embedding", "filters", "concepts", "partitions", "graph", "scores", "selection")
LAST = ("manifests", "report")


def hash_of(folder):
    return json.loads((folder / "run.json").read_text())["manifest_hash"]


@pytest.mark.timeout(600)
def test_killed_in_every_stage_a_run_ends_with_the_same_manifest(run, metadata_pool, tmp_path):
    calm = run(metadata_config(metadata_pool, tmp_path / "calm"))["manifest_hash"]
    config = metadata_config(metadata_pool, tmp_path / "run", ray={"address": "local", "num_cpus": 2})
    arguments = ["run", "--config", write_config(tmp_path / "run.yaml", config)]
    for stage in (*STAGES, *LAST):
        kill_in_stage(arguments, tmp_path / "run", stage)
        assert call("verify", str(tmp_path / "run")).returncode == 2
    assert call(*arguments).returncode == 0
    assert hash_of(tmp_path / "run") == calm
    assert call("verify", str(tmp_path / "run")).returncode == 0


@pytest.mark.timeout(600)
def test_tars_give_the_same_manifest_with_one_worker_and_after_a_kill_while_embedding(run, tar_pool, tmp_path):
    two = run(tar_config(tar_pool, tmp_path / "two"))["manifest_hash"]
    config = tar_config(tar_pool, tmp_path / "one", ray={"address": "local", "num_cpus": 1})
    arguments = ["run", "--config", write_config(tmp_path / "one.yaml", config)]
    kill_in_stage(arguments, tmp_path / "one", "embedding")
    assert call(*arguments).returncode == 0
    assert hash_of(tmp_path / "one") == two
