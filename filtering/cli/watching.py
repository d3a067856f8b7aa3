"""`filtering status --watch`: how a run stands, told again whenever that has changed, until the run has ended."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from filtering.runtime.status import ENDED, stage_line, state_words, status, totals_words
from filtering.storage.store import Store, is_local

# Object stores are given a run's events every ten seconds: looking more often shows no more.
EVERY_LOCAL, EVERY_REMOTE = 2.0, 10.0
INTERRUPTED = 130


def watch(run: Store, stream: TextIO, every: float | None = None, *, as_json: bool = False) -> int:
    """Tell how a run stands until it has ended, and return the exit status.

    On a terminal it is drawn anew in its place; elsewhere there is a line for each change, as JSON if that is asked.

    Parameters
    ----------
    every : float, optional
        Seconds between two looks; 2 on a disk, 10 on object stores.

    Raises
    ------
    InputError
        If there is no run.
    """
    states = _states(run, every or (EVERY_LOCAL if is_local(run.url) else EVERY_REMOTE))
    try:
        if stream.isatty() and not as_json:
            _draw(states, stream)
        else:
            _write(states, stream, _json_line if as_json else _line)
    except KeyboardInterrupt:
        # Who stops watching has seen enough; the run goes on.
        return INTERRUPTED
    return 0


def _states(run: Store, every: float) -> Iterator[dict[str, Any]]:
    """Yield how a run stands, again and again, the last time when it has ended."""
    while True:
        found = status(run)
        yield found
        if found["state"] in ENDED:
            return
        time.sleep(every)


def _draw(states: Iterator[dict[str, Any]], stream: TextIO) -> None:
    from rich.live import Live

    from filtering.cli.drawing import console_on
    from filtering.cli.status_view import StatusView

    with Live(console=console_on(stream), auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
        for found in states:
            live.update(StatusView(found), refresh=True)


def _write(states: Iterator[dict[str, Any]], stream: TextIO, line: Callable[[dict[str, Any]], str]) -> None:
    told: Any = None
    for found in states:
        changed = {key: value for key, value in found.items() if key != "quiet_seconds"}
        if changed != told:
            told = changed
            stream.write(line(found) + "\n")
            stream.flush()


def _json_line(found: dict[str, Any]) -> str:
    return json.dumps(found)


def _line(found: dict[str, Any]) -> str:
    """Return the newest stage while a run is at work, else how it ended."""
    if found["state"] not in ENDED:
        return stage_line(found["stages"][-1]).strip() if found["stages"] else state_words(found)
    rest = [totals_words(found["totals"])] if "totals" in found else [found["error"]] if "error" in found else []
    return "; ".join([state_words(found), *rest])
