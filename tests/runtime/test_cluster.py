"""Runs on a cluster of several nodes; one of them dies, or the whole cluster goes away after the run."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from clusters import RAY, Cluster, current_stage, ray_cluster, until
from finished_runs import hash_of
from pools import metadata_config, tar_config
from processes import command, write_config
from s3_endpoint import s3_at

from filtering.cli import main
from filtering.storage.store import read_object

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(sys.platform != "linux", reason="nodes have loopback addresses of their own, and /proc is read"),
    pytest.mark.timeout(300),
]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def nodes(s3):
    # The cluster's machines have the credentials: a job finds its storage without being told.
    search = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    storage = {"AWS_ENDPOINT_URL": s3.endpoint, "AWS_DEFAULT_REGION": "us-east-1", **s3.keys}
    # Ray asks a node every 3 seconds whether it lives: a dead one would be waited for 15 seconds.
    asked = {"RAY_health_check_period_ms": "500"}
    with ray_cluster(nodes=2, cpus=1, dashboard=True, PATH=search, **storage, **asked) as cluster:
        yield cluster


def lose_node(cluster: Cluster, driver: subprocess.Popen, out: Path, stage: str) -> None:
    """Kill the node that is caught working in a stage; another joins before, where it is the last."""

    def within() -> bool:
        return driver.poll() is None and current_stage(out) == stage

    until(lambda: driver.poll() is not None or within(), f"stage {stage} begins")
    caught = cluster.catch_working(within)
    assert caught, f"no task of stage {stage} was caught; the run said {(out.parent / 'said').read_text()}"
    cluster.add_nodes(3 - len(cluster.nodes))
    cluster.kill_node(caught[0])


def test_a_run_survives_the_death_of_a_node_that_embeds_and_of_one_in_its_graph(run, nodes, tar_pool, tmp_path):
    sections = {"concepts": {"clusters": 12, "partition_rows": 20}, "graph": {"k": 5}}
    calm = run(tar_config(tar_pool, tmp_path / "calm", **sections))["manifest_hash"]
    out = tmp_path / "run"
    config = tar_config(tar_pool, out, ray={"address": nodes.address}, **sections)
    arguments = ["run", "--config", write_config(tmp_path / "run.yaml", config)]
    with (tmp_path / "said").open("w") as said:
        driver = subprocess.Popen(command(*arguments), env=nodes.environment, stdout=subprocess.DEVNULL, stderr=said)
    try:
        for stage in ("embedding", "graph"):
            lose_node(nodes, driver, out, stage)
        driver.wait(200)
    finally:
        driver.kill()
        driver.wait()
    assert driver.returncode == 0, (tmp_path / "said").read_text()
    assert hash_of(out) == calm


def test_a_cluster_with_another_ray_is_refused_in_one_line(nodes, metadata_pool, tmp_path):
    config = metadata_config(metadata_pool, tmp_path / "run", ray={"address": nodes.address})
    older = "import sys, ray; ray.__version__ = '2.0.0'; from filtering.cli import main; sys.exit(main(sys.argv[1:]))"
    line = [sys.executable, "-c", older, "run", "--config", write_config(tmp_path / "run.yaml", config)]
    refused = subprocess.run(line, env=nodes.environment, capture_output=True, text=True, timeout=120, check=False)
    assert refused.returncode == 2
    last = refused.stderr.strip().splitlines()[-1]
    assert last.startswith(f"filtering: ray.address: Ray version mismatch with the cluster at {nodes.address}")
    assert "2.0.0" in last


def submit(cluster: Cluster, name: str, *job: str) -> subprocess.CompletedProcess:
    options = ["--address", cluster.dashboard_url, "--submission-id", name, "--working-dir", "."]
    line = [*RAY, "job", "submit", *options, "--", "python", *job]
    return subprocess.run(line, cwd=ROOT, env=cluster.environment, capture_output=True, text=True, check=False)


def test_a_night_is_submitted_once_and_its_run_can_be_read_after_the_cluster_is_gone(
    nodes, s3, metadata_pool, metadata_run, tmp_path, capsys
):
    for path in metadata_pool.iterdir():
        s3.client().upload_file(str(path), s3.bucket, f"metadata/{path.name}")
    runs = f"s3://{s3.bucket}/nightly"
    config = metadata_config(tmp_path, f"{runs}/{{date}}", ray={"address": "auto"})
    config["input"] = {"metadata": f"s3://{s3.bucket}/metadata/*.parquet"}
    s3.client().upload_file(write_config(tmp_path / "run.yaml", config), s3.bucket, "run.yaml")
    done = submit(nodes, "nightly", "jobs/nightly.py", "--config", f"s3://{s3.bucket}/run.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "manifest_hash" not in done.stdout
    output = f"{runs}/{datetime.now(UTC):%Y-%m-%d}"
    assert f"manifest  {output}/manifest" in done.stdout
    again = submit(nodes, "nightly", "jobs/nightly.py", "--config", f"s3://{s3.bucket}/run.yaml")
    assert again.returncode != 0
    assert "nightly already exists" in again.stdout + again.stderr
    nodes.stop()
    with s3_at(s3.endpoint, s3.keys):
        assert main(["status", output]) == main(["verify", output]) == 0
        record = json.loads(read_object(f"{output}/run.json"))
    assert "finished" in capsys.readouterr().out
    assert record["manifest_hash"] == hash_of(metadata_run)
