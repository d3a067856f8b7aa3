"""Exports from S3 to S3, under faults: the bytes of a calm export on a disk."""

import json
import uuid

import pytest
from finished_runs import write_finished
from in_process import export
from processes import call

from filtering.exports.options import Options
from filtering.storage.store import Store


@pytest.fixture
def store(proxy, s3) -> Store:
    return Store(f"s3://{s3.bucket}/{uuid.uuid4().hex}")


def chosen(uid: str) -> bool:
    return int(uid, 16) % 3 > 0


@pytest.mark.parametrize("flags", [[], ["--shuffle", "--seed", "1"]], ids=str)
def test_from_s3_to_s3_under_faults_tars_are_those_of_a_disk(store, proxy, joined_s3, tar_pool, tmp_path, flags):
    size = ["--samples", "7"]
    options = {"shuffle": "--shuffle" in flags, "seed": 1 if "--shuffle" in flags else None}
    options |= {"samples": 7}
    for path in tar_pool.iterdir():
        store.write(f"pool/{path.name}", path.read_bytes())
    local = write_finished(tmp_path / "run", tar_pool, chosen)
    export(local, "tar", str(tmp_path / "out"), Options(**options))
    remote = write_finished(store.path("run"), store.path("pool"), chosen)
    proxy.set(error_rate=0.1, cut_rate=0.1)
    arguments = [remote.url, "--format", "tar", "--out", store.path("out"), *size, *flags, "--json"]
    done = call("export", *arguments, **joined_s3)
    proxy.set()
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["shards"] == len(list((tmp_path / "out").glob("*.tar")))
    names = sorted(path.name for path in (tmp_path / "out").iterdir() if path.name != "manifest.json")
    assert all(store.read(f"out/{name}") == (tmp_path / "out" / name).read_bytes() for name in names)
    assert store.child("out").names() == sorted([*names, "manifest.json"])
