import io
import json
import os
import time

import pytest
from rich.console import Console

from filtering.cli import main
from filtering.cli.status_view import StatusView
from filtering.cli.watching import watch
from filtering.core.errors import InputError
from filtering.runtime.events import NAME, EventLog, read_events
from filtering.runtime.status import stage_line, status, status_lines
from filtering.storage.lease import Clock, Lease
from filtering.storage.store import Store

STARTED = {"time": 10.0, "event": "run_started"}
STAGE = {"time": 11.0, "event": "stage_started", "stage": "embedding"}
PROGRESS = {
    "time": 12.0,
    "event": "progress",
    "stage": "embedding",
    "done": 30,
    "total": 100,
    "unit": "shards",
    "seconds": 20.0,
    "resumed_tasks": 20,
    "resumed_samples": 2000,
    "lost_tasks": 1,
    "samples": 3000,
    "quarantined": 7,
    "quarantine_reasons": {"image_undecodable": 5, "missing_caption": 2},
    "retries": 4,
    "read_bytes": 5_000_000,
}
DONE = {
    "time": 13.0,
    "event": "stage_finished",
    "stage": "embedding",
    "seconds": 2.0,
    "peak_memory_bytes": 100,
    "summary": {"rows": 5},
}
FINISHED = {
    "time": 14.0,
    "event": "run_finished",
    "input": 10,
    "kept": 3,
    "dropped": 6,
    "quarantined": 1,
    "manifest_hash": "abc",
}
FAILED = {"time": 14.0, "event": "run_failed", "error": "RunError", "detail": "a task kept dying"}


def run_with(tmp_path, *events, rest=""):
    store = Store(str(tmp_path))
    store.write(NAME, ("".join(json.dumps(event) + "\n" for event in events) + rest).encode())
    return store


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


def test_a_stage_is_told_in_one_line(tmp_path):
    (stage,) = status(run_with(tmp_path, STARTED, STAGE, PROGRESS))["stages"]
    line = stage_line(stage)
    for words in (
        "30 of 100 shards",
        "50 samples/s",
        "about 2 min 20 s left",
        "missing_caption 2",
        "4 requests repeated",
    ):
        assert words in line
    assert "\n" not in line


def test_a_finished_run(tmp_path):
    found = status(run_with(tmp_path, STARTED, STAGE, PROGRESS, DONE, FINISHED))
    assert found["state"] == "finished"
    assert found["totals"] == {"input": 10, "kept": 3, "dropped": 6, "quarantined": 1}
    assert found["manifest_hash"] == "abc"
    stage = found["stages"][0]
    assert (stage["state"], stage["seconds"], stage["summary"]) == ("done", 2.0, {"rows": 5})


def test_a_run_that_nobody_writes_any_more_has_stopped(tmp_path):
    store = run_with(tmp_path, STARTED, STAGE, PROGRESS)
    assert status(store)["state"] == "stopped"
    with Lease(store):
        assert status(store)["state"] == "running"
    assert status(store)["state"] == "stopped"


def test_a_holder_that_is_silent_has_stopped(tmp_path):
    lease = Lease(Store(str(tmp_path)), clock=Clock(wall=lambda: time.time() - 61))
    lease.acquire()
    assert status(run_with(tmp_path, STARTED))["state"] == "stopped"
    lease.release()


def test_a_failed_run(tmp_path):
    found = status(run_with(tmp_path, STARTED, STAGE, PROGRESS, FAILED))
    assert found["state"] == "failed"
    assert found["error"] == "RunError: a task kept dying"


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


def drawn(found, width):
    file = io.StringIO()
    Console(file=file, width=width, highlight=False).print(StatusView(found))
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    return " ".join(" ".join(lines).split())


@pytest.mark.parametrize("width", [40, 60, 120])
def test_a_run_at_work_is_drawn_with_what_is_to_come(tmp_path, width):
    with Lease(Store(str(tmp_path))):
        told = drawn(status(run_with(tmp_path, STARTED, STAGE, PROGRESS)), width)
    for words in ("running by", "━", "30 of 100 shards", "50 samples/s", "missing_caption 2", "then filters, concepts"):
        assert words in told


def test_of_a_run_that_stopped_nothing_is_said_to_be_left(tmp_path):
    told = drawn(status(run_with(tmp_path, STARTED, STAGE, PROGRESS)), 100)
    assert "stopped" in told
    assert "✗ embedding" in told
    assert "left" not in told
    assert "then" not in told


def test_a_finished_run_and_a_failed_one_are_drawn(tmp_path):
    told = drawn(status(run_with(tmp_path, STARTED, DONE, FINISHED)), 100)
    assert "input 10, kept 3" in told
    assert "✓ embedding {'rows': 5}" in told
    assert "RunError: a task kept dying" in drawn(status(run_with(tmp_path, STARTED, FAILED)), 100)


def test_plain_lines_say_the_same(tmp_path):
    lines = status_lines(status(run_with(tmp_path, STARTED, STAGE, PROGRESS, FAILED)))
    assert "failed" in lines[0]
    assert "30 of 100 shards" in lines[1]
    assert lines[-1] == "  RunError: a task kept dying"


@pytest.fixture
def growing(tmp_path, monkeypatch):
    """A run that does the next thing each time that someone has looked at it and waits."""
    store = run_with(tmp_path, STARTED)
    lease = Lease(store)
    lease.acquire()
    happens = iter([STAGE, PROGRESS, None, {**PROGRESS, "done": 60}, DONE, FINISHED])

    def goes_on(seconds):
        event = next(happens)
        if event is not None:
            with (tmp_path / NAME).open("a") as log:
                log.write(json.dumps(event) + "\n")

    monkeypatch.setattr("filtering.cli.watching.time.sleep", goes_on)
    yield store
    lease.release()


def test_watching_off_a_terminal_prints_a_line_for_each_change_until_the_run_has_ended(growing, capsys):
    assert main(["status", growing.url, "--watch"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert lines[0].startswith("running by")
    assert ["30 of 100 shards" in lines[2], "60 of 100 shards" in lines[3]] == [True, True]
    assert lines[-1].startswith("finished")
    assert "kept 3" in lines[-1]


def test_watching_as_json_prints_an_object_for_each_change(growing, capsys):
    assert main(["status", growing.url, "--watch", "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["state"] for one in told] == ["running"] * 5 + ["finished"]
    assert told[-1]["totals"]["kept"] == 3


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_watching_on_a_terminal_draws_until_the_run_has_ended(growing):
    screen = Terminal()
    assert watch(growing, screen) == 0
    assert "finished" in screen.getvalue()
    assert "kept 3" in screen.getvalue()


@pytest.mark.parametrize("ending", [FAILED, None])
def test_watching_a_run_that_failed_or_stopped_ends(tmp_path, capsys, ending):
    store = run_with(tmp_path, STARTED, STAGE, *([ending] if ending else []))
    assert main(["status", store.url, "--watch"]) == 0
    assert capsys.readouterr().out.startswith("failed" if ending else "stopped")


@pytest.mark.parametrize("screen", [io.StringIO, Terminal])
def test_who_stops_watching_is_told_nothing(tmp_path, monkeypatch, screen, capsys):
    def interrupted(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr("filtering.cli.watching.time.sleep", interrupted)
    with Lease(Store(str(tmp_path))):
        assert watch(run_with(tmp_path, STARTED, STAGE), screen()) == 130
    assert capsys.readouterr().err == ""


def test_a_run_on_an_object_store_is_watched(capsys):
    store = Store("memory://watched")
    store.write(NAME, b"".join(json.dumps(event).encode() + b"\n" for event in (STARTED, FINISHED)))
    assert main(["status", store.url, "--watch"]) == 0
    assert capsys.readouterr().out.startswith("finished")
