"""Ray: starts or joins a cluster, runs a stage's tasks on it, and lets markers say what is already done."""

import logging
import os
import socket
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import ray

from filtering.config import run as configuration
from filtering.core.errors import FilteringError, InputError, RunError, first_line
from filtering.runtime import signals
from filtering.runtime.worker import Order, Task
from filtering.runtime.worker_pools import ActorCrew, ActorShape, Crew, TaskCrew
from filtering.storage import retries
from filtering.storage.lease import Fence
from filtering.storage.store import MARKER, Store

# How often one task may be lost with its worker, or to a storage that does not answer, before the run gives up.
RETRIES = 5
CONNECT_SECONDS = 5.0
# After so long without news, those who watch are told that it goes on.
QUIET_SECONDS = 10.0
# What passes between tasks: decoded batches and small results; all else travels through storage.
OBJECT_STORE_BYTES = 1 << 30


class Watch(Protocol):
    """Who is told how a stage's tasks go."""

    def resumed(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Take note of what an earlier attempt has already done."""

    def finished(self, task: Task, record: Mapping[str, Any]) -> None:
        """Take note of a finished task."""

    def waiting(self) -> None:
        """Take note that nothing ended for a while."""

    def retried(self, task: Task, cause: str) -> None:
        """Take note of a task that is started again."""


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
        except Exception as error:
            raise self._refused(address or _recorded_address(), error) from error
        # Ray answers the signal to end by its own exit.
        signals.listen_again()
        self.ours = True

    def _refused(self, address: str, error: Exception) -> FilteringError:
        """Return what a person makes of Ray's errors at the start."""
        detail = " ".join(str(error).split())
        if isinstance(error, ConnectionError):
            return InputError(
                f"ray.address: the cluster at {address} refuses; does it want a token (RAY_AUTH_MODE=token), "
                "or another version of Ray?"
            )
        if "ersion mismatch" in detail:
            return InputError(f"ray.address: the cluster at {address} is another than this job was made for ({detail})")
        return RunError(f"Ray does not start ({detail}); is the machine overloaded, or its disk full?")

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
        """Return the CPUs that may be used now, at least 1; more as a cluster grows."""
        self.start()
        there = int(ray.cluster_resources().get("CPU", 1))
        wanted = there if self.settings.num_cpus == "auto" else self.settings.num_cpus
        return max(1, min(there, wanted))

    def gpus(self) -> int:
        """Return the GPUs that the cluster has now."""
        self.start()
        return int(ray.cluster_resources().get("GPU", 0))

    def tasks(self, function: Callable[..., Any], gpus: float = 0.0) -> Crew:
        """Return a crew that runs each task of `function` on one CPU, and on a share of a GPU.

        Raises
        ------
        InputError
            If the cluster has no GPU now, but one is wanted: the tasks would wait for ever.
        """
        if gpus and not self.gpus():
            raise InputError(
                "ray.gpus_per_search: the cluster has no GPU now; set it to 0, or start a node with one before the run"
            )
        self.start()
        return TaskCrew(function, self.cpus, gpus)

    def actors(self, factory: Callable[..., Any], arguments: tuple[Any, ...], shape: ActorShape) -> Crew:
        """Return a crew of actors that each call `factory(*arguments)` once and run tasks with its result."""
        self.start()
        return ActorCrew(factory, arguments, shape)


def run_tasks(
    crew: Callable[[], Crew], stage: str, store: Store, tasks: Sequence[Task], watch: Watch, fence: Fence | None = None
) -> list[dict[str, Any]]:
    """Run the tasks whose markers are missing and return every task's record, in the order of `tasks`.

    Parameters
    ----------
    crew : callable
        Builds the workers; not called if every task is already done.
    stage : str
        The stage's name, for metrics.
    store : Store
        Where markers are.
    watch : Watch
        Told as tasks end.
    fence : Fence, optional
        Checked by every worker before it writes a marker.

    Raises
    ------
    RunError
        If a task keeps failing. Errors made for people pass through as they are.
    """
    present = set(store.names(MARKER))
    records = {task.name: store.read_json(task.name + MARKER) for task in tasks if task.name + MARKER in present}
    watch.resumed(records.values())
    # Those of the largest partitions first: one begun last would leave all other CPUs without work.
    waiting = deque(sorted((task for task in tasks if task.name not in records), key=lambda task: -task.memory))
    if waiting:
        for task, record in _run(crew(), waiting, watch, lambda task: Order(stage, task, store.url, fence)):
            records[task.name] = record
            watch.finished(task, record)
    return [records[task.name] for task in tasks]


def _run(
    crew: Crew, waiting: deque[Task], watch: Watch, order: Callable[[Task], Order]
) -> Iterable[tuple[Task, dict[str, Any]]]:
    running: dict[Any, Task] = {}
    failures: Counter[str] = Counter()
    while waiting or running:
        signals.check()
        for _ in range(min(len(waiting), crew.room())):
            task = waiting.popleft()
            running[crew.submit(order(task))] = task
        if not waiting:
            crew.release()
        ready, _ = ray.wait([*running, *crew.starting()], num_returns=1, timeout=QUIET_SECONDS)
        if not ready:
            watch.waiting()
            continue
        reference = ready[0]
        if reference not in running:
            crew.joined(reference)
            continue
        task = running.pop(reference)
        try:
            record = _result(reference, task)
        except _Lost as lost:
            crew.ended(reference, lost.worker)
            failures[task.name] += 1
            if failures[task.name] > RETRIES:
                raise RunError(f"task {task.name}: failed {RETRIES + 1} times: {lost}") from lost
            watch.retried(task, str(lost))
            waiting.appendleft(task)
        else:
            crew.ended(reference, False)
            yield task, record


class _Lost(Exception):
    """An attempt that says nothing against its task: its worker died, or the storage did not answer."""

    def __init__(self, error: BaseException, worker: bool) -> None:
        super().__init__(first_line(error))
        self.worker = worker


def _result(reference: Any, task: Task) -> dict[str, Any]:
    try:
        record: dict[str, Any] = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, FilteringError):
            raise cause from None
        # A decoder that died takes down the attempt of the embedder that it worked for, but not the embedder.
        if isinstance(cause, ray.exceptions.RayError) or retries.judged(cause, task.name).attempts > 1:
            raise _Lost(cause, worker=False) from error
        raise RunError(f"task {task.name}: {type(cause).__name__}: {first_line(cause)}") from error
    except ray.exceptions.RayError as error:
        raise _Lost(error, worker=True) from error
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
