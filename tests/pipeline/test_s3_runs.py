"""Runs over a real S3 that fails: what they keep is what a calm run on a disk keeps."""

import json
import uuid

import pytest
from pools import metadata_config, tar_config
from processes import call, write_config

from filtering.config.run import Arrays, Input
from filtering.core.errors import InputError
from filtering.embedding.metadata import MetadataReader
from filtering.shards.inventory import list_shards
from filtering.storage.store import Store, read_object


@pytest.fixture
def store(proxy, s3):
    return Store(f"s3://{s3.bucket}/{uuid.uuid4().hex}")


def test_metadata_that_the_store_refuses_fails_its_task_and_costs_no_sample(store, proxy, s3, metadata_pool, tmp_path):
    for path in metadata_pool.iterdir():
        store.write(f"pool/{path.name}", path.read_bytes())
    shard, output = list_shards(Input(metadata=store.path("pool/*.parquet")))[0], Store(str(tmp_path))
    for faults in ({"denied_rate": 1}, {"refused_key": s3.keys["AWS_ACCESS_KEY_ID"]}):
        proxy.set(**faults)
        with pytest.raises(InputError, match=r"access is denied|credentials are refused"):
            MetadataReader(Arrays())(shard, output)
    proxy.set()
    assert output.names() == []
    assert MetadataReader(Arrays())(shard, output)["quarantined"] == 0


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("kind", "configured"), [("metadata", metadata_config), ("tar", tar_config)])
def test_from_s3_to_s3_under_faults_the_manifest_is_that_of_a_calm_local_run(
    kind, configured, s3, proxy, joined_s3, store, tmp_path, request
):
    local = json.loads((request.getfixturevalue(f"{kind}_run") / "run.json").read_text())
    for path in request.getfixturevalue(f"{kind}_pool").iterdir():
        store.write(f"pool/{path.name}", path.read_bytes())
    output = store.path("first")
    arguments = ["run", "--config", write_config(tmp_path / "s3.yaml", configured(store.path("pool"), output))]
    proxy.set(error_rate=0.1, cut_rate=0.1)
    done = call(*arguments, **joined_s3)
    assert done.returncode == 0, done.stderr
    record = json.loads(read_object(f"{output}/run.json"))
    assert record["manifest_hash"] == local["manifest_hash"]
    counts = proxy.counts()
    assert min(counts["InternalError"], counts["SlowDown"], counts["cut"]) > 5
    secret = s3.keys["AWS_SECRET_ACCESS_KEY"]
    assert not any(secret.encode() in body for body in bodies_under(s3, output))
    assert secret not in done.stderr
    if kind == "metadata":
        assert call("verify", output).returncode == 0
        assert "finished" in call("status", output).stdout
        assert call(*arguments).stderr.count("already done") == 11


def bodies_under(s3, folder):
    client, prefix = s3.client(), folder.split("/", 3)[3]
    listed = client.list_objects_v2(Bucket=s3.bucket, Prefix=f"{prefix}/")["Contents"]
    return [client.get_object(Bucket=s3.bucket, Key=entry["Key"])["Body"].read() for entry in listed]
