import json

import pytest
from pools import metadata_config, tar_config
from processes import call, kill_in_stage, write_config

from filtering.core.errors import InputError
from filtering.manifests.verify import problems
from filtering.storage.store import Store

# Those that leave something behind; benchmarks/speed/faults kills in every stage.
STAGES = ("embedding", "partitions", "graph", "selection", "manifests", "report")


def hash_of(folder):
    return json.loads((folder / "run.json").read_text())["manifest_hash"]


@pytest.mark.timeout(600)
def test_killed_in_stage_after_stage_a_run_ends_with_the_same_manifest(joined, metadata_run, metadata_pool, tmp_path):
    config = metadata_config(metadata_pool, tmp_path / "run")
    arguments = ["run", "--config", write_config(tmp_path / "run.yaml", config)]
    for stage in STAGES:
        kill_in_stage(arguments, tmp_path / "run", stage, **joined)
        with pytest.raises(InputError, match="holds no finished run"):
            list(problems(Store(str(tmp_path / "run"))))
    assert call(*arguments, **joined).returncode == 0
    assert hash_of(tmp_path / "run") == hash_of(metadata_run)
    assert list(problems(Store(str(tmp_path / "run")))) == []


@pytest.mark.timeout(600)
def test_one_worker_and_a_kill_while_embedding_change_nothing(joined, tar_run, tar_pool, tmp_path):
    config = tar_config(tar_pool, tmp_path / "one", ray={"num_cpus": 1})
    arguments = ["run", "--config", write_config(tmp_path / "one.yaml", config)]
    kill_in_stage(arguments, tmp_path / "one", "embedding", **joined)
    assert call(*arguments, **joined).returncode == 0
    assert hash_of(tmp_path / "one") == hash_of(tar_run)
