import json
import os
import time

import pytest
from run_events import DONE, FAILED, FINISHED, PROGRESS, STAGE, STARTED, STOPPED, run_with

from filtering.core.errors import InputError
from filtering.runtime.events import EventLog, read_events
from filtering.runtime.status import status
from filtering.storage.lease import Clock, Lease
from filtering.storage.store import Store


def test_a_running_run(tmp_path):
    with Lease(Store(str(tmp_path))):
        found = status(run_with(tmp_path, STARTED, STAGE, PROGRESS))
    assert found["state"] == "running"
    assert f"process {os.getpid()}" in found["writer"]
    (stage,) = found["stages"]
    assert (stage["name"], stage["state"], stage["tasks_done"], stage["tasks"]) == ("embedding", "running", 30, 100)
    assert stage["quarantine_reasons"] == {"image_undecodable": 5, "missing_caption": 2}
    assert (stage["retries"], stage["lost_tasks"], stage["read_bytes"]) == (4, 1, 5_000_000)
    assert found["quiet_seconds"] > 0
    assert "totals" not in found


def test_rates_count_what_this_attempt_did(tmp_path):
    (stage,) = status(run_with(tmp_path, STARTED, STAGE, PROGRESS))["stages"]
    assert stage["samples_per_second"] == 50.0
    assert stage["tasks_per_second"] == 0.5
    assert stage["seconds_left"] == 140.0


def test_a_finished_run(tmp_path):
    found = status(run_with(tmp_path, STARTED, STAGE, PROGRESS, DONE, FINISHED))
    assert found["state"] == "finished"
    assert found["totals"] == {"input": 10, "kept": 3, "dropped": 6, "quarantined": 1}
    assert found["manifest_hash"] == "abc"
    stage = found["stages"][0]
    assert (stage["state"], stage["seconds"], stage["summary"]) == ("done", 2.0, {"rows": 5})


def test_each_stage_of_a_name_is_told(tmp_path):
    first, second = ({"stage": "scores", "fingerprint": mark} for mark in ("abc", "def"))
    progress = {**PROGRESS, "stage": "scores"}
    events = [{**STAGE, **first}, {**DONE, **first}, {**STAGE, **second}, progress]
    found = status(run_with(tmp_path, STARTED, *events))
    assert [(stage["name"], stage["state"]) for stage in found["stages"]] == [("scores", "done"), ("scores", "running")]
    assert [stage["tasks_done"] for stage in found["stages"]] == [0, 30]
    # One that is made again stands where it stood.
    again = status(run_with(tmp_path, STARTED, *events, {**DONE, **second}, {**STAGE, **first}, progress))
    assert [stage["state"] for stage in again["stages"]] == ["running", "done"]
    assert again["stages"][0]["tasks_done"] == 30


def test_a_run_that_nobody_writes_any_more_has_stopped(tmp_path):
    store = run_with(tmp_path, STARTED, STAGE, PROGRESS)
    assert status(store)["state"] == "stopped"
    with Lease(store):
        assert status(store)["state"] == "running"
    assert status(store)["state"] == "stopped"


def test_what_a_run_waits_for_is_told_while_it_runs(tmp_path):
    store = run_with(tmp_path, STARTED, STAGE, {**PROGRESS, "waits": "waiting for workers: 0 of 2"})
    with Lease(store):
        assert status(store)["stages"][0]["waits"] == "waiting for workers: 0 of 2"
    assert "waits" not in status(store)["stages"][0]


def test_a_holder_that_is_silent_has_stopped(tmp_path):
    lease = Lease(Store(str(tmp_path)), clock=Clock(wall=lambda: time.time() - 61))
    lease.acquire()
    assert status(run_with(tmp_path, STARTED))["state"] == "stopped"
    lease.release()


def test_a_failed_run(tmp_path):
    found = status(run_with(tmp_path, STARTED, STAGE, PROGRESS, FAILED))
    assert found["state"] == "failed"
    assert found["error"] == "RunError: a task kept dying"


def test_a_run_that_somebody_stopped_has_no_cause(tmp_path):
    with Lease(Store(str(tmp_path))):
        found = status(run_with(tmp_path, STARTED, STAGE, PROGRESS, STOPPED))
    assert found["state"] == "stopped"
    assert not {"error", "writer"} & set(found)


def test_a_reused_stage(tmp_path):
    found = status(run_with(tmp_path, STARTED, {**DONE, "reused": True}))
    assert found["stages"][0]["state"] == "reused"


def test_only_the_latest_attempt_counts(tmp_path):
    found = status(run_with(tmp_path, STARTED, STAGE, PROGRESS, FAILED, {**STARTED, "time": 20.0}))
    assert found["state"] == "stopped"
    assert found["stages"] == []
    assert "error" not in found


@pytest.mark.parametrize("cut", [1, 5, 20, 40])
def test_a_cut_last_line_is_left_out(tmp_path, cut):
    store = run_with(tmp_path, STARTED, STAGE, rest=json.dumps(PROGRESS)[:cut])
    assert [event["event"] for event in read_events(store)] == ["run_started", "stage_started"]
    assert status(store)["stages"][0]["tasks_done"] == 0


def test_a_resumed_run_survives_the_cut_line_of_the_first(tmp_path):
    store = run_with(tmp_path, STARTED, STAGE, FAILED, rest=json.dumps(PROGRESS)[:20])
    log = EventLog(store)
    log.append("run_started")
    log.append("stage_started", stage="graph")
    log.flush()
    found = status(store)
    assert [stage["name"] for stage in found["stages"]] == ["graph"]


def test_a_log_without_events(tmp_path):
    found = status(run_with(tmp_path))
    assert (found["state"], found["stages"]) == ("stopped", [])


@pytest.mark.parametrize("remote", [False, True])
def test_no_run_is_refused(tmp_path, remote):
    store = Store("memory://no-such-run" if remote else str(tmp_path / "none"))
    with pytest.raises(InputError, match="holds no run"):
        status(store)


@pytest.mark.parametrize("remote", [False, True])
def test_events_written_are_events_read(tmp_path, remote):
    store = Store(f"memory://{tmp_path.name}" if remote else str(tmp_path))
    for attempt in range(2):
        log = EventLog(store)
        log.append("run_started", attempt=attempt, note="é\u2028\n")
        log.append("progress", stage="embedding", done=1)
        log.flush()
    events = read_events(store)
    assert [event["event"] for event in events] == ["run_started", "progress"] * 2
    assert events[2]["attempt"] == 1
    assert events[0]["note"] == "é\u2028\n"
    assert all(event["time"] > 0 for event in events)
