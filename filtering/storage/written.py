"""The objects that the work of a thread has written: what a task's record lists."""

import contextlib
import threading
from collections.abc import Iterator


class _Noted(threading.local):
    """What is noted in a thread; None where nothing is."""

    sizes: dict[str, int] | None = None


_noted = _Noted()


@contextlib.contextmanager
def noted() -> Iterator[dict[str, int]]:
    """Note the URL and bytes of every object that this thread writes in the block, those of inner blocks excepted."""
    before, _noted.sizes = _noted.sizes, {}
    try:
        yield _noted.sizes
    finally:
        _noted.sizes = before


def note(url: str, size: int) -> None:
    """Note an object that was written."""
    if _noted.sizes is not None:
        _noted.sizes[url] = size


def note_deleted(url: str) -> None:
    """Note that an object was deleted again."""
    if _noted.sizes is not None:
        _noted.sizes.pop(url, None)
