"""`filtering status`: the progress and the result of a run; with --watch, until the run has ended."""

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from filtering.cli.declaration import INTERRUPTED, RUN, Command, amount, argument
from filtering.cli.drawing import NAME_WIDTH, columns, console_on, mark, progress_bar, spans, stacked, text, to_come
from filtering.cli.output import print_result
from filtering.cli.suggestions import existing_run
from filtering.core.clock import CLOCK, Clock
from filtering.core.formatting import counted, duration, size
from filtering.core.json_text import json_text
from filtering.core.visible import visible

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, Group, RenderResult

    from filtering.storage.store import Store

State = Mapping[str, Any]
# Object stores are given a run's events every ten seconds: looking more often shows no more.
EVERY_LOCAL, EVERY_REMOTE = 2.0, 10.0
# A run in one of these states does not go on by itself.
ENDED = ("finished", "failed", "stopped")
RESUMABLE = ("failed", "stopped")
STYLES = {"running": "cyan", "finished": "green", "failed": "red", "stopped": "yellow"}
# By the state of a stage: its mark, the same in ASCII, and their colour.
MARKS = {"done": ("✓", "*", "green"), "reused": ("✓", "*", "dim"), "running": ("▸", ">", "cyan")}
CUT_OFF = ("✗", "x", "red")
BAR = 24
# Narrower, the summaries need the room of the memory's column.
WIDE = 70


def _seconds(words: str) -> float:
    number = amount(words)
    if not 0.1 <= number <= 86400:
        raise argparse.ArgumentTypeError(f"{words} is not a number of seconds from 0.1 to 86400 (a day)")
    return number


def _status(given: argparse.Namespace) -> int:
    from filtering.runtime.status import status
    from filtering.storage.store import Store

    run = Store(existing_run(given.run))
    if given.watch:
        return watch(run, given.out_stream, given.every, as_json=given.json)
    found = status(run)
    return print_result(given, found, lambda: status_lines(found), lambda: StatusView(found))


def watch(
    run: "Store", stream: TextIO, every: float | None = None, *, as_json: bool = False, clock: Clock = CLOCK
) -> int:
    """Print the state of a run until it has ended, and return the exit status; InputError if there is no run.

    On a terminal it is drawn anew in its place; elsewhere there is a line, or JSON, for each change. `every` is the
    seconds between two looks, by default 2 on a disk and 10 on object stores.
    """
    from filtering.storage.store import is_local

    states = _states(run, every or (EVERY_LOCAL if is_local(run.url) else EVERY_REMOTE), clock)
    try:
        if stream.isatty() and not as_json:
            _draw(states, stream)
        else:
            _write(states, stream, json_text if as_json else _newest_line)
    except KeyboardInterrupt:
        # Who stops watching has seen enough; the run goes on.
        return INTERRUPTED
    return 0


def _states(run: "Store", every: float, clock: Clock) -> Iterator[State]:
    """Yield the state of a run, again and again, the last time when it has ended."""
    from filtering.runtime.status import status

    while True:
        found = status(run)
        yield found
        if found["state"] in ENDED:
            return
        clock.sleep(every)


def _draw(states: Iterator[State], stream: TextIO) -> None:
    from rich.live import Live

    with Live(console=console_on(stream), auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
        for found in states:
            live.update(StatusView(found), refresh=True)


def _write(states: Iterator[State], stream: TextIO, line: Callable[[State], str]) -> None:
    written: State = {}
    for found in states:
        changed = {key: value for key, value in found.items() if key != "quiet_seconds"}
        if changed != written:
            written = changed
            stream.write(visible(line(found)) + "\n")
            stream.flush()


def _newest_line(found: State) -> str:
    """Return the newest stage while a run is at work, else how it ended."""
    if found["state"] not in ENDED:
        return stage_line(found["stages"][-1]).strip() if found["stages"] else state_words(found)
    rest = [totals_words(found["totals"])] if "totals" in found else [found["error"]] if "error" in found else []
    return "; ".join([state_words(found), *rest])


@dataclass(frozen=True, slots=True)
class StatusView:
    """What `filtering.runtime.status.status` found, as it is drawn."""

    found: State

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        """Draw it."""
        state, stages = self.found["state"], self.found["stages"]
        yield text(self.found["run"], "bold")
        yield spans((state, f"bold {STYLES.get(state, '')}"), state_words(self.found).removeprefix(state))
        yield ""
        wide = options.max_width >= WIDE
        table = columns(1, expand=True)
        for ratio, justify in ((None, "left"), (None, "left"), (1, "left"), *[(None, "right")] * (1 + wide)):
            table.add_column(ratio=ratio, justify=justify, no_wrap=ratio is None, overflow="fold")  # type: ignore[arg-type]
        for stage in stages:
            table.add_row(*self._cells(stage, options, wide))
        yield table
        if state == "running" and stages and (later := to_come(stages[-1]["name"])):
            yield text(f"  then {', '.join(later)}", "dim")
        if "totals" in self.found:
            yield from ("", text(totals_words(self.found["totals"]), "bold"))
        if "error" in self.found:
            yield from ("", text(self.found["error"], "red"))

    def _cells(self, stage: State, options: "ConsoleOptions", wide: bool) -> list[Any]:
        begun, on = stage["state"] == "running", self.found["state"] == "running"
        drawn, plain, style = CUT_OFF if begun and not on else MARKS[stage["state"]]
        memory = size(stage["peak_memory_bytes"]) if stage.get("peak_memory_bytes") else ""
        return [
            text(mark(options, drawn, plain), style),
            text(f"{stage['name']:<{NAME_WIDTH}}", "bold" if begun else ""),
            _begun(stage, on) if begun else _with_remarks(str(stage["summary"]), remarks(stage)),
            *[text(f"  {memory}", "dim")] * wide,
            text(f" {'' if begun else duration(stage['seconds'])}", "dim"),
        ]


def _begun(stage: State, on: bool) -> "Group":
    row = columns(1)
    share = [progress_bar(stage["tasks"], stage["tasks_done"], BAR)] if "tasks" in stage else []
    row.add_row(*share, done_words(stage))
    # Of a run that has ended, nobody knows when it goes on.
    return _with_remarks(row, [*(rate_words(stage) if on else []), *remarks(stage)])


def _with_remarks(first: Any, rest: list[str]) -> "Group":
    return stacked([first, *([text("; ".join(rest), "dim")] if rest else [])])


def status_lines(found: State) -> list[str]:
    """Return what `filtering.runtime.status.status` found in plain lines."""
    width = max([NAME_WIDTH, *(len(stage["name"]) for stage in found["stages"])])
    lines = [f"{found['run']}: {state_words(found)}", *(stage_line(stage, width) for stage in found["stages"])]
    if "totals" in found:
        lines.append("  " + totals_words(found["totals"]))
    if "error" in found:
        lines.append(f"  {found['error']}")
    return lines


def state_words(found: State) -> str:
    """Return the state of a run, who runs it, and how long ago its last event was."""
    by = f" by {found['writer']}" if "writer" in found else ""
    hint = "; the run's command resumes it" if found["state"] in RESUMABLE else ""
    return f"{found['state']}{by}, last event {duration(found['quiet_seconds'])} ago{hint}"


def totals_words(totals: Mapping[str, int]) -> str:
    """Return how many samples were read, kept, dropped and quarantined."""
    return ", ".join(f"{name} {count:,}" for name, count in totals.items())


def stage_line(stage: State, width: int = NAME_WIDTH) -> str:
    """Return a stage's state in one line; its name takes `width` columns."""
    parts = [str(stage["summary"])] if "summary" in stage else [done_words(stage), *rate_words(stage)]
    parts += [f"{size(stage['peak_memory_bytes'])} a task at most"] if stage.get("peak_memory_bytes") else []
    return f"  {stage['name']:<{width}} {stage['state']:<8} {'; '.join([*parts, *remarks(stage)])}"


def done_words(stage: State) -> str:
    """Return how many tasks of a stage are done, if any, and what it waits for before the next."""
    of = f" of {stage['tasks']:,}" if "tasks" in stage else ""
    done = f"{stage['tasks_done']:,}{of} {stage.get('unit', 'tasks')}"
    if "waits" not in stage:
        return done
    return f"{done}, {stage['waits']}" if stage["tasks_done"] else str(stage["waits"])


def rate_words(stage: State) -> list[str]:
    """Return how fast the tasks of a stage go, and when they will be done; nothing while it waits for workers."""
    if "waits" in stage:
        return []
    parts = [f"{stage['samples_per_second']:,.0f} samples/s"] if stage.get("samples_per_second") else []
    return parts + ([f"about {duration(stage['seconds_left'])} left"] if stage.get("seconds_left") else [])


def remarks(stage: State) -> list[str]:
    """Return what else happened in a stage: samples put aside, requests and tasks repeated, bytes read."""
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(stage.get("quarantine_reasons", {}).items()))
    parts = [f"quarantined: {reasons}"] if reasons else []
    for name, words in (("retries", "request"), ("lost_tasks", "task")):
        parts += [f"{counted(stage[name], words)} repeated"] if stage.get(name) else []
    return parts + ([f"{size(stage['read_bytes'])} read"] if stage.get("read_bytes") else [])


COMMAND = Command(
    name="status",
    help="show the progress and the result of a run; reads its directory only",
    examples=("filtering status runs/first", "filtering status s3://runs/2026-11-21 --watch"),
    arguments=(
        RUN,
        argument("--watch", action="store_true", help="update until the run has ended; Ctrl-C leaves it running"),
        argument(
            "--every",
            type=_seconds,
            metavar="SECONDS",
            help="seconds between two updates (default: 2; on object stores 10)",
        ),
    ),
    body=_status,
    notes="--watch --json prints one JSON object per line, each time something has changed.",
)
