"""One attempt at a task, in whatever process runs it: do the work, then write the marker, last."""

import contextlib
import ctypes
import gc
import json
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired

import pyarrow as pa
from threadpoolctl import threadpool_limits
from typing_extensions import TypedDict

import filtering
from filtering.core.errors import RunError
from filtering.runtime import metrics
from filtering.runtime.cpus import cpu_line
from filtering.runtime.shard_groups import run_members
from filtering.runtime.stage_objects import names_inside
from filtering.runtime.task_spec import TaskSpec
from filtering.storage import retries
from filtering.storage.lease import Fence
from filtering.storage.store import MARKER, Store
from filtering.storage.written import noted

# One thread a task: the order of floating-point sums must depend neither on the node nor on its environment.
THREADS = 1


def _version() -> str:
    """Return this package's version, and a checksum of its code: an edited checkout is another version."""
    checksum, package = 0, Path(filtering.__file__).parent
    for path in sorted(package.rglob("*.py")):
        checksum = zlib.crc32(path.read_bytes(), zlib.crc32(path.relative_to(package).as_posix().encode(), checksum))
    return f"{filtering.__version__} (code {checksum:08x})"


# Of what this process has imported: files that change later do not change it.
VERSION = _version()


class TaskRecord(TypedDict):
    """What the marker of a finished task holds: its result as JSON, its cost, and what it moved from and to storage.

    `objects` are the objects that it left in its stage's folder, with their bytes. Of a task of several shards `shards`
    are their identities, and the result is a list with one for each.
    """

    result: Any
    shards: NotRequired[list[str]]
    objects: dict[str, int]
    seconds: float
    peak_memory_bytes: int
    retries: int
    read_bytes: int
    written_bytes: int
    cpu: NotRequired[str]  # of the worker, see `cpus.cpu_line`; older versions noted none


def results_of(record: TaskRecord) -> list[Any]:
    """Return the results in the record of a task: of each of its shards, or the only one."""
    return list(record["result"]) if "shards" in record else [record["result"]]


@dataclass(frozen=True, slots=True)
class Attempt:
    """A task on its way to a worker."""

    stage: str  # the name of its stage
    task: TaskSpec[Any]
    store: Store  # where its marker goes
    fence: Fence | None = None  # checked before the marker is written; None where no lease is held
    version: str = VERSION  # the driver's version of this package, which the worker's must equal


def run_alone(attempt: Attempt, function: Callable[..., Any] | None = None) -> TaskRecord:
    """Run an attempt in a process that belongs to the run: memory is given back first, and threads limited for good."""
    release_memory()
    # For good: an actor's other threads must not get theirs back when this attempt ends.
    threadpool_limits(THREADS)
    return run_attempt(attempt, function)


def run_attempt(attempt: Attempt, function: Callable[..., Any] | None = None) -> TaskRecord:
    """Run a task in this process and commit it: its marker is written last, with its result and cost.

    An actor gives the function that it has built to tasks that name none. The record is returned as the marker holds
    it, so that a resumed run sees the same.
    """
    if attempt.version != VERSION:
        raise RunError(
            f"a worker has filtering {VERSION}, but the job is {attempt.version}; "
            "give all nodes the same image (or start the job with --working-dir)"
        )
    # Before anything is written under a name that another run may use, and before the task counts as done.
    _check(attempt.fence)
    reset_peak_memory()
    started = time.monotonic()
    with noted() as written:
        result = _result(attempt.task, function)
    objects = names_inside(attempt.store, written)
    seconds, moved = round(time.monotonic() - started, 3), retries.taken()
    found = {
        "result": result,
        **({"shards": [one.shard for one in attempt.task.members]} if attempt.task.members else {}),
        "objects": objects,
        "seconds": seconds,
        "peak_memory_bytes": peak_memory_bytes(),
        "cpu": cpu_line(),
        **moved,
    }
    # Through JSON, so that the result of a fresh task equals the one that a resumed run reads.
    record: TaskRecord = json.loads(json.dumps(found))
    _check(attempt.fence)
    attempt.store.write_record(attempt.task.name + MARKER, record)
    metrics.task_finished(attempt.stage, seconds, **moved)
    return record


def _result(task: TaskSpec[Any], function: Callable[..., Any] | None) -> Any:
    if task.members:
        return run_members(task.members, task.shard, function)
    call = task.function or function
    assert call is not None
    return call(*task.args, **task.kwargs)


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
