"""A request to end (`ray job stop`, a scheduler, `kill`) that is not missed.

The interrupt that a signal raises may come up inside a library that swallows it, or that answers the signal itself
for a while, as Ray does when it starts; so signals are noted as they arrive, whoever answers them, and asked for
between tasks. A run that is interrupted says so in its log and gives back its lease.
"""

import os
import signal
import threading
from types import FrameType

# Both ends of a pipe into which Python writes the number of every signal as it arrives; none before `listen`.
_noted: tuple[int, int] | None = None


def listen() -> None:
    """Answer SIGTERM with KeyboardInterrupt from now on, and note it; only a process's main thread can."""
    global _noted
    if threading.current_thread() is not threading.main_thread():
        return
    if _noted is None:
        _noted = os.pipe()
        for end in _noted:
            os.set_blocking(end, False)
    _arrived()
    signal.set_wakeup_fd(_noted[1], warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, _interrupt)


def listen_again() -> None:
    """Take the signal back from a library that has taken it, if it was ours."""
    if _noted is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)


def check() -> None:
    """Raise KeyboardInterrupt if the process was asked to end since it was last asked here."""
    if signal.SIGTERM in _arrived():
        raise KeyboardInterrupt


def _arrived() -> bytes:
    """Return the numbers of the signals that arrived since the last call."""
    if _noted is None:
        return b""
    try:
        return os.read(_noted[0], 4096)
    except BlockingIOError:
        return b""


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
