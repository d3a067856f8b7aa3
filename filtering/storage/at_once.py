"""Many small objects read at once: what takes the time of a request each is waited for together."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
# As many as a process has in flight to S3.
REQUESTS_AT_ONCE = 32
# What a disk's cache holds takes less than the first; what it does not hold, or a network disk has, was waited for as
# long as the second after a few items.
QUICK_SECONDS, WAITED_SECONDS = 0.001, 0.01


def each_at_once(function: Callable[[T], R], items: Sequence[T], at_once: int = REQUESTS_AT_ONCE) -> Iterator[R]:
    """Yield what a function returns of each item, in order; it is called in `at_once` threads.

    No more than twice `at_once` results wait to be taken. An error of the function is raised in its result's place.
    """
    threads_wanted = min(at_once, len(items))
    if threads_wanted <= 1:
        yield from map(function, items)
        return
    left, waiting = iter(items), deque[Future[R]]()
    with ThreadPoolExecutor(threads_wanted, thread_name_prefix="at-once") as threads:
        try:
            waiting.extend(threads.submit(function, item) for item in islice(left, 2 * at_once))
            while waiting:
                yield waiting.popleft().result()
                waiting.extend(threads.submit(function, item) for item in islice(left, 1))
        finally:
            for one in waiting:
                one.cancel()


def each_from_disk(function: Callable[[T], R], items: Sequence[T], at_once: int = REQUESTS_AT_ONCE) -> Iterator[R]:
    """Yield what `each_at_once` yields, but begin threads only once items have been waited for.

    What a disk's cache holds is read sooner than a thread begins, and threads would take turns at Python's lock.
    """
    left, waited = deque(items), 0.0
    while left and waited < WAITED_SECONDS:
        before = time.perf_counter()
        found = function(left.popleft())
        seconds = time.perf_counter() - before
        waited += seconds if seconds > QUICK_SECONDS else 0.0
        yield found
    yield from each_at_once(function, left, at_once)
