import http.client
import itertools
import socket
import threading
from dataclasses import replace
from types import SimpleNamespace

import aiohttp
import pytest
import yarl
from clocks import Time

from filtering.core.errors import InputError, RunError
from filtering.storage import retries
from filtering.storage.retries import (
    ATTEMPTS,
    DENIED_ATTEMPTS,
    LONGEST_ASKED_SECONDS,
    THROTTLED_ATTEMPTS,
    TOTAL_SECONDS,
    Backoff,
    ShortBodyError,
    Verdict,
    count,
    retried,
    taken,
)


@pytest.fixture
def time(monkeypatch):
    """A time that passes only in pauses, which are as long as they may be."""
    monkeypatch.setattr(retries.random, "uniform", lambda low, high: high)
    return Time()


def failing(*errors):
    left = iter(errors)

    def function():
        error = next(left, None)
        if error is not None:
            raise error
        return "done"

    return function


def answer(status):
    url = yarl.URL("http://store/x")
    return aiohttp.ClientResponseError(aiohttp.RequestInfo(url, "GET", None, url), (), status=status)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(),
        TimeoutError(),
        http.client.IncompleteRead(b""),
        aiohttp.ClientPayloadError(),
        aiohttp.ServerDisconnectedError(),
        answer(503),
        ShortBodyError("x"),
    ],
)
def test_transient_errors_are_retried_and_counted(time, error):
    taken()
    assert retried(failing(error, error), "memory://x", time.clock()) == "done"
    assert taken()["retries"] == len(time.slept) == 2


@pytest.mark.parametrize(
    "error",
    [
        PermissionError("no"),
        ValueError("no"),
        InputError("no"),
        RunError("no"),
        OSError(28, "No space left on device"),
        IsADirectoryError(21, "Is a directory"),
    ],
)
def test_other_errors_pass_through_at_once(time, error):
    with pytest.raises(type(error)) as raised:
        retried(failing(error), "memory://x", time.clock())
    assert raised.value is error
    assert time.slept == []


class HubError(Exception):
    """An error as httpx and huggingface_hub raise them."""

    __module__ = "huggingface_hub.errors"

    def __init__(self, status):
        super().__init__("a server's words")
        self.response = SimpleNamespace(status_code=status)


class ConnectError(type("TransportError", (Exception,), {"__module__": "httpx"})):
    __module__ = "httpx"


@pytest.mark.parametrize(
    ("error", "kind", "line"),
    [
        (answer(403), InputError, "access is denied, or credentials are missing (HTTP 403)"),
        (HubError(401), InputError, "access is denied, or credentials are missing (HTTP 401)"),
        (ValueError("no such id"), InputError, "cannot be opened (ValueError: no such id)"),
        (HubError(418), RunError, "cannot be read or written (HubError: a server's words)"),
    ],
)
def test_an_error_of_a_library_is_one_line_that_names_the_url(time, error, kind, line):
    with pytest.raises(kind) as raised:
        retried(failing(error), "hf://datasets/a/b", time.clock())
    assert str(raised.value) == f"hf://datasets/a/b: {line}"
    assert time.slept == []


@pytest.mark.parametrize("error", [HubError(503), HubError(429), ConnectError("no route")])
def test_lost_connections_of_every_library_are_retried(time, error):
    assert retried(failing(error, error), "hf://datasets/a/b", time.clock()) == "done"
    with pytest.raises(RunError, match=r"^hf://datasets/a/b: kept failing, last with "):
        retried(failing(*[error] * THROTTLED_ATTEMPTS), "hf://datasets/a/b", time.clock())


@pytest.mark.parametrize("status", [429, 503])
def test_throttling_is_borne_for_minutes_and_other_errors_for_some_attempts(time, status):
    with pytest.raises(RunError):
        retried(failing(*[answer(500)] * THROTTLED_ATTEMPTS), "memory://x", time.clock())
    assert len(time.slept) == ATTEMPTS - 1
    assert retried(failing(*[answer(status)] * (ATTEMPTS + 5)), "memory://x", time.clock()) == "done"
    time.slept.clear()
    with pytest.raises(RunError):
        retried(failing(*[answer(status)] * THROTTLED_ATTEMPTS), "memory://x", time.clock())
    assert TOTAL_SECONDS <= sum(time.slept) <= TOTAL_SECONDS + 20


def test_the_name_of_a_server_that_is_not_known_is_refused_soon_by_every_library(time):
    unknown = ConnectError("Name or service not known")
    unknown.__cause__ = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    with pytest.raises(InputError, match=r"^hf://datasets/a/b: no server of that name is known; check the address"):
        retried(failing(*[unknown] * ATTEMPTS), "hf://datasets/a/b", time.clock())
    assert len(time.slept) == DENIED_ATTEMPTS - 1


def test_a_name_that_cannot_be_looked_up_now_is_asked_for_again(time):
    busy = ConnectError("Temporary failure in name resolution")
    busy.__cause__ = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    assert retried(failing(*[busy] * (ATTEMPTS - 1)), "hf://datasets/a/b", time.clock()) == "done"


def test_a_server_may_ask_for_a_longer_pause_but_not_for_any(time):
    waits = iter([3.0, 7200.0])
    backoff = Backoff(lambda error: Verdict(9, error, next(waits)), time.clock())
    assert [backoff.pause(TimeoutError()) for _ in range(2)] == [3.0, LONGEST_ASKED_SECONDS]


def test_what_is_not_there_is_named_by_its_url(time):
    with pytest.raises(FileNotFoundError, match=r"^memory://x/y: is not there$"):
        retried(failing(FileNotFoundError("/x/y")), "memory://x/y", time.clock())
    with pytest.raises(FileNotFoundError, match="No such file"):
        retried(failing(FileNotFoundError(2, "No such file", "/x")), "/x", time.clock())
    assert time.slept == []


def test_attempts_are_bounded_and_the_last_error_is_one_line(time):
    with pytest.raises(RunError, match=r"^memory://x: kept failing, last with ConnectionResetError: by peer$"):
        retried(failing(*[ConnectionResetError("by\npeer")] * 100), "memory://x", time.clock())
    assert len(time.slept) == ATTEMPTS - 1


def test_ceilings_of_pauses_double_up_to_a_longest(time):
    with pytest.raises(RunError):
        retried(failing(*[TimeoutError()] * ATTEMPTS), "x", time.clock())
    assert time.slept == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 20.0, 20.0]


def test_total_time_is_bounded(time):
    clock = replace(time.clock(), monotonic=itertools.count(step=TOTAL_SECONDS / 2.5).__next__)
    with pytest.raises(RunError):
        retried(failing(*[TimeoutError()] * ATTEMPTS), "x", clock)
    assert len(time.slept) == 2


def test_pauses_are_jittered_from_nothing_to_the_ceiling():
    def first_pause():
        return Backoff(lambda error: Verdict(2, error)).pause(TimeoutError())

    drawn = [first_pause() for _ in range(300)]
    assert 0 <= min(drawn) < 0.02
    assert 0.18 < max(drawn) <= 0.2


def test_a_rare_error_is_not_added_to_the_many_of_an_outage():
    denied, busy = PermissionError("denied"), TimeoutError()
    backoff = Backoff(lambda error: Verdict(3 if error is denied else 10, error))
    for error in (busy, busy, busy, busy, denied, busy, denied):
        assert backoff.pause(error) >= 0
    with pytest.raises(PermissionError):
        backoff.pause(denied)


def test_counts_are_exact_under_threads_and_begin_anew_when_taken():
    taken()
    threads = [threading.Thread(target=lambda: [count("read_bytes", 3) for _ in range(2000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert taken() == {"retries": 0, "read_bytes": 24_000, "written_bytes": 0}
    assert taken() == {"retries": 0, "read_bytes": 0, "written_bytes": 0}
