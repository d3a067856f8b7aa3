"""Runs over a real S3 that fails: what they keep is what a calm run on a disk keeps."""

import json
import uuid

import pytest
from pools import Silent, metadata_config, tar_config, write_metadata
from processes import call, write_config

from filtering.cli import main
from filtering.config.run import Arrays, Input, parse_config
from filtering.core.errors import InputError
from filtering.embedding.metadata import MetadataReader
from filtering.pipeline import incremental
from filtering.shards.inventory import list_shards
from filtering.storage.store import Store, read_object


@pytest.fixture
def store(proxy, s3):
    return Store(f"s3://{s3.bucket}/{uuid.uuid4().hex}")


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("kind", "configured", "address", "rate"),
    [
        # Ray's workers wait before they ask again, as they do outside of tests.
        pytest.param("metadata", metadata_config, "auto", 0.05, marks=pytest.mark.ray),
        ("tar", tar_config, "none", 0.1),
    ],
)
def test_from_s3_to_s3_under_faults_the_manifest_is_that_of_a_calm_local_run(
    kind, configured, address, rate, s3, proxy, store, tmp_path, request, capsys
):
    local = json.loads((request.getfixturevalue(f"{kind}_run") / "run.json").read_text())
    for path in request.getfixturevalue(f"{kind}_pool").iterdir():
        store.write(f"pool/{path.name}", path.read_bytes())
    output = store.path("first")
    config = configured(store.path("pool"), output, ray={"address": address})
    arguments = ["run", "--config", write_config(tmp_path / "s3.yaml", config)]
    proxy.set(error_rate=rate, cut_rate=rate)
    if address == "auto":
        done = call(*arguments, **request.getfixturevalue("joined_s3"))
        ended, said = done.returncode, done.stderr
    else:
        ended, said = main(arguments), capsys.readouterr().err
    assert ended == 0, said
    record = json.loads(read_object(f"{output}/run.json"))
    assert record["manifest_hash"] == local["manifest_hash"]
    counts = proxy.counts()
    assert min(counts["InternalError"], counts["SlowDown"], counts["cut"]) > 5
    secret = s3.keys["AWS_SECRET_ACCESS_KEY"]
    assert not any(secret.encode() in body for body in bodies_under(s3, output))
    assert secret not in said
    if kind == "metadata":
        assert main(["verify", output]) == 0
        assert main(["status", output]) == 0
        assert "finished" in capsys.readouterr().out
        assert main(arguments) == 0
        assert capsys.readouterr().err.count("already done") == 11


@pytest.mark.slow
def test_increments_on_s3_start_from_each_other_and_old_ones_go(proxy, s3, store, tmp_path, capsys):
    pool = write_metadata(tmp_path / "pool", [300, 250])
    config = metadata_config(pool, store.path("1"), base="latest", retention={"keep_runs": 1})

    def increment(name):
        return incremental.run(parse_config(config | {"output": store.path(name)}), Silent())

    increment("1")
    write_metadata(pool, [40], seed=1)
    second = increment("2")
    assert second["base"]["embedded_shards"] == 1
    assert main(["status", store.path("latest"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"] == store.path("2")
    assert store.exists("1/retired.json")


def bodies_under(s3, folder):
    client, prefix = s3.client(), folder.split("/", 3)[3]
    listed = client.list_objects_v2(Bucket=s3.bucket, Prefix=f"{prefix}/")["Contents"]
    return [client.get_object(Bucket=s3.bucket, Key=entry["Key"])["Body"].read() for entry in listed]
