"""Nights that are killed, that meet, or that write to S3."""

import json
import os
import subprocess
import time
import uuid

import pytest
from pools import Silent, metadata_config, write_metadata
from processes import call, command, events, kill_in_stage, write_config

from filtering.cli import main
from filtering.config.run import parse_config
from filtering.pipeline import incremental
from filtering.storage.store import Store

STAGES = ("embedding", "filters", "concepts", "partitions", "graph", "scores", "selection", "manifests", "report")


def latest(root):
    return json.loads((root / "latest.json").read_text())["run"]


@pytest.mark.timeout(900)
def test_a_night_killed_at_each_stage_leaves_latest_and_goes_on_from_where_it_began(joined, tmp_path):
    pool = write_metadata(tmp_path / "pool", [500, 400])
    config = metadata_config(pool, tmp_path / "1", base="latest")
    incremental.run(parse_config(config), Silent())
    write_metadata(pool, [80], seed=1)
    arguments = ["run", "--config", write_config(tmp_path / "2.yaml", config | {"output": str(tmp_path / "2")})]
    for stage in STAGES:
        kill_in_stage(arguments, tmp_path / "2", stage, **joined)
        assert latest(tmp_path) == "1"
    # Meanwhile another night ends: the killed one still goes on from the base that it began with.
    incremental.run(parse_config(config | {"output": str(tmp_path / "between")}), Silent())
    told = call(*arguments, "--json", **joined)
    assert told.returncode == 0, told.stderr
    record = json.loads(told.stdout)
    assert record["base"]["run"] == str(tmp_path / "1")
    assert record["base"]["embedded_shards"] == 1
    concepts = config["concepts"] | {"centroids": str(tmp_path / "1")}
    alone = parse_config({**config, "base": None, "concepts": concepts, "output": str(tmp_path / "b" / "2")})
    assert record["manifest_hash"] == incremental.run(alone, Silent())["manifest_hash"]
    # It began before the night between, so that latest does not go back to it.
    assert latest(tmp_path) == "between"
    incremental.run(parse_config(config | {"output": str(tmp_path / "3")}), Silent())
    assert latest(tmp_path) == "3"


def test_of_two_nights_at_once_one_refuses_whatever_their_outputs(joined, tmp_path, capsys):
    pool = write_metadata(tmp_path / "pool", [500, 400])
    first, second = (
        ["run", "--config", write_config(tmp_path / f"{n}.yaml", metadata_config(pool, tmp_path / n, base="latest"))]
        for n in "12"
    )
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    driver = subprocess.Popen(command(*first), env=os.environ | joined, **quiet)
    try:
        deadline = time.monotonic() + 60
        while not events(tmp_path / "1") and time.monotonic() < deadline:
            time.sleep(0.02)
        refused = call(*second, **joined)
        assert refused.returncode == 2
        assert f"{tmp_path} is being written by host" in refused.stderr
        assert refused.stderr.strip().count("\n") == 0
        assert not (tmp_path / "2").exists()
        assert driver.wait(120) == 0
    finally:
        driver.kill()
        driver.wait()
    assert latest(tmp_path) == "1"
    for name in ("status", "verify", "report"):
        assert main([name, str(tmp_path / "latest")]) == 0
        assert str(tmp_path / "1") in capsys.readouterr().out or name == "verify"
    assert main(["diff", str(tmp_path / "1"), str(tmp_path / "latest")]) == 0


@pytest.mark.timeout(600)
def test_nights_on_s3_start_from_each_other_and_old_ones_go(joined_s3, s3, tmp_path):
    pool = write_metadata(tmp_path / "pool", [300, 250])
    root = f"s3://{s3.bucket}/{uuid.uuid4().hex}"
    config = metadata_config(pool, f"{root}/1", base="latest", retention={"keep_runs": 1})
    arguments = ["run", "--config", write_config(tmp_path / "night.yaml", config), "--json"]

    def night(name):
        done = call(*arguments, "--set", f"output={root}/{name}", **joined_s3)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    night("1")
    write_metadata(pool, [40], seed=1)
    second = night("2")
    assert second["base"]["embedded_shards"] == 1
    assert json.loads(call("status", f"{root}/latest", "--json").stdout)["run"] == f"{root}/2"
    assert Store(f"{root}/1").exists("retired.json")
