"""What happened, as it happened, in storage: events.jsonl."""

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NotRequired, cast

from pydantic import ConfigDict, ValidationError, with_config
from typing_extensions import TypedDict

from filtering.core.errors import DamagedError
from filtering.core.parsing import Count, Finite, Seconds, adapter, damaged
from filtering.core.secrets import redacted
from filtering.runtime.records import JsonObject, json_object
from filtering.storage.local import append_line
from filtering.storage.store import Store, is_local, read_range

NAME = "events.jsonl"
FIRST_BYTES = 1 << 14
# Object stores cannot append: there the whole log is put again, at most this often (seconds).
PUT_INTERVAL = 10.0
REMEDY = "only status reads it; filtering verify checks the run itself"


@with_config(ConfigDict(extra="allow"))
class Event(TypedDict):
    """What every event says: when it was, in seconds since the epoch, and its kind."""

    time: Finite
    event: str


class StageStarted(Event):
    """A stage began."""

    stage: str


class Progress(StageStarted):
    """How a stage goes; what it does not count is left out."""

    done: Count
    total: Count
    seconds: Seconds
    resumed_tasks: Count
    resumed_samples: Count
    unit: NotRequired[str]
    samples: NotRequired[Count]
    quarantined: NotRequired[Count]
    quarantine_reasons: NotRequired[dict[str, Count]]
    retries: NotRequired[Count]
    lost_tasks: NotRequired[Count]
    read_bytes: NotRequired[Count]
    written_bytes: NotRequired[Count]
    peak_memory_bytes: NotRequired[Count]


class StageFinished(StageStarted):
    """A stage ended; older versions summed it up in other forms than a line."""

    seconds: Seconds
    peak_memory_bytes: Count
    summary: Any
    reused: NotRequired[bool]


class RunFinished(Event):
    """A run ended: its samples by outcome."""

    input: Count
    kept: Count
    dropped: Count
    quarantined: Count
    manifest_hash: str


class RunFailed(Event):
    """A run failed."""

    error: str
    detail: str


# A run that was stopped, by Ctrl-C or a signal, ends with `run_stopped`, which holds nothing more.
# Of other kinds only the time and the kind are read.
KINDS: dict[str, type[Event]] = {
    "stage_started": StageStarted,
    "progress": Progress,
    "stage_finished": StageFinished,
    "run_finished": RunFinished,
    "run_failed": RunFailed,
}


@dataclass(slots=True)
class EventLog:
    """Appends events to a run's directory; on object stores it is flushed every few seconds and at the end."""

    store: Store  # the run's directory
    # Called before the log is written; raises if another run owns the output by now
    allowed: Callable[[], None] = lambda: None
    local: bool = field(init=False)
    lines: list[str] = field(init=False, default_factory=list)
    put_at: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        """Take up the log of an earlier attempt at the same run."""
        self.local = is_local(self.store.url)
        if not self.store.exists(NAME):
            return
        earlier = self.store.read(NAME)
        if not self.local:
            self.lines = earlier.decode(errors="replace").splitlines()
        elif not earlier.endswith(b"\n"):
            # A crash cut the last line: the next one must not be glued to it.
            self._append("")

    def append(self, event: str, **fields: Any) -> None:
        """Record one event with the time, seconds since the epoch; secrets in its URLs are masked."""
        line = redacted(json.dumps({"time": round(time.time(), 3), "event": event, **fields}))
        if self.local:
            # A driver that slept while another one took over must not write into its log.
            self.allowed()
            self._append(line)
            return
        self.lines.append(line)
        if time.monotonic() - self.put_at > PUT_INTERVAL:
            self.flush()

    def append_end(self, error: BaseException) -> None:
        """Record why a run has ended early: it failed, or somebody stopped it (Ctrl-C, SIGTERM)."""
        if isinstance(error, Exception):
            self.append("run_failed", error=type(error).__name__, detail=str(error))
        else:
            self.append("run_stopped")

    def _append(self, line: str) -> None:
        append_line(Path(self.store.path(NAME).removeprefix("file://")), line)

    def flush(self) -> None:
        """Make every event so far visible in storage."""
        if not self.local and self.lines:
            self.allowed()
            self.store.write(NAME, ("\n".join(self.lines) + "\n").encode())
            self.put_at = time.monotonic()


def read_events(store: Store) -> list[JsonObject]:
    """Return a run's events, oldest first; a line cut off by a crash is left out.

    DamagedError that names the line if one is no event, or if there is no event.
    """
    lines, events = store.read(NAME).decode(errors="replace").split("\n"), list[JsonObject]()
    for number, line in enumerate(lines, 1):
        with contextlib.suppress(ValueError, RecursionError):
            events.append(_checked(Event, json.loads(line), f"{store.path(NAME)}: line {number}"))
    if not events and len(lines) > 1:
        raise DamagedError(store.path(NAME), "holds no event, it is damaged", REMEDY)
    return events


def first_event(store: Store) -> JsonObject:
    """Return the first event of a run, unchecked; nothing if there is none, or it is something else."""
    try:
        data = read_range(store.path(NAME), 0, FIRST_BYTES)
    except FileNotFoundError:
        return {}
    return json_object(data.partition(b"\n")[0])


def checked(event: JsonObject, where: str) -> JsonObject:
    """Return an event that has what those of its kind have; DamagedError, with `where` it was read, if it has not."""
    return _checked(KINDS.get(event["event"], Event), event, f"{where}: {event['event']} of {event['time']}")


def _checked(kind: type[Event], event: Any, where: str) -> JsonObject:
    try:
        found: JsonObject = adapter(cast(Any, kind)).validate_python(event, strict=True)
    except ValidationError as error:
        raise damaged(where, error, REMEDY) from None
    return found
