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


def seconds_since_boot() -> float:
    """Return the seconds since the machine's boot, those in which it slept included where the system counts them."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


CLOCK = Clock()
# For what others may have done meanwhile: `time.monotonic` stands still while a laptop or a virtual machine sleeps.
SLEEPLESS = Clock(monotonic=seconds_since_boot)
