import json
import os
import signal
import subprocess
import time

import pytest
from pools import Meanwhile, metadata_config, write_metadata
from processes import command, events, heeding, write_config

from filtering.cli import main
from filtering.config.run import parse_config
from filtering.manifests.verify import problems
from filtering.pipeline import incremental
from filtering.runtime.status import status
from filtering.storage.store import Store


@pytest.mark.slow
def test_of_two_runs_on_one_output_one_refuses_and_names_the_other(metadata_pool, tmp_path, capsys):
    config = metadata_config(metadata_pool, tmp_path / "run")
    arguments = ["run", "--config", write_config(tmp_path / "run.yaml", config)]

    def second():
        assert main(arguments) == 2
        refused = capsys.readouterr().err
        assert "is being written by host" in refused
        assert f"process {os.getpid()}" in refused
        assert refused.strip().count("\n") == 0
        assert main(["status", str(tmp_path / "run"), "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert str(os.getpid()) in told["writer"]

    first = Meanwhile("graph", second)
    incremental.run(parse_config(config), first)
    assert first.stage is None
    assert list(problems(Store(str(tmp_path / "run")))) == []
    assert [event["event"] for event in events(tmp_path / "run")].count("run_started") == 1


def test_of_two_increments_at_once_one_refuses_whatever_their_outputs(tmp_path, capsys):
    pool = write_metadata(tmp_path / "pool", [500, 400])
    first, second = (metadata_config(pool, tmp_path / number, base="latest") for number in "12")
    arguments = ["run", "--config", write_config(tmp_path / "2.yaml", second)]

    def meanwhile():
        assert main(arguments) == 2
        refused = capsys.readouterr().err
        assert f"{tmp_path} is being written by host" in refused
        assert refused.strip().count("\n") == 0
        assert not (tmp_path / "2").exists()

    at_work = Meanwhile("graph", meanwhile)
    incremental.run(parse_config(first), at_work)
    assert at_work.stage is None
    assert json.loads((tmp_path / "latest.json").read_text())["run"] == "1"
    for name in ("status", "verify", "report"):
        assert main([name, str(tmp_path / "latest")]) == 0
        assert str(tmp_path / "1") in capsys.readouterr().out or name == "verify"
    assert main(["diff", str(tmp_path / "1"), str(tmp_path / "latest")]) == 0


@pytest.mark.parametrize(
    ("ray", "number"),
    [
        pytest.param({"address": "none"}, signal.SIGTERM, marks=pytest.mark.slow, id="in process"),
        pytest.param({"address": "none"}, signal.SIGHUP, marks=pytest.mark.slow, id="its terminal is closed"),
        pytest.param({"address": "local", "num_cpus": 1}, signal.SIGTERM, marks=pytest.mark.ray, id="on Ray"),
    ],
)
def test_a_run_that_is_asked_to_end_gives_back_its_lease(metadata_pool, tmp_path, ray, number):
    config = metadata_config(metadata_pool, tmp_path / "run", ray=ray)
    arguments = ["run", "--config", write_config(tmp_path / "run.yaml", config)]
    # A file, not a pipe: Ray's processes may hold it for a moment longer than the driver lives.
    said = tmp_path / "said"
    with said.open("w") as errors:
        driver = subprocess.Popen(command(*arguments), stdout=subprocess.DEVNULL, stderr=errors, preexec_fn=heeding)
    try:
        deadline = time.monotonic() + 60
        while not events(tmp_path / "run") and time.monotonic() < deadline:
            time.sleep(0.02)
        driver.send_signal(number)
        driver.wait(120)
    finally:
        driver.kill()
        driver.wait()
    assert driver.returncode == 130
    assert said.read_text().splitlines()[-1] == "filtering: stopped; the same command resumes the run"
    (lease,) = (tmp_path / "run" / "lease").iterdir()
    assert json.loads(lease.read_text())["released"] is True
    assert status(Store(str(tmp_path / "run")))["state"] == "stopped"
    assert "run_failed" not in {event["event"] for event in events(tmp_path / "run")}
    assert status(Store(str(tmp_path / "run")))["state"] == "stopped"
    assert "error" not in status(Store(str(tmp_path / "run")))


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_run_that_is_stopped_did_not_fail(metadata_pool, tmp_path, capsys, error):
    def stop():
        raise error

    with pytest.raises(error):
        incremental.run(parse_config(metadata_config(metadata_pool, tmp_path / "run")), Meanwhile("graph", stop))
    assert events(tmp_path / "run")[-1]["event"] == "run_stopped"
    found = status(Store(str(tmp_path / "run")))
    assert (found["state"], "error" in found) == ("stopped", False)
    assert main(["status", str(tmp_path / "run")]) == 0
    told = capsys.readouterr().out
    assert "stopped, last event" in told
    assert "the run's command resumes it" in told
    assert error.__name__ not in told
