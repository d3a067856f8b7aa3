"""One body for both executors: whoever runs the tasks, a run writes the same objects."""

import re
from pathlib import Path

import pytest
from finished_runs import hash_of
from in_process import export
from mortal import comparable
from pools import Silent, metadata_config, tar_config, write_metadata

from filtering.config.run import Ray, parse_config
from filtering.core.errors import InputError, RunError
from filtering.exports.options import Options
from filtering.manifests.verify import problems
from filtering.pipeline import incremental
from filtering.runtime.executor import executor_for
from filtering.storage.store import Store


def objects(folder: Path) -> dict[str, object]:
    """All that lies in a folder, wherever that is."""
    files = {f"/{path.relative_to(folder)}": path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return comparable({name: data.replace(str(folder).encode(), b"HERE") for name, data in files.items()})


def decided(run: Path) -> dict[str, object]:
    """What runs of one pool have in common wherever they write: all but the page, which tells the configuration."""
    its_own = ("/stages/report-", "/stages/final.json", "/report/", "/run.json")
    kept = {path: data for path, data in objects(run).items() if not path.startswith(its_own)}
    # The list of the embedding's objects tells the length of one that names the run's folder.
    return {path: data for path, data in kept.items() if not re.search("/embedding-.*objects.parquet", path)}


@pytest.fixture(params=["metadata", "tar"])
def kind(request):
    """A pool, what configures a run over it, and an undisturbed run in this process."""
    configured = {"metadata": metadata_config, "tar": tar_config}[request.param]
    return request.getfixturevalue(f"{request.param}_pool"), configured, request.getfixturevalue(f"{request.param}_run")


def test_a_run_has_one_manifest(run, kind, executor, tmp_path):
    pool, configured, calm = kind
    # One model: a second would be loaded for nothing else. tests/runtime/test_cluster.py embeds on two nodes.
    record = run(configured(pool, tmp_path / "run", ray=executor | {"embedders": 1}))
    assert record["manifest_hash"] == hash_of(calm)
    assert list(problems(Store(str(tmp_path / "run")))) == []
    found, expected = decided(tmp_path / "run"), decided(calm)
    assert found.keys() == expected.keys()
    assert [path for path, data in expected.items() if found[path] != data] == []


def test_an_increment_has_one_manifest(run, executor, tmp_path):
    pool, root = write_metadata(tmp_path / "pool", [300, 250]), tmp_path / "runs"
    config = metadata_config(pool, root / "1", base="latest", ray=executor)
    incremental.run(parse_config(config), Silent())
    write_metadata(pool, [60], seed=1)
    record = incremental.run(parse_config(config | {"output": str(root / "2")}), Silent())
    assert record["base"]["embedded_shards"] == 1
    assert list(problems(Store(str(root / "2")))) == []
    concepts = config["concepts"] | {"centroids": str(root / "1")}
    alone = run(metadata_config(pool, tmp_path / "alone", concepts=concepts))
    assert record["manifest_hash"] == alone["manifest_hash"]


@pytest.mark.parametrize("options", [{"samples": 4}, {"samples": 4, "shuffle": True}], ids=str)
def test_an_export_has_the_same_bytes(tar_run, executor, tmp_path, options):
    finished = Store(str(tar_run))
    export(finished, "tar", str(tmp_path / "calm"), Options(**options))
    export(finished, "tar", str(tmp_path / "out"), Options(**options), executor_for(Ray(**executor)))
    assert objects(tmp_path / "out") == objects(tmp_path / "calm")


class Stops(Silent):
    """A reporter that ends the run when a stage begins."""

    def __init__(self, stage):
        self.stage = stage

    def start(self, stage, total, unit):
        if stage == self.stage and total > 1:
            raise RunError(f"stopped in {stage}")


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_a_run_may_go_on_with_the_other_executor(run, metadata_pool, metadata_run, tmp_path):
    for address, stage in (("none", "graph"), ("auto", "selection")):
        config = metadata_config(metadata_pool, tmp_path / "run", ray={"address": address})
        with pytest.raises(RunError, match=f"stopped in {stage}"):
            incremental.run(parse_config(config), Stops(stage))
    assert run(metadata_config(metadata_pool, tmp_path / "run"))["manifest_hash"] == hash_of(metadata_run)


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_a_gpu_that_the_cluster_does_not_have_is_refused(run, tar_pool, tmp_path):
    config = tar_config(tar_pool, tmp_path / "run", ray={"address": "auto"})
    with pytest.raises(InputError, match="the cluster has no GPU"):
        run(config | {"embedding": {"model": "demo", "device": "cuda"}})
