"""Progress for a person, always on stderr: what a reporter is, and the one that prints lines."""

import contextlib
import sys
from typing import Protocol

from filtering.core.clock import CLOCK, Clock
from filtering.core.secrets import redacted
from filtering.core.visible import visible

LINE_INTERVAL = 10.0


class Reporter(Protocol):
    """What a stage tells while it works."""

    def start(self, stage: str, total: int, unit: str) -> None:
        """Begin a stage of `total` units."""

    def advance(self, done: int, note: str = "") -> None:
        """Say how many units of the current stage are done, and how it goes."""

    def wait(self, what: str) -> None:
        """Say what the current stage waits for before a unit can be worked on, and how many are done, if any."""

    def finish(self, summary: str) -> None:
        """End the current stage with a line on what it found."""

    def say(self, line: str) -> None:
        """Show a line that belongs to no stage."""

    def stop(self) -> None:
        """Leave the terminal in order, also after a failure."""


class LineReporter:
    """One line when a stage ends, and every ten seconds while it works."""

    def __init__(self, clock: Clock = CLOCK) -> None:
        self.clock = clock
        self.stage, self.total, self.unit = "", 0, ""
        self.started = self.last = 0.0

    def start(self, stage: str, total: int, unit: str) -> None:
        """See `Reporter.start`."""
        if stage != self.stage:
            self.started = self.last = self.clock.monotonic()
        self.stage, self.total, self.unit = stage, total, unit

    def advance(self, done: int, note: str = "") -> None:
        """See `Reporter.advance`."""
        self._now_and_then(f"{done:,}/{self.total:,} {self.unit}", f", {note}" if note else "")

    def wait(self, what: str) -> None:
        """See `Reporter.wait`."""
        self._now_and_then(what, "")

    def finish(self, summary: str) -> None:
        """See `Reporter.finish`."""
        _say(f"{self.stage:<12} {summary} ({self.clock.monotonic() - self.started:.1f} s)")
        self.stage = ""

    def say(self, line: str) -> None:
        """See `Reporter.say`."""
        _say(line)

    def stop(self) -> None:
        """See `Reporter.stop`."""

    def _now_and_then(self, state: str, note: str) -> None:
        now = self.clock.monotonic()
        if now - self.last >= LINE_INTERVAL:
            self.last = now
            _say(f"{self.stage:<12} {state}, {now - self.started:.0f} s{note}")


def _say(line: str) -> None:
    # Nobody listening any more (a closed pipe) is no reason for a run to fail.
    with contextlib.suppress(OSError):
        sys.stderr.write(visible(redacted(line)) + "\n")
        sys.stderr.flush()
