import json
import os
import signal
import subprocess
import time

from pools import metadata_config
from processes import call, command, events, write_config

from filtering.manifests.verify import problems
from filtering.storage.store import Store


def test_of_two_runs_on_one_output_one_refuses_and_names_the_other(joined, metadata_pool, tmp_path):
    config = metadata_config(metadata_pool, tmp_path / "run")
    arguments = ["run", "--config", write_config(tmp_path / "run.yaml", config)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    first = subprocess.Popen(command(*arguments), env=os.environ | joined, **streams)
    try:
        deadline = time.monotonic() + 60
        while not events(tmp_path / "run") and time.monotonic() < deadline:
            time.sleep(0.02)
        # Stopped, it cannot finish before the second one has looked.
        first.send_signal(signal.SIGSTOP)
        second = call(*arguments, **joined)
        assert second.returncode == 2
        assert "is being written by host" in second.stderr
        assert f"process {first.pid}" in second.stderr
        assert second.stderr.strip().count("\n") == 0
        told = json.loads(call("status", str(tmp_path / "run"), "--json").stdout)
        assert str(first.pid) in told["writer"]
        first.send_signal(signal.SIGCONT)
        assert first.wait(120) == 0
    finally:
        first.kill()
        first.wait()
    assert list(problems(Store(str(tmp_path / "run")))) == []
    assert [event["event"] for event in events(tmp_path / "run")].count("run_started") == 1


def test_a_run_that_is_asked_to_end_gives_back_its_lease(metadata_pool, tmp_path):
    config = metadata_config(metadata_pool, tmp_path / "run", ray={"address": "local", "num_cpus": 1})
    arguments = ["run", "--config", write_config(tmp_path / "run.yaml", config)]
    # A file, not a pipe: Ray's processes may hold it for a moment longer than the driver lives.
    said = tmp_path / "said"
    with said.open("w") as errors:
        driver = subprocess.Popen(command(*arguments), stdout=subprocess.DEVNULL, stderr=errors)
    try:
        deadline = time.monotonic() + 60
        while not events(tmp_path / "run") and time.monotonic() < deadline:
            time.sleep(0.02)
        driver.terminate()
        driver.wait(120)
    finally:
        driver.kill()
        driver.wait()
    assert driver.returncode == 130
    assert said.read_text().splitlines()[-1] == "filtering: stopped; the same command resumes the run"
    (lease,) = (tmp_path / "run" / "lease").iterdir()
    assert json.loads(lease.read_text())["released"] is True
