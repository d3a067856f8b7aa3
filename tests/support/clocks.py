"""A time that passes only when told."""

from collections.abc import Callable

from filtering.core.clock import Clock


class Time:
    """A time that passes only while somebody sleeps; `while_sleeping` is what others do meanwhile.

    Attributes
    ----------
    slept : the seconds of every pause so far.
    """

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now
        self.slept: list[float] = []
        self.while_sleeping: Callable[[], None] = lambda: None

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)
        self.while_sleeping()

    def clock(self, ahead: float = 0.0) -> Clock:
        return Clock(lambda: self.now + ahead, lambda: self.now, self.sleep)
