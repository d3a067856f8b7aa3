"""How long a call takes."""

import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def timed(work: Callable[[], Result]) -> tuple[float, Result]:
    """Return the seconds of a call, and its result."""
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def seconds_of(work: Callable[[], object]) -> float:
    """Return the seconds of a call."""
    return timed(work)[0]


def best_seconds(work: Callable[[], object], rounds: int = 5) -> float:
    """Return the seconds of the fastest of several calls."""
    return min(seconds_of(work) for _ in range(rounds))
