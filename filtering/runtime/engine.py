"""The executor on Ray: starts or joins a cluster and keeps its workers busy with a stage's tasks."""

import os
import re
import socket
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

import ray

from filtering.config import run as configuration
from filtering.core.errors import FilteringError, InputError, RunError
from filtering.runtime import signals
from filtering.runtime.executor import RETRIES, Callback, LostError, gave_up, task_error
from filtering.runtime.local_ray import CONNECTION, LocalRay
from filtering.runtime.task_spec import Actors, Capacity, TaskSpec, Workers
from filtering.runtime.worker import Attempt, TaskRecord
from filtering.runtime.worker_pools import ActorPool, TaskPool, WorkerPool
from filtering.runtime.worker_python import lacking_worker

CONNECT_SECONDS = 5.0
# After so long without news, the callback is told that the stage goes on.
QUIET_SECONDS = 10.0


class RayExecutor:
    """A Ray cluster, started when the first task needs it."""

    def __init__(self, settings: configuration.Ray) -> None:
        self.settings = settings
        self.local: LocalRay | None = None
        self.ours = False

    def start(self, waiting: Callable[[str], None] = lambda what: None) -> None:
        """Join the cluster of the configuration, or start one on this machine; `waiting` receives what takes time."""
        if ray.is_initialized():
            return
        address = self._address()
        if address == "local":
            cpus = self.settings.num_cpus
            self.local = LocalRay(None if cpus == "auto" else cpus)
            self.local.start(waiting)
        else:
            _check_reachable(address or _recorded_address())
            waiting(f"joining the cluster at {address or _recorded_address()}")
            try:
                ray.init(address=address, **CONNECTION)
            except Exception as error:
                raise _refused(address or _recorded_address(), error) from error
        # Ray answers the signal to end by its own exit.
        signals.listen_again()
        self.ours = True

    def _address(self) -> str | None:
        """Return where to connect: for auto None, which is the environment's cluster or `ray start`'s, else local.

        Ray's own "auto" would also join the private cluster of another run on this machine.
        """
        if self.settings.address != "auto":
            return self.settings.address
        return None if _recorded_address() else "local"

    def stop(self) -> None:
        """Leave the cluster, and end it if it was started here."""
        if self.local is not None:
            self.local.stop()
        elif self.ours:
            ray.shutdown()
        self.local, self.ours = None, False

    def capacity(self) -> Capacity:
        """See `Executor.capacity`; starts or joins the cluster."""
        self.start()
        resources = ray.cluster_resources()
        there = int(resources.get("CPU", 1))
        wanted = there if self.settings.num_cpus == "auto" else self.settings.num_cpus
        return Capacity(max(1, min(there, wanted)), int(resources.get("GPU", 0)))

    def run(
        self, attempts: Sequence[Attempt], workers: Workers, callback: Callback
    ) -> Iterator[tuple[Attempt, TaskRecord]]:
        """See `Executor.run`."""
        self.start(callback.waiting)
        with closing(self.pool(workers)) as pool:
            yield from run_in_pool(pool, attempts, callback)

    def pool(self, workers: Workers) -> WorkerPool:
        """Return the pool of workers that run tasks; InputError if a GPU is wanted and there is none to wait for."""
        capacity = self.capacity()
        if isinstance(workers, Actors):
            return ActorPool(workers.plan(capacity))
        if workers.gpus and not capacity.gpus:
            raise InputError(
                "ray.gpus_per_search: the cluster has no GPU now; set it to 0, or start a node with one before the run"
            )
        return TaskPool(lambda: self.capacity().cpus, workers.gpus)


def run_in_pool(
    pool: WorkerPool, attempts: Sequence[Attempt], callback: Callback
) -> Iterator[tuple[Attempt, TaskRecord]]:
    """Yield each attempt with its record as the workers of a pool end it; errors as in `Executor.run`."""
    waiting, running = deque(attempts), dict[Any, Attempt]()
    failures: Counter[str] = Counter()
    worked = False
    while waiting or running:
        signals.check()
        for _ in range(min(len(waiting), pool.room())):
            attempt = waiting.popleft()
            running[pool.submit(attempt)] = attempt
        if not waiting:
            pool.release()
        # Where an attempt has just ended well there is a worker: the cluster is not asked after each.
        waits, worked = "" if worked else pool.waits_for(), False
        if waits:
            callback.waiting(waits)
        ready, _ = ray.wait([*running, *pool.starting()], num_returns=1, timeout=QUIET_SECONDS)
        if not ready:
            callback.waiting(waits)
            continue
        reference = ready[0]
        if reference not in running:
            pool.joined(reference)
            continue
        attempt = running.pop(reference)
        try:
            record = _result(reference, attempt.task)
        except LostError as lost:
            pool.ended(reference, lost.worker)
            failures[attempt.task.name] += 1
            if failures[attempt.task.name] > RETRIES:
                raise gave_up(attempt.task, lost) from lost
            callback.retried(attempt.task, str(lost))
            waiting.appendleft(attempt)
        else:
            pool.ended(reference, False)
            worked = True
            yield attempt, record


def _result(reference: Any, task: TaskSpec[Any]) -> TaskRecord:
    try:
        record: TaskRecord = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        # A decoder that died takes down the attempt of the embedder that it worked for, but not the embedder.
        # What was sent could not even be read there, or only this far.
        if isinstance(cause, ImportError | ray.exceptions.RaySystemError) and (lacking := lacking_worker(error)):
            raise lacking from error
        if isinstance(cause, ray.exceptions.RayError):
            raise LostError(cause, worker=False) from error
        meaning = task_error(cause, task)
        raise meaning from (None if meaning is cause else error)
    except ray.exceptions.RayError as error:
        raise LostError(error, worker=True) from error
    return record


def _refused(address: str, error: Exception) -> FilteringError:
    """Return what a person makes of Ray's errors at the start."""
    detail = " ".join(str(error).split())
    if isinstance(error, ConnectionError):
        return InputError(
            f"ray.address: the cluster at {address} refuses; does it want a token (RAY_AUTH_MODE=token), "
            "or another version of Ray?"
        )
    if "ersion mismatch" in detail:
        return InputError(f"ray.address: Ray version mismatch with the cluster at {address}: {_mismatched(detail)}")
    return RunError(f"ray.address: the cluster at {address} cannot be joined ({detail}); `ray status` says how it is")


def _mismatched(detail: str) -> str:
    """Return whose versions differ, from Ray's own words."""
    versions = re.findall(r"(Ray|Python): ([\w.]+)", detail)
    theirs, ours = (" and ".join(map(" ".join, part)) for part in (versions[:2], versions[2:4]))
    return f"the cluster runs {theirs}, this job needs {ours}" if ours else detail


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
