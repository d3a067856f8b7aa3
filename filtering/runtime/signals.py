"""A request to end (Ctrl-C, `ray job stop`, a scheduler, `kill`, a terminal that is closed) that is not missed.

The interrupt that a signal raises may come up inside a library that swallows it, or that answers the signal itself
for a while, as Ray does when it starts; so signals are noted as they arrive, whoever answers them, and asked for
between tasks. A run that is interrupted says so in its log and gives back its lease.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

# A terminal that is closed sends SIGHUP.
ANSWERED = (signal.SIGTERM, signal.SIGHUP)
# Both ends of a pipe into which Python writes the number of every signal as it arrives; none before `listen`.
_noted: tuple[int, int] | None = None


@contextlib.contextmanager
def ending_at_once() -> Iterator[None]:
    """Let Ctrl-C end the process in silence, as long as nothing is begun; a handler of somebody else's stays."""
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def listen() -> None:
    """Answer SIGTERM and SIGHUP as Ctrl-C is answered from now on, and note all; only a process's main thread can.

    One that the process was started to ignore, as by nohup, stays ignored.
    """
    global _noted
    if threading.current_thread() is not threading.main_thread():
        return
    if _noted is None:
        _noted = os.pipe()
        for end in _noted:
            os.set_blocking(end, False)
    _arrived()
    signal.set_wakeup_fd(_noted[1], warn_on_full_buffer=False)
    _answer()


def listen_again() -> None:
    """Take the signals back from a library that has taken them, if they were ours."""
    if _noted is not None and threading.current_thread() is threading.main_thread():
        _answer()


def check() -> None:
    """Raise KeyboardInterrupt if the process was asked to end since it was last asked here."""
    if set(_arrived()) & {signal.SIGINT, *ANSWERED}:
        raise KeyboardInterrupt


def _answer() -> None:
    for number in ANSWERED:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


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
