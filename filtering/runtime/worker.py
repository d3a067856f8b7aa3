"""One attempt at a task, in whatever process Ray runs it: do the work, then write the marker, last."""

import contextlib
import ctypes
import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from threadpoolctl import threadpool_limits

import filtering
from filtering.core.errors import RunError
from filtering.runtime import metrics
from filtering.storage import retries
from filtering.storage.lease import Fence
from filtering.storage.store import MARKER, Store

# One thread a task: the order of floating-point sums must depend neither on the node nor on its environment.
THREADS = 1


@dataclass(frozen=True, slots=True)
class Task:
    """One unit of work: a shard or a partition.

    Attributes
    ----------
    name : unique in its stage, names its objects.
    arguments : what the stage's function takes.
    memory : bytes that Ray reserves on the node for it; 0 reserves none.
    """

    name: str
    arguments: tuple[Any, ...]
    memory: int = 0


@dataclass(frozen=True, slots=True)
class Order:
    """A task on its way to a worker.

    Attributes
    ----------
    stage : its stage's name.
    task : what is to be done.
    store_url : where its marker goes.
    fence : checked before the marker is written; None where no lease is held.
    version : the driver's version of this package, which the worker's must equal.
    """

    stage: str
    task: Task
    store_url: str
    fence: Fence | None = None
    version: str = filtering.__version__


def attempt(function: Callable[..., Any], order: Order) -> dict[str, Any]:
    """Run a task in this process and commit it: its marker is written last, with its result and cost."""
    if order.version != filtering.__version__:
        raise RunError(
            f"a worker has filtering {filtering.__version__}, but the job is {order.version}; "
            "give all nodes the same image (or start the job with --working-dir)"
        )
    # Before anything is written under a name that another run may use, and before it counts as done.
    _check(order.fence)
    release_memory()
    reset_peak_memory()
    # For good: the process is this run's, and an actor's other threads must not get theirs back when this one ends.
    threadpool_limits(THREADS)
    started = time.monotonic()
    result = function(*order.task.arguments)
    seconds, moved = round(time.monotonic() - started, 3), retries.taken()
    record = {"result": result, "seconds": seconds, "peak_memory_bytes": peak_memory_bytes(), **moved}
    _check(order.fence)
    Store(order.store_url).write_json(order.task.name + MARKER, record)
    metrics.task_finished(order.stage, seconds, **moved)
    return record


def _check(fence: Fence | None) -> None:
    if fence is not None:
        fence.check()


def release_memory() -> None:
    """Give back to the system what earlier tasks have freed and the allocators still hold."""
    gc.collect()
    # What is left are modules and caches: looking through those of torch again takes a tenth of a second each time.
    gc.freeze()
    pa.default_memory_pool().release_unused()
    # glibc alone knows this.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def reset_peak_memory() -> None:
    """Let `peak_memory_bytes` count from now on."""
    # Linux: writing 5 resets the high-water mark of resident memory, so that a task's own peak can be read.
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_memory_bytes() -> int:
    """Return this process's highest resident memory since the last reset, in bytes (0 where unknown)."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    kilobytes = next((line.split()[1] for line in lines if line.startswith("VmHWM")), "0")
    return int(kilobytes) * 1024
