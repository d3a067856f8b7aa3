"""Where code that waits or measures takes its time from; tests hand in a clock that goes only when told."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """Time, in seconds: `wall` since the epoch (machines differ), `monotonic` since some moment of this machine."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


CLOCK = Clock()
