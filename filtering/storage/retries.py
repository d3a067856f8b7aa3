"""When to try again, and after how long; and counts of what storage did, for the events of a run.

Pauses grow exponentially with full jitter (uniform between nothing and the ceiling), so that the workers that one
outage hit do not come back at the same moment; attempts and total time are bounded.
"""

import http.client
import os
import random
import socket
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from filtering.core.clock import CLOCK, Clock
from filtering.core.errors import FilteringError, InputError, RunError, one_line

ATTEMPTS = 10
TOTAL_SECONDS = 300.0
FIRST_CEILING_SECONDS = 0.2
LONGEST_CEILING_SECONDS = 20.0
# A store that throttles spreads its load meanwhile, which takes minutes: time alone bounds it.
THROTTLED_ATTEMPTS = 100
THROTTLING_STATUS = {429, 503}
# Throttling shows as a denial now and then; a denial that stays is believed within seconds.
DENIED_ATTEMPTS = 5
# What a server may ask for by Retry-After.
LONGEST_ASKED_SECONDS = 60.0

# Errors of the connection, by the names that HTTP libraries give them (aiohttp, httpx, requests, azure).
TRANSIENT = {
    *("ClientConnectionError", "ClientPayloadError", "TransportError", "ConnectionError", "ChunkedEncodingError"),
    *("Timeout", "ServiceRequestError", "ServiceResponseError"),
}
UNKNOWN_NAME = (socket.EAI_NONAME, socket.EAI_NODATA)
# Where errors come from that are no filesystem's.
OWN = {"builtins", "filtering", "numpy", "pyarrow", "zipfile"}

Result = TypeVar("Result")

_counts: Counter[str] = Counter()
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The maximum number of attempts with errors of one kind (1: no retry), and the error raised after the last.

    The next attempt waits at least `wait` seconds.
    """

    attempts: int
    error: Exception
    wait: float = 0.0


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
        return max(random.uniform(0, ceiling), min(verdict.wait, LONGEST_ASKED_SECONDS))


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
    if isinstance(error, FilteringError):
        return Verdict(1, error)
    if names_no_server(error):
        return unknown_server(what)
    if _is_transient(error):
        attempts = THROTTLED_ATTEMPTS if _status(error) in THROTTLING_STATUS else ATTEMPTS
        return Verdict(attempts, RunError(f"{what}: kept failing, last with {one_line(error)}"))
    return Verdict(1, _with_its_url(error, what))


def names_no_server(error: BaseException | None) -> bool:
    """Say whether an error comes of a server's name that is not known: a server that is down has one."""
    while error is not None:
        if isinstance(error, socket.gaierror):
            return error.errno in UNKNOWN_NAME
        error = error.__cause__ or error.__context__
    return False


def unknown_server(what: str) -> Verdict:
    """Return the verdict on a server's name that is not known: it is believed within seconds."""
    line = f"{what}: no server of that name is known; check the address or the endpoint, or the DNS of this machine"
    return Verdict(DENIED_ATTEMPTS, InputError(line))


def _is_transient(error: Exception) -> bool:
    if isinstance(error, ConnectionError | TimeoutError | http.client.IncompleteRead):
        return True
    if (status := _status(error)) is not None:
        return status in (408, 425, 429) or (status >= 500 and status != 501)
    return any(kind.__name__ in TRANSIENT and kind.__module__ not in OWN for kind in type(error).__mro__)


def _status(error: Exception) -> int | None:
    """Return the HTTP status that a library's error holds, None if it holds none."""
    response = getattr(error, "response", None)
    # One after the other: some libraries warn where their former names are read.
    held = (getattr(one, name, None) for one, name in ((error, "status"), (error, "code"), (response, "status_code")))
    return next((int(one) for one in held if isinstance(one, int) and 400 <= one < 600), None)


def _with_its_url(error: Exception, what: str) -> Exception:
    """Return an error of a filesystem's library as one line that names the URL; other errors as they are."""
    if "hf://" in what and isinstance(error, ValueError):
        # Its library says so of every name that the hub cannot have.
        return InputError(f"{what}: cannot be opened ({one_line(error)})")
    if type(error).__module__.partition(".")[0] in OWN or (isinstance(error, OSError) and error.errno is not None):
        return error
    if _status(error) in (401, 403):
        return InputError(f"{what}: access is denied, or credentials are missing (HTTP {_status(error)})")
    return RunError(f"{what}: cannot be read or written ({one_line(error)})")


def asked_seconds(after: str | None, clock: Clock = CLOCK) -> float | None:
    """Return the seconds of a Retry-After, which is a number or a date; None if it is neither."""
    try:
        return max(0.0, float(after or ""))
    except ValueError:
        now = datetime.fromtimestamp(clock.wall(), UTC)
    try:
        return max(0.0, (parsedate_to_datetime(after or "") - now).total_seconds())
    except (ValueError, TypeError):
        return None


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
