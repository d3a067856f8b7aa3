"""Drivers that are really killed, in the middle of a stage; tests/pipeline/test_kills.py tries every write."""

import json

import pytest
from finished_runs import hash_of
from pools import Silent, metadata_config, write_metadata
from processes import kill_in_stage, write_config

from filtering.config.run import parse_config
from filtering.core.errors import InputError
from filtering.manifests.verify import problems
from filtering.pipeline import incremental
from filtering.storage.store import Store


@pytest.mark.timeout(600)
def test_a_run_whose_driver_is_killed_goes_on_and_ends_with_the_same_manifest(
    run, joined, metadata_run, metadata_pool, tmp_path
):
    config = metadata_config(metadata_pool, tmp_path / "run", ray={"address": "auto"})
    arguments = ["run", "--config", write_config(tmp_path / "run.yaml", config)]
    # Its workers live on, and finish what they were at.
    kill_in_stage(arguments, tmp_path / "run", "graph", **joined)
    with pytest.raises(InputError, match="holds no finished run"):
        list(problems(Store(str(tmp_path / "run"))))
    run(config)
    assert hash_of(tmp_path / "run") == hash_of(metadata_run)
    assert list(problems(Store(str(tmp_path / "run")))) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_increment_that_is_killed_leaves_latest_and_goes_on(tmp_path):
    pool = write_metadata(tmp_path / "pool", [500, 400])
    config = metadata_config(pool, tmp_path / "1", base="latest")
    incremental.run(parse_config(config), Silent())
    write_metadata(pool, [80], seed=1)
    arguments = ["run", "--config", write_config(tmp_path / "2.yaml", config | {"output": str(tmp_path / "2")})]
    kill_in_stage(arguments, tmp_path / "2", "concepts")
    assert json.loads((tmp_path / "latest.json").read_text())["run"] == "1"
    record = incremental.run(parse_config(config | {"output": str(tmp_path / "2")}), Silent())
    assert record["base"]["run"] == str(tmp_path / "1")
    assert record["base"]["embedded_shards"] == 1
    concepts = config["concepts"] | {"centroids": str(tmp_path / "1")}
    alone = parse_config({**config, "base": None, "concepts": concepts, "output": str(tmp_path / "b" / "2")})
    assert record["manifest_hash"] == incremental.run(alone, Silent())["manifest_hash"]
    assert json.loads((tmp_path / "latest.json").read_text())["run"] == "2"
