"""What happened, as it happened, in storage: events.jsonl."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filtering.core.secrets import redacted
from filtering.runtime.records import JsonObject
from filtering.storage.local import append_line
from filtering.storage.store import Store, is_local

NAME = "events.jsonl"
# Object stores cannot append: there the whole log is put again, at most this often (seconds).
PUT_INTERVAL = 10.0


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

    def _append(self, line: str) -> None:
        append_line(Path(self.store.path(NAME).removeprefix("file://")), line)

    def flush(self) -> None:
        """Make every event so far visible in storage."""
        if not self.local and self.lines:
            self.allowed()
            self.store.write(NAME, ("\n".join(self.lines) + "\n").encode())
            self.put_at = time.monotonic()


def read_events(store: Store) -> list[JsonObject]:
    """Return a run's events, oldest first; a line cut off by a crash is left out."""
    events = []
    for line in store.read(NAME).decode(errors="replace").splitlines():
        try:
            events.append(json.loads(line))
        except ValueError:
            continue
    return events
