"""Progress for a person: a live bar on a terminal, a line now and then elsewhere. Always on stderr."""

import contextlib
import sys
import time
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

LINE_INTERVAL = 10.0


class Reporter(Protocol):
    """What a stage tells while it works."""

    def start(self, stage: str, total: int, unit: str) -> None:
        """Begin a stage of `total` units."""

    def advance(self, done: int, note: str = "") -> None:
        """Say how many units of the current stage are done, and how it goes."""

    def finish(self, summary: str) -> None:
        """End the current stage with a line on what it found."""

    def say(self, line: str) -> None:
        """Show a line that belongs to no stage."""

    def stop(self) -> None:
        """Leave the terminal in order, also after a failure."""


def reporter() -> Reporter:
    """Return a live bar if stderr is a terminal, plain lines otherwise."""
    return BarReporter() if sys.stderr.isatty() else LineReporter()


class LineReporter:
    """One line when a stage ends, and every ten seconds while it works."""

    def __init__(self) -> None:
        self.stage, self.total, self.unit = "", 0, ""
        self.started = self.last = 0.0

    def start(self, stage: str, total: int, unit: str) -> None:
        """See `Reporter.start`."""
        if stage != self.stage:
            self.started = self.last = time.monotonic()
        self.stage, self.total, self.unit = stage, total, unit

    def advance(self, done: int, note: str = "") -> None:
        """See `Reporter.advance`."""
        now = time.monotonic()
        if now - self.last >= LINE_INTERVAL:
            self.last = now
            told = f", {note}" if note else ""
            _say(f"{self.stage:<12} {done:,}/{self.total:,} {self.unit}, {now - self.started:.0f} s{told}")

    def finish(self, summary: str) -> None:
        """See `Reporter.finish`."""
        _say(f"{self.stage:<12} {summary} ({time.monotonic() - self.started:.1f} s)")
        self.stage = ""

    def say(self, line: str) -> None:
        """See `Reporter.say`."""
        _say(line)

    def stop(self) -> None:
        """See `Reporter.stop`."""


class BarReporter:
    """A live bar for the current stage; the finished ones stay as lines above it."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self.stage, self.started = "", 0.0
        self.bar: Progress | None = None

    def start(self, stage: str, total: int, unit: str) -> None:
        """See `Reporter.start`. A stage may start again with other units."""
        self.stop()
        if stage != self.stage:
            self.stage, self.started = stage, time.monotonic()
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description:<12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self.bar = Progress(*columns, console=self.console, transient=True)
        self.task = self.bar.add_task(stage, total=total, note="")
        self.bar.start()

    def advance(self, done: int, note: str = "") -> None:
        """See `Reporter.advance`."""
        if self.bar is not None:
            self.bar.update(self.task, completed=done, note=note)

    def finish(self, summary: str) -> None:
        """See `Reporter.finish`."""
        self.stop()
        seconds = time.monotonic() - self.started
        self.console.print(f"{self.stage:<12} {summary} ({seconds:.1f} s)", highlight=False, markup=False)
        self.stage = ""

    def say(self, line: str) -> None:
        """See `Reporter.say`."""
        self.console.print(line, highlight=False, markup=False)

    def stop(self) -> None:
        """See `Reporter.stop`."""
        if self.bar is not None:
            self.bar.stop()
        self.bar = None


def _say(line: str) -> None:
    # Nobody listening any more (a closed pipe) is no reason for a run to fail.
    with contextlib.suppress(OSError):
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
