"""Exports from S3 to S3, under faults: the bytes of a calm export on a disk."""

import uuid

import pytest
from finished_runs import write_finished
from in_process import export

from filtering.config.run import Ray
from filtering.exports.options import Options
from filtering.runtime.executor import executor_for
from filtering.storage.store import Store


@pytest.fixture
def store(proxy, s3) -> Store:
    return Store(f"s3://{s3.bucket}/{uuid.uuid4().hex}")


def chosen(uid: str) -> bool:
    return int(uid, 16) % 3 > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("executor", "options"),
    [
        pytest.param("auto", {}, id="on Ray", marks=pytest.mark.ray),
        pytest.param("none", {"shuffle": True, "seed": 1}, id="shuffled"),
    ],
    indirect=["executor"],
)
def test_from_s3_to_s3_under_faults_tars_are_those_of_a_disk(store, proxy, tar_pool, tmp_path, executor, options):
    options = options | {"samples": 7}
    for path in tar_pool.iterdir():
        store.write(f"pool/{path.name}", path.read_bytes())
    local = write_finished(tmp_path / "run", tar_pool, chosen)
    export(local, "tar", str(tmp_path / "out"), Options(**options))
    remote = write_finished(store.path("run"), store.path("pool"), chosen)
    proxy.set(error_rate=0.1, cut_rate=0.1)
    done = export(remote, "tar", store.path("out"), Options(**options), executor_for(Ray(**executor)))
    proxy.set()
    assert done["shards"] == len(list((tmp_path / "out").glob("*.tar")))
    names = sorted(path.name for path in (tmp_path / "out").iterdir() if path.name != "manifest.json")
    assert all(store.read(f"out/{name}") == (tmp_path / "out" / name).read_bytes() for name in names)
    assert store.child("out").names() == sorted([*names, "manifest.json"])
