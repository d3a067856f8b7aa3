"""Processes: the memory of one with all its descendants, by /proc, and calls in processes of their own."""

import multiprocessing
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier
from typing import Any, TypeVar

Fields = dict[str, int]
Gate = Barrier
Part = TypeVar("Part")
Result = TypeVar("Result")

# Pages of mapped files are left out: the system takes them back when it needs them.
HELD = ("RssAnon", "RssShmem")
# Looks come soon after one another at first, so that a short command is seen at work.
SOON_SECONDS, EVERY_SECONDS = 0.05, 1.0


def family(root: int) -> set[int]:
    """Return the process ids of a process and of its descendants that run now."""
    return _family(root, _statuses())


def family_bytes(root: int) -> int:
    """Return the anonymous and shared memory of a process and of its descendants, in bytes."""
    status = _statuses()
    return 1024 * sum(status.get(pid, {}).get(name, 0) for pid in _family(root, status) for name in HELD)


class Peak:
    """The most memory that was seen, in bytes."""

    def __init__(self) -> None:
        self.bytes = 0


@contextmanager
def watched(process: "subprocess.Popen[str]") -> Iterator[Peak]:
    """Look at the memory of a process and its descendants until it ends, at last every second."""
    peak, over = Peak(), threading.Event()

    def look() -> None:
        seconds = SOON_SECONDS
        while True:
            peak.bytes = max(peak.bytes, family_bytes(process.pid))
            if over.wait(seconds):
                return
            seconds = min(2 * seconds, EVERY_SECONDS)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()


def _family(root: int, status: dict[int, Fields]) -> set[int]:
    found = {root}
    while grown := {pid for pid, fields in status.items() if fields.get("PPid") in found} - found:
        found |= grown
    return found


def _statuses() -> dict[int, Fields]:
    return {int(path.parent.name): _status(path) for path in Path("/proc").glob("[0-9]*/status")}


def _status(path: Path) -> Fields:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    fields = (line.split(":", 1) for line in lines if line.startswith(("PPid", *HELD)))
    return {name: int(value.split()[0]) for name, value in fields}


def apart(function: Callable[..., Result], *arguments: Any) -> Result:
    """Call a function in a new process, so that it inherits no threads, caches or memory of this one.

    Exits if the process ends without a result.
    """
    context = multiprocessing.get_context("spawn")
    answers: multiprocessing.Queue[Result] = context.Queue()
    worker = context.Process(target=_answer, args=(answers, function, arguments))
    worker.start()
    while worker.is_alive() and answers.empty():
        worker.join(0.1)
    if answers.empty():
        sys.exit(f"{function.__name__} failed")
    answer = answers.get()
    worker.join()
    return answer


def at_once(function: Callable[[Part, Gate], float], parts: Sequence[Part]) -> list[float]:
    """Call a function on every part, each in a new process; it passes the gate when all of them are ready."""
    context = multiprocessing.get_context("spawn")
    gate = context.Barrier(len(parts))
    answers: multiprocessing.Queue[float] = context.Queue()
    workers = [context.Process(target=_answer, args=(answers, function, (part, gate))) for part in parts]
    for worker in workers:
        worker.start()
    found = [answers.get() for _ in workers]
    for worker in workers:
        worker.join()
    return found


def _answer(answers: "multiprocessing.Queue[Any]", function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    answers.put(function(*arguments))
