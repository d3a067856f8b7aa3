"""A run's progress on a terminal: the current stage, drawn again and again; finished ones stay as lines above it."""

import contextlib
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from filtering.cli.drawing import NAME_WIDTH, columns, console_on, mark, text, to_come
from filtering.cli.streams import Unfailing
from filtering.core.clock import CLOCK, Clock
from filtering.core.formatting import duration, size
from filtering.core.secrets import redacted

MEMORY = Path("/proc/meminfo")
# Narrower, the count and the time are worth more than a bar.
NARROW = 50
REDRAWS_PER_SECOND = 5


class LiveReporter:
    """A live view of the current stage; the finished ones stay as lines above it. See `Reporter`."""

    def __init__(self, console: Console | None = None, clock: Clock = CLOCK) -> None:
        self.clock = clock
        self.console = console or console_on(cast(IO[str], Unfailing(sys.stderr)))
        self.current: Current | None = None
        self.live: Live | None = None

    def start(self, stage: str, total: int, unit: str) -> None:
        """See `Reporter.start`. A stage may start again with other units."""
        same = self.current is not None and self.current.stage == stage
        started = self.current.started if self.current and same else self.clock.monotonic()
        self.current = Current(stage, total, unit, started, self.clock)
        if self.live is None:
            # Transient, so that nothing of it stays when the run ends or fails.
            self.live = Live(
                get_renderable=lambda: self.current or "",
                console=self.console,
                refresh_per_second=REDRAWS_PER_SECOND,
                transient=True,
            )
            self.live.start()

    def advance(self, done: int, note: str = "") -> None:
        """See `Reporter.advance`."""
        if self.current is not None:
            self.current.done, self.current.note, self.current.waits = done, note, ""

    def wait(self, what: str) -> None:
        """See `Reporter.wait`."""
        if self.current is not None:
            self.current.waits = what

    def finish(self, summary: str) -> None:
        """See `Reporter.finish`."""
        if self.current is not None:
            seconds = self.clock.monotonic() - self.current.started
            finished = Finished(self.current.stage, duration(seconds), summary)
            self.current = None
            self.console.print(finished)

    def say(self, line: str) -> None:
        """See `Reporter.say`."""
        self.console.print(redacted(line))

    def stop(self) -> None:
        """See `Reporter.stop`. The stage stays the current one, so that it can still be finished."""
        if self.live is not None:
            self.live.stop()
        self.live = None


@dataclass(slots=True)
class Current:
    """The stage at work, as it is drawn: what `Reporter` was told of it, and when it started."""

    stage: str
    total: int
    unit: str
    started: float
    clock: Clock
    done: int = 0
    note: str = ""
    waits: str = ""  # what it waits for before a unit can be worked on, and how many are done
    spinner: Spinner = field(default_factory=lambda: Spinner("dots", style="cyan"))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it: bar, rates and memory, and what is still to come."""
        if options.ascii_only and self.spinner.name != "line":
            self.spinner = Spinner("line")
        # Below the stage's name, where there is room for that.
        indent = NAME_WIDTH + 3 if options.max_width >= NARROW else 2
        coming = f"then {', '.join(later)}" if (later := to_come(self.stage)) else ""
        below = (Padding(text(words, "dim"), (0, 0, 0, indent)) for words in (self._told(), coming) if words)
        yield Group(self._bar(options.max_width), *below)

    def _bar(self, width: int) -> Table:
        # Of one task nothing is known until it is done: its bar only moves.
        known = self.total if self.unit and self.total > 1 and not self.waits else None
        row = columns(1, expand=True)
        for ratio in (None, None, *([1] * (width >= NARROW)), None, None):
            row.add_column(ratio=ratio, no_wrap=True, overflow="ellipsis")
        bars = [ProgressBar(total=known, completed=self.done, pulse=known is None)] * (width >= NARROW)
        count = f"{self.done:,}/{self.total:,} {self.unit}" if known else ""
        seconds = Text(duration(int(self.clock.monotonic() - self.started)), "cyan", justify="right")
        row.add_row(self.spinner, text(f"{self.stage:<{NAME_WIDTH}}", "bold"), *bars, count, seconds)
        return row

    def _told(self) -> str:
        waiting = "no rate until the first is done" if self.unit and self.total > 1 and not self.done else ""
        return ", ".join(filter(None, (self.waits or self.note or waiting, machine_memory())))


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished stage, as it is drawn; what does not fit beside its name and time goes on below itself."""

    stage: str
    time: str
    summary: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it."""
        row = columns(1)
        row.add_column(no_wrap=True)
        row.add_column(no_wrap=True)
        row.add_column(no_wrap=True, justify="right", min_width=10)
        row.add_column(overflow="fold")
        done, name = text(mark(options, "✓", "*"), "green"), f"{self.stage:<{NAME_WIDTH}}"
        row.add_row(done, name, text(self.time, "dim"), self.summary)
        yield row


def machine_memory() -> str:
    """Return how much of this machine's memory is in use, in words; nothing where that cannot be told."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        lines = dict(line.split(":", 1) for line in MEMORY.read_text().splitlines() if ":" in line)
        total, free = (1024 * int(lines[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
        return f"this machine {size(total - free)} of {size(total)}"
    return ""
