"""Ray: starts or joins a cluster, runs a stage's tasks on it, and lets markers say what is already done."""

import logging
import os
import socket
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import ray
from threadpoolctl import threadpool_limits

from filtering import config as configuration
from filtering.errors import FilteringError, InputError, RunError
from filtering.storage import MARKER, Store

RETRIES = 3
# One thread a task: the order of floating-point sums must depend neither on the node nor on its environment.
THREADS = 1
CONNECT_SECONDS = 5.0
# Data travels through storage; the object store only carries task arguments and small results.
OBJECT_STORE_BYTES = 256 << 20
TASKS_IN_FLIGHT_PER_CPU = 2


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


class Workers(Protocol):
    """Something tasks are submitted to."""

    capacity: int

    def submit(self, store: Store, task: Task) -> Any:
        """Start a task and return its reference."""


class Engine:
    """A Ray cluster, started when the first task needs it."""

    def __init__(self, settings: configuration.Ray) -> None:
        self.settings = settings
        self.ours = False

    def start(self) -> None:
        """Join the cluster of the configuration, or start one on this machine."""
        if ray.is_initialized():
            return
        address = self._address()
        if address != "local":
            _check_reachable(address or _recorded_address())
        options: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": logging.ERROR}
        if address == "local":
            cpus = None if self.settings.num_cpus == "auto" else self.settings.num_cpus
            options |= {
                "num_cpus": cpus,
                "include_dashboard": False,
                "object_store_memory": OBJECT_STORE_BYTES,
            }
        try:
            ray.init(**options)
        except ConnectionError:
            raise InputError(
                f"ray.address: the cluster at {address or _recorded_address()} refuses; does it want a token "
                "(RAY_AUTH_MODE=token), or another version of Ray?"
            ) from None
        self.ours = True

    def _address(self) -> str | None:
        """Return where to connect: for auto None, which is the environment's cluster or `ray start`'s, else local.

        Ray's own "auto" would also join the private cluster of another run on this machine.
        """
        if self.settings.address != "auto":
            return self.settings.address
        return None if _recorded_address() else "local"

    def stop(self) -> None:
        """Leave the cluster, or stop it if it was started here."""
        if self.ours:
            ray.shutdown()
            self.ours = False

    def cpus(self) -> int:
        """Return the CPUs that may be used, at least 1."""
        self.start()
        there = int(ray.cluster_resources().get("CPU", 1))
        wanted = there if self.settings.num_cpus == "auto" else self.settings.num_cpus
        return max(1, min(there, wanted))

    def gpus(self) -> int:
        """Return the GPUs of the cluster."""
        self.start()
        return int(ray.cluster_resources().get("GPU", 0))

    def tasks(self, function: Callable[..., Any]) -> Workers:
        """Return workers that each run one task of `function` at a time on one CPU."""
        return _TaskWorkers(function, self.cpus())

    def actors(self, factory: Callable[..., Any], arguments: tuple[Any, ...], count: int, gpus: float) -> Workers:
        """Return `count` actors that each call `factory(*arguments)` once and run tasks with its result."""
        self.start()
        return _ActorWorkers(factory, arguments, count, gpus)


class _TaskWorkers:
    def __init__(self, function: Callable[..., Any], cpus: int) -> None:
        self.function = function
        self.capacity = cpus * TASKS_IN_FLIGHT_PER_CPU
        self.remote = ray.remote(attempt)
        self.node_memory = max(node["Resources"].get("memory", 0) for node in ray.nodes() if node["Alive"])

    def submit(self, store: Store, task: Task) -> Any:
        if task.memory > self.node_memory:
            raise RunError(
                f"task {task.name}: needs {task.memory / 1e9:.2f} GB, but no node offers more than "
                f"{self.node_memory / 1e9:.2f} GB; lower concepts.partition_rows or raise concepts.clusters"
            )
        remote = self.remote.options(num_cpus=1, max_retries=RETRIES, memory=task.memory or None)
        return remote.remote(self.function, store.url, task.name, task.arguments)


class _ActorWorkers:
    def __init__(self, factory: Callable[..., Any], arguments: tuple[Any, ...], count: int, gpus: float) -> None:
        options = {"num_cpus": 1, "num_gpus": gpus, "max_restarts": -1, "max_task_retries": RETRIES}
        holder = ray.remote(_Holder).options(**options)
        self.actors = [holder.remote(factory, arguments) for _ in range(count)]
        # One task more than it works on, so that an actor never waits for the driver.
        self.capacity = 2 * count
        self.busy: dict[Any, int] = {}

    def submit(self, store: Store, task: Task) -> Any:
        done, _ = ray.wait(list(self.busy), num_returns=len(self.busy), timeout=0) if self.busy else ([], [])
        for reference in done:
            del self.busy[reference]
        loads = [sum(1 for at in self.busy.values() if at == actor) for actor in range(len(self.actors))]
        chosen = loads.index(min(loads))
        reference = self.actors[chosen].attempt.remote(store.url, task.name, task.arguments)
        self.busy[reference] = chosen
        return reference


class _Holder:
    """A Ray actor that keeps what is costly to build, such as a model on a GPU.

    It is built with the first task, whose error then says why it cannot be built.
    """

    def __init__(self, factory: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.factory, self.arguments = factory, arguments
        self.function: Callable[..., Any] | None = None

    def attempt(self, store_url: str, name: str, arguments: tuple[Any, ...]) -> dict[str, Any]:
        self.function = self.function or self.factory(*self.arguments)
        return attempt(self.function, store_url, name, arguments)


def attempt(function: Callable[..., Any], store_url: str, name: str, arguments: tuple[Any, ...]) -> dict[str, Any]:
    """Run a task in this process and commit it: its marker is written last, with its result and cost."""
    _reset_peak_memory()
    started = time.monotonic()
    with threadpool_limits(THREADS):
        result = function(*arguments)
    record = {
        "result": result,
        "seconds": round(time.monotonic() - started, 3),
        "peak_memory_bytes": peak_memory_bytes(),
    }
    Store(store_url).write_json(name + MARKER, record)
    return record


def run_tasks(
    workers: Callable[[], Workers],
    store: Store,
    tasks: Sequence[Task],
    finished: Callable[[Task, dict[str, Any], int], None],
) -> list[dict[str, Any]]:
    """Run the tasks whose markers are missing and return every task's record, in the order of `tasks`.

    Parameters
    ----------
    workers : callable
        Builds the workers; not called if every task is already done.
    store : Store
        Where markers are.
    finished : callable
        Called with the task, its record and the number of tasks done, as each ends.

    Raises
    ------
    RunError
        If a task keeps failing. Errors made for people pass through as they are.
    """
    present = set(store.names(MARKER))
    records = {task.name: store.read_json(task.name + MARKER) for task in tasks if task.name + MARKER in present}
    waiting = deque(task for task in tasks if task.name not in records)
    if waiting:
        crew = workers()
        running: dict[Any, Task] = {}
        while waiting or running:
            while waiting and len(running) < crew.capacity:
                task = waiting.popleft()
                running[crew.submit(store, task)] = task
            (reference,), _ = ray.wait(list(running), num_returns=1)
            task = running.pop(reference)
            records[task.name] = _result(reference, task)
            finished(task, records[task.name], len(records))
    return [records[task.name] for task in tasks]


def _result(reference: Any, task: Task) -> dict[str, Any]:
    try:
        record: dict[str, Any] = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, FilteringError):
            raise cause from None
        summary = traceback.format_exception_only(cause)[-1].strip()
        raise RunError(f"task {task.name}: {summary}") from error
    except ray.exceptions.RayError as error:
        first = str(error).strip().splitlines()[0]
        raise RunError(f"task {task.name}: its worker died {RETRIES + 1} times: {first}") from error
    return record


def _recorded_address() -> str:
    """Return the address of the environment's cluster, or of the one that `ray start` recorded, or nothing."""
    return os.environ.get("RAY_ADDRESS") or ray._private.services.find_bootstrap_address(None) or ""


def _check_reachable(address: str) -> None:
    """Refuse at once what `ray.init` would try to reach for minutes."""
    if address.startswith("ray://"):
        raise InputError(f"ray.address: {address} is Ray Client's; submit the run with `ray job submit` instead")
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        raise InputError(
            f"ray.address: no cluster answers at {address} ({error}); start one, or set ray.address to local"
        ) from None


def _reset_peak_memory() -> None:
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
