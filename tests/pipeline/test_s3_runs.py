"""Runs over a real S3 that fails: what they keep is what a calm run on a disk keeps."""

import json
import shutil
import uuid

import pyarrow.parquet as pq
import pytest
from finished_runs import hash_of
from pools import Meanwhile, Silent, members, metadata_config, tar_config, write_tar
from processes import call, write_config

from filtering.cli import main
from filtering.config.input import Arrays, Input
from filtering.config.run import parse_config
from filtering.core.errors import InputError, RunError
from filtering.embedding.artifacts import ROWS_NAME
from filtering.embedding.metadata import MetadataReader
from filtering.pipeline import run as pipeline
from filtering.shards.inventory import list_shards
from filtering.shards.vectors import NpzVectors
from filtering.storage.store import Store, read_object


@pytest.fixture
def store(proxy, s3):
    return Store(f"s3://{s3.bucket}/{uuid.uuid4().hex}")


@pytest.mark.slow
def test_metadata_on_s3_that_fails_is_read_as_from_a_disk(store, proxy, metadata_pool, tmp_path):
    for path in metadata_pool.iterdir():
        store.write(f"pool/{path.name}", path.read_bytes())
    proxy.set(error_rate=0.2, cut_rate=0.2)
    found = []
    for pool in (str(metadata_pool), store.path("pool")):
        output, shards = Store(str(tmp_path)), list_shards(Input(metadata=f"{pool}/*.parquet"))
        counts = [MetadataReader(NpzVectors(Arrays()))(shard, output) for shard in shards]
        found.append((counts, [output.read_table(ROWS_NAME.format(shard.identity)) for shard in shards]))
    counts = proxy.counts()
    assert found[0] == found[1]
    assert min(counts["InternalError"], counts["SlowDown"], counts["cut"]) > 0


@pytest.mark.slow
def test_metadata_that_the_store_refuses_fails_its_task_and_costs_no_sample(store, proxy, s3, metadata_pool, tmp_path):
    for path in metadata_pool.iterdir():
        store.write(f"pool/{path.name}", path.read_bytes())
    shard, output = list_shards(Input(metadata=store.path("pool/*.parquet")))[0], Store(str(tmp_path))
    for faults in ({"denied_rate": 1}, {"refused_key": s3.keys["AWS_ACCESS_KEY_ID"]}):
        proxy.set(**faults)
        with pytest.raises(InputError, match=r"access is denied|credentials are refused"):
            MetadataReader(NpzVectors(Arrays()))(shard, output)
    proxy.set()
    assert output.names() == []
    assert MetadataReader(NpzVectors(Arrays()))(shard, output)["quarantined"] == 0


@pytest.fixture
def run_under_faults(proxy, s3, tmp_path, capsys):
    """Run a configuration while a share of all requests fails, and return its run.json; nothing shows the secret."""

    def start(config, rate):
        proxy.set(error_rate=rate, cut_rate=rate)
        ended, said = main(["run", "--config", write_config(tmp_path / "s3.yaml", config)]), capsys.readouterr()
        counts = proxy.counts()
        proxy.set()
        assert ended == 0, said.err
        assert min(counts["InternalError"], counts["SlowDown"], counts["cut"]) > 5
        secret = s3.keys["AWS_SECRET_ACCESS_KEY"]
        assert not any(secret.encode() in body for body in bodies_under(s3, config["output"]))
        assert secret not in said.out + said.err
        return json.loads(read_object(f"{config['output']}/run.json"))

    return start


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_increments_on_s3_that_fails_give_the_manifests_of_calm_local_runs(
    run, run_under_faults, store, tar_pool, tar_run, tmp_path, capsys
):
    for path in tar_pool.iterdir():
        store.write(f"pool/{path.name}", path.read_bytes())
    pool, sections = store.path("pool"), {"base": "latest", "retention": {"keep_runs": 1}}
    first = run_under_faults(tar_config(pool, store.path("1"), **sections), 0.1)
    assert first["manifest_hash"] == hash_of(tar_run)
    grown = shutil.copytree(tar_pool, tmp_path / "pool")
    write_tar(grown / "new.tar", members(9, 8))
    store.write("pool/new.tar", (grown / "new.tar").read_bytes())
    second = run_under_faults(tar_config(pool, store.path("2"), **sections), 0.05)
    assert second["base"]["embedded_shards"] == 1
    alone = run(tar_config(grown, tmp_path / "run", concepts={"centroids": str(tar_run)}))
    assert second["manifest_hash"] == alone["manifest_hash"]
    assert main(["verify", store.path("2")]) == 0
    capsys.readouterr()
    assert main(["status", store.path("latest"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"] == store.path("2")
    assert store.exists("1/retired.json")


@pytest.mark.slow
def test_credentials_that_expire_in_the_middle_end_a_run_in_one_line_and_it_resumes(
    store, proxy, metadata_pool, metadata_run, tmp_path
):
    config = write_config(tmp_path / "run.yaml", metadata_config(metadata_pool, store.path("run")))
    proxy.set(expire_after=150)
    # A process of its own: its lease cannot be given back, and is free when it is no more.
    ended = call("run", "--config", config)
    lines = ended.stderr.splitlines()
    assert ended.returncode == 2
    (said,) = [line for line in lines if line.startswith("filtering: ")]
    assert said == lines[-1]
    assert said.startswith(f"filtering: {store.path('run')}")
    assert "the credentials have expired" in said
    assert said.endswith("; renew them, then give the same command again")
    proxy.set()
    assert not store.exists("run/run.json")
    assert main(["run", "--config", config]) == 0
    assert json.loads(store.read("run/run.json"))["manifest_hash"] == hash_of(metadata_run)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["parquet", "npz", "tar"])
def test_a_shard_that_is_deleted_once_it_was_listed_is_named(store, metadata_pool, tar_pool, kind):
    make, pool = (tar_config, tar_pool) if kind == "tar" else (metadata_config, metadata_pool)
    for path in pool.iterdir():
        store.write(f"pool/{path.name}", path.read_bytes())
    config = parse_config(make(store.path("pool"), store.path("run")))
    gone = min(path.name for path in pool.glob(f"*.{kind}"))
    told = "parquet: its npz has changed" if kind == "npz" else kind
    named = rf"^{store.path('pool')}/{gone.split('.')[0]}\.{told}: it was deleted since the run listed it; give"
    with pytest.raises(RunError, match=named):
        pipeline.run(config, Meanwhile("embedding", lambda: store.delete(f"pool/{gone}")))
    assert not store.exists("run/run.json")
    rows = 20 if kind == "tar" else pq.read_metadata((pool / gone).with_suffix(".parquet")).num_rows
    left = {"parquet": (1100 - rows, 0), "npz": (1100, rows), "tar": (60 - rows, 0)}[kind]
    totals = pipeline.run(config, Silent())["totals"]
    assert (totals["input"], totals["quarantined"]) == left


def bodies_under(s3, folder):
    client, prefix = s3.client(), folder.split("/", 3)[3]
    listed = client.list_objects_v2(Bucket=s3.bucket, Prefix=f"{prefix}/")["Contents"]
    return [client.get_object(Bucket=s3.bucket, Key=entry["Key"])["Body"].read() for entry in listed]
