import io
import re
import sys

import pytest
from clocks import Time
from rich.console import Console

from filtering.cli import live
from filtering.cli.live import LiveReporter, machine_memory
from filtering.cli.output import progress_reporter

NOTE = "120 samples/s, 12 s left, 1.38 GB a task at most"


def at_work(width, **console):
    """A reporter in the middle of a run, on a terminal of its own, and what it would draw now."""
    file = io.StringIO()
    told = LiveReporter(Console(file=file, force_terminal=True, width=width, highlight=False, **console))
    told.start("embedding", 8, "shards")
    told.advance(3, NOTE)
    told.stop()
    with told.console.capture() as drawn:
        told.console.print(told.current)
    return told, drawn.get()


def plain(drawn):
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", drawn)


def test_the_live_view_tells_count_rate_time_left_memory_and_what_is_to_come():
    words = " ".join(plain(at_work(120)[1]).split())
    for part in ("embedding", "3/8 shards", NOTE, "then filters, concepts, partitions"):
        assert part in words


@pytest.mark.parametrize("width", [15, 30, 49, 50, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal(width):
    told, drawn = at_work(width)
    with told.console.capture() as finished:
        told.finish("4,505 samples embedded, 36 quarantined")
    assert max(map(len, plain(drawn + finished.get()).splitlines())) <= width


def test_a_finished_stage_stays_as_a_line_with_its_time():
    at, file = Time(), io.StringIO()
    told = LiveReporter(Console(file=file, force_terminal=True, width=80, highlight=False), at.clock())
    told.start("embedding", 1, "")
    # As it may start again with other units; its time goes on.
    at.sleep(43)
    told.start("embedding", 8, "shards")
    told.stop()
    told.finish("4,505 samples embedded")
    assert re.search(r"✓ embedding +43 s 4,505 samples embedded", plain(file.getvalue()))


def test_a_stage_of_one_task_has_no_count():
    told = LiveReporter(Console(file=io.StringIO(), force_terminal=True, width=80))
    told.start("report", 1, "")
    told.stop()
    with told.console.capture() as drawn:
        told.console.print(told.current)
    assert "/1" not in drawn.get()


def test_colours_are_left_out_where_nobody_wants_them(monkeypatch):
    assert "\x1b[3" in at_work(80, color_system="standard")[1]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in at_work(80, color_system="standard")[1]


def test_a_terminal_without_unicode_is_given_none():
    class Latin(io.StringIO):
        encoding = "latin-1"

    told = LiveReporter(Console(file=Latin(), force_terminal=True, width=80))
    told.start("embedding", 8, "shards")
    told.advance(3, NOTE)
    told.stop()
    told.console.print(told.current)
    told.finish("done")
    told.console.file.getvalue().encode("latin-1")


def test_memory_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(live, "MEMORY", tmp_path / "meminfo")
    assert machine_memory() == ""
    (tmp_path / "meminfo").write_text("MemTotal: 16000000 kB\nMemFree: 1 kB\nMemAvailable: 12000000 kB\n")
    assert machine_memory() == "this machine 4.10 GB of 16.4 GB"
    (tmp_path / "meminfo").write_text("nothing of the kind")
    assert machine_memory() == ""


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(5, "Input/output error")])
def test_a_closed_terminal_fails_no_run(monkeypatch, error):
    class Closed(io.StringIO):
        def write(self, text):
            raise error

        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Closed())
    told = progress_reporter()
    assert isinstance(told, LiveReporter)
    told.start("embedding", 8, "shards")
    told.say("a line")
    told.finish("done")
    told.stop()
