import json

import boto3
import pytest
from moto.server import ThreadedMotoServer
from pools import metadata_config
from processes import call, write_config

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "secret-of-the-test", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def s3():
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    client = boto3.client("s3", endpoint_url=endpoint, aws_access_key_id="test", aws_secret_access_key="x")
    client.create_bucket(Bucket="pool")
    client.create_bucket(Bucket="runs")
    yield client, KEYS | {"AWS_ENDPOINT_URL": endpoint, "FSSPEC_S3_ENDPOINT_URL": endpoint}
    server.stop()


@pytest.mark.timeout(300)
def test_from_s3_to_s3_the_manifest_is_the_same(run, s3, metadata_pool, tmp_path):
    client, environment = s3
    local = run(metadata_config(metadata_pool, tmp_path / "run"))
    for path in metadata_pool.iterdir():
        client.upload_file(str(path), "pool", f"metadata/{path.name}")
    config = metadata_config(tmp_path, "s3://runs/first", ray={"address": "local", "num_cpus": 2})
    config["input"] = {"metadata": "s3://pool/metadata/*.parquet"}
    arguments = ["run", "--config", write_config(tmp_path / "s3.yaml", config)]
    done = call(*arguments, **environment)
    assert done.returncode == 0, done.stderr
    record = json.loads(client.get_object(Bucket="runs", Key="first/run.json")["Body"].read())
    assert record["manifest_hash"] == local["manifest_hash"]
    assert call("verify", "s3://runs/first", **environment).returncode == 0
    assert "finished" in call("status", "s3://runs/first", **environment).stdout
    again = call(*arguments, **environment)
    assert again.stderr.count("already done") == 10
    listed = client.list_objects_v2(Bucket="runs", Prefix="first/")["Contents"]
    bodies = [client.get_object(Bucket="runs", Key=entry["Key"])["Body"].read() for entry in listed]
    assert not any(KEYS["AWS_SECRET_ACCESS_KEY"].encode() in body for body in bodies)
