import io
import json
import sys

import pytest
from clocks import Time
from rich.console import Console
from run_events import DONE, FAILED, FINISHED, PROGRESS, STAGE, STARTED, run_with

from filtering.cli import main
from filtering.cli.status import StatusView, stage_line, status_lines, watch
from filtering.runtime.events import NAME
from filtering.runtime.status import status
from filtering.storage.lease import Lease
from filtering.storage.store import Store


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


@pytest.mark.parametrize(("done", "begins"), [(0, "running  loading X"), (30, "running  30 of 100 shards, loading X")])
def test_what_a_stage_waits_for_is_told_beside_what_is_done(tmp_path, done, begins):
    with Lease(Store(str(tmp_path))):
        progress = {**PROGRESS, "done": done, "waits": "loading X"}
        (stage,) = status(run_with(tmp_path, STARTED, STAGE, progress))["stages"]
    assert begins in stage_line(stage)
    # Nobody knows when it goes on.
    assert "left" not in stage_line(stage)


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


def test_a_metadata_run_and_a_failed_one_are_drawn(tmp_path):
    told = drawn(status(run_with(tmp_path, STARTED, DONE, FINISHED)), 100)
    assert "input 10, kept 3" in told
    assert "✓ embedding {'rows': 5}" in told
    assert "RunError: a task kept dying" in drawn(status(run_with(tmp_path, STARTED, FAILED)), 100)


def test_plain_lines_say_the_same(tmp_path):
    lines = status_lines(status(run_with(tmp_path, STARTED, STAGE, PROGRESS, FAILED)))
    assert "failed" in lines[0]
    assert "30 of 100 shards" in lines[1]
    assert lines[-1] == "  RunError: a task kept dying"


def test_columns_stay_apart_however_long_a_name_is(tmp_path):
    names = ["text_partitions", "selection-near_imagenet-1", "graph"]
    events = [{**DONE, "stage": name, "summary": "all of it"} for name in names]
    _, *lines = status_lines(status(run_with(tmp_path, STARTED, *events)))
    assert [line.split()[:2] for line in lines] == [[name, "done"] for name in names]
    assert len({line.index("done ") for line in lines}) == len({line.index("all of it") for line in lines}) == 1


@pytest.fixture
def growing(tmp_path):
    """A run that does the next thing each time that someone has looked at it and waits, and by which clock."""
    store, at = run_with(tmp_path, STARTED), Time()
    lease = Lease(store)
    lease.acquire()
    happens = iter([STAGE, PROGRESS, None, {**PROGRESS, "done": 60}, DONE, FINISHED])

    def goes_on():
        event = next(happens)
        if event is not None:
            with (tmp_path / NAME).open("a") as log:
                log.write(json.dumps(event) + "\n")

    at.while_sleeping = goes_on
    yield store, at
    lease.release()


def test_watching_off_a_terminal_prints_a_line_for_each_change_until_the_run_has_ended(growing, capsys):
    store, at = growing
    assert watch(store, sys.stdout, clock=at.clock()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert at.slept == [2.0] * 6
    assert len(lines) == 6
    assert lines[0].startswith("running by")
    assert ["30 of 100 shards" in lines[2], "60 of 100 shards" in lines[3]] == [True, True]
    assert lines[-1].startswith("finished")
    assert "kept 3" in lines[-1]


def test_watching_as_json_prints_an_object_for_each_change(growing, capsys):
    store, at = growing
    assert watch(store, sys.stdout, as_json=True, clock=at.clock()) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["state"] for one in told] == ["running"] * 5 + ["finished"]
    assert told[-1]["totals"]["kept"] == 3


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_watching_on_a_terminal_draws_until_the_run_has_ended(growing):
    (store, at), screen = growing, Terminal()
    assert watch(store, screen, clock=at.clock()) == 0
    assert "finished" in screen.getvalue()
    assert "kept 3" in screen.getvalue()


@pytest.mark.parametrize("ending", [FAILED, None])
def test_watching_a_run_that_failed_or_stopped_ends(tmp_path, capsys, ending):
    store = run_with(tmp_path, STARTED, STAGE, *([ending] if ending else []))
    assert main(["status", store.url, "--watch"]) == 0
    assert capsys.readouterr().out.startswith("failed" if ending else "stopped")


@pytest.mark.parametrize("screen", [io.StringIO, Terminal])
def test_who_stops_watching_reads_no_error(tmp_path, screen, capsys):
    def interrupted():
        raise KeyboardInterrupt

    at = Time()
    at.while_sleeping = interrupted
    with Lease(Store(str(tmp_path))):
        assert watch(run_with(tmp_path, STARTED, STAGE), screen(), clock=at.clock()) == 130
    assert capsys.readouterr().err == ""


def test_a_run_on_an_object_store_is_watched(capsys):
    store = Store("memory://watched")
    store.write(NAME, b"".join(json.dumps(event).encode() + b"\n" for event in (STARTED, FINISHED)))
    assert main(["status", store.url, "--watch"]) == 0
    assert capsys.readouterr().out.startswith("finished")


def test_the_state_is_printed_once(metadata_run, call_main):
    status, out, _ = call_main("status", str(metadata_run), "--json")
    assert status == 0
    assert json.loads(out)["state"] == "finished"
    status, out, _ = call_main("status", str(metadata_run))
    assert status == 0
    assert out.startswith(f"{metadata_run}: finished")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [(["/nowhere"], "/nowhere: holds no run"), (["run", "--every", "0"], "--every: 0 is not a number of seconds")],
)
def test_what_cannot_be_shown_is_refused(refused, arguments, line):
    assert line in refused("status", *arguments)
