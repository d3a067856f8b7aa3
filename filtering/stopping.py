"""A request to end (`ray job stop`, a scheduler, `kill`) that is not missed.

The interrupt that a signal raises may come up inside a library that swallows it; so it is remembered as well, and asked
for between tasks. A run that is interrupted says so in its log and gives back its lease.
"""

import signal
import threading
from types import FrameType

_asked = threading.Event()
_listening = threading.Event()


def listen() -> None:
    """Answer SIGTERM with KeyboardInterrupt from now on; only a process's main thread can."""
    if threading.current_thread() is threading.main_thread():
        _asked.clear()
        _listening.set()
        signal.signal(signal.SIGTERM, _interrupt)


def listen_again() -> None:
    """Take the signal back from a library that has taken it, if it was ours."""
    if _listening.is_set() and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)


def check() -> None:
    """Raise KeyboardInterrupt if the process was asked to end."""
    if _asked.is_set():
        raise KeyboardInterrupt


def _interrupt(signum: int, frame: FrameType | None) -> None:
    _asked.set()
    raise KeyboardInterrupt
