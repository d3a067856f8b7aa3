"""When to try again, and after how long; and counts of what storage did, for the events of a run.

Pauses grow exponentially with full jitter (uniform between nothing and the ceiling), so that the workers that one
outage hit do not come back at the same moment; attempts and total time are bounded.
"""

import http.client
import os
import random
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from filtering.core.clock import CLOCK, Clock
from filtering.core.errors import FilteringError, RunError, one_line

ATTEMPTS = 10
TOTAL_SECONDS = 300.0
FIRST_CEILING_SECONDS = 0.2
LONGEST_CEILING_SECONDS = 20.0

Result = TypeVar("Result")

_counts: Counter[str] = Counter()
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The maximum number of attempts with errors of one kind (1: no retry), and the error raised after the last."""

    attempts: int
    error: Exception


class ShortBodyError(RunError):
    """Fewer bytes came than were asked for, without an error."""


class Backoff:
    """The attempts at one request, bounded by the verdicts on its errors and by time."""

    def __init__(self, judge: Callable[[Exception], Verdict], clock: Clock = CLOCK) -> None:
        self._judge, self._clock = judge, clock
        self._began = clock.monotonic()
        # By the bound: a rare error that deserves few attempts is not added to the many of an outage.
        self._failed: Counter[int] = Counter()

    def pause(self, error: Exception) -> float:
        """Return the seconds to wait before the next attempt; raises the verdict's error if there is to be none."""
        verdict = self._judge(error)
        self._failed[verdict.attempts] += 1
        seconds = self._clock.monotonic() - self._began
        if self._failed[verdict.attempts] >= verdict.attempts or seconds > TOTAL_SECONDS:
            if verdict.error is error:
                raise error
            raise verdict.error from error
        count("retries")
        ceiling = min(LONGEST_CEILING_SECONDS, FIRST_CEILING_SECONDS * 2 ** (self._failed.total() - 1))
        return random.uniform(0, ceiling)


def retried(function: Callable[[], Result], what: str, clock: Clock = CLOCK) -> Result:
    """Return what `function` returns, called again after transient errors; other errors pass through at once.

    Raises RunError if it kept failing; its line begins with `what`, a URL.
    """
    backoff = Backoff(lambda error: judged(error, what), clock)
    while True:
        try:
            return function()
        except Exception as error:
            clock.sleep(backoff.pause(error))


def judged(error: Exception, what: str) -> Verdict:
    """Return the verdict on an error of any filesystem: lost connections, time-outs and short bodies are transient."""
    if isinstance(error, ShortBodyError):
        return Verdict(ATTEMPTS, error)
    if isinstance(error, FileNotFoundError) and error.errno is None and not isinstance(error, FilteringError):
        # What most remote filesystems raise holds a bare path, or a server's words.
        return Verdict(1, FileNotFoundError(f"{what}: is not there"))
    if isinstance(error, FilteringError) or not _is_transient(error):
        return Verdict(1, error)
    return Verdict(ATTEMPTS, RunError(f"{what}: kept failing, last with {one_line(error)}"))


def _is_transient(error: Exception) -> bool:
    if isinstance(error, ConnectionError | TimeoutError | http.client.IncompleteRead):
        return True
    # Here because it takes a quarter of a second, and a run on a disk never needs it.
    import aiohttp

    if isinstance(error, aiohttp.ClientResponseError):
        return error.status >= 500 or error.status == 429
    return isinstance(error, aiohttp.ClientConnectionError | aiohttp.ClientPayloadError)


def count(name: str, amount: int = 1) -> None:
    """Add to a count: ``retries``, ``read_bytes`` or ``written_bytes``."""
    with _lock:
        _counts[name] += amount


def taken() -> dict[str, int]:
    """Return the counts of this process since the last call: retries, read_bytes, written_bytes."""
    with _lock:
        found = {name: _counts[name] for name in ("retries", "read_bytes", "written_bytes")}
        _counts.clear()
    return found


def _forget() -> None:
    # A fork may happen while another thread holds the lock, and what its parent counted is its parent's.
    global _lock
    _lock = threading.Lock()
    _counts.clear()


os.register_at_fork(after_in_child=_forget)
