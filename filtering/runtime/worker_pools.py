"""Pools of Ray workers, tasks or actors, and how many more tasks they have room for."""

import contextlib
import threading
from collections.abc import Callable
from typing import Any, Protocol

import ray

from filtering.core.errors import RunError, first_line
from filtering.runtime.task_spec import ActorPlan
from filtering.runtime.worker import Attempt, TaskRecord, run_alone
from filtering.runtime.worker_python import lacking_worker

TASKS_IN_FLIGHT_PER_CPU = 2
# An actor that cannot even start this often in a row will not start at all.
STARTS = 5


class WorkerPool(Protocol):
    """Workers that attempts are submitted to."""

    def room(self) -> int:
        """Return how many more attempts it takes now."""

    def submit(self, attempt: Attempt) -> Any:
        """Start an attempt and return its reference."""

    def ended(self, reference: Any, lost: bool) -> None:
        """Receive that an attempt ended; `lost` if its worker died."""

    def starting(self) -> list[Any]:
        """Return references that become ready when a worker is up."""
        return []

    def joined(self, reference: Any) -> None:
        """Receive that a reference of `starting` is ready."""
        return

    def waits_for(self) -> str:
        """Return what has to be there before any attempt is worked on, in words; nothing if one may be.

        It may be missing in the middle as well, where machines can be taken away.
        """
        return ""

    def release(self) -> None:
        """Release idle workers: no further attempt will come, except those whose workers die."""
        return

    def close(self) -> None:
        """Release all workers, now: what holds them back waits for no garbage collection."""
        return


class TaskPool(WorkerPool):
    """Plain Ray tasks of one CPU each; those that find no CPU are the demand that makes a cluster grow.

    `gpus` is the share of a GPU that each of them takes besides.
    """

    def __init__(self, cpus: Callable[[], int], gpus: float = 0.0) -> None:
        self.cpus, self.gpus = cpus, gpus
        self.running = 0
        # Lost tasks are submitted again by the driver, which counts and records them; Ray does not.
        self.remote = ray.remote(run_alone).options
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        self.node_memory = max((node.get("memory", 0) for node in nodes), default=float("inf"))
        # Ahead of the attempts: a worker that answers has been found, has started and has room for them.
        first = ray.remote(_answer).options(num_cpus=1, num_gpus=gpus or None, max_retries=-1, name="Start")
        self.first = [first.remote()]

    def room(self) -> int:
        """See `WorkerPool.room`."""
        return max(0, self.cpus() * TASKS_IN_FLIGHT_PER_CPU - self.running)

    def submit(self, attempt: Attempt) -> Any:
        """See `WorkerPool.submit`."""
        task = attempt.task
        if task.memory > self.node_memory:
            raise RunError(
                f"task {task.name}: needs {task.memory / 1e9:.2f} GB, but no node offers more than "
                f"{self.node_memory / 1e9:.2f} GB; lower concepts.partition_rows or raise concepts.clusters"
            )
        self.running += 1
        needs = self.remote(
            num_cpus=1, num_gpus=self.gpus or None, memory=task.memory or None, max_retries=0, name=task.name
        )
        return needs.remote(attempt)

    def ended(self, reference: Any, lost: bool) -> None:
        """See `WorkerPool.ended`."""
        self.running -= 1

    def starting(self) -> list[Any]:
        """See `WorkerPool.starting`."""
        return self.first

    def joined(self, reference: Any) -> None:
        """See `WorkerPool.joined`."""
        # Whether it could answer at all: what keeps workers from that is told by the attempts.
        self.first = []

    def waits_for(self) -> str:
        """See `WorkerPool.waits_for`."""
        there = ray.cluster_resources()
        if lacking := next((kind for kind in ("CPU", *["GPU"] * bool(self.gpus)) if not there.get(kind)), ""):
            return f"waiting for workers: the cluster has no {lacking} now"
        return "waiting for workers: none is free and up yet" if self.first else ""


def _answer() -> None:
    """Return once a worker is up."""


class ActorPool(WorkerPool):
    """Actors that keep what is costly to build, such as a model on a GPU.

    All are asked for at once: those that find no node are the demand that makes a cluster grow, and attempts go only
    to those that are up. One that dies starts again, elsewhere if need be, and its attempts go to whoever has room.
    """

    def __init__(self, plan: ActorPlan[..., Any]) -> None:
        shape = plan.shape
        # One attempt more than it works on, so that an actor never waits for the driver.
        self.depth = shape.at_once + 1
        options = {
            "num_cpus": shape.cpus,
            "num_gpus": shape.gpus,
            "max_restarts": -1,
            "max_task_retries": 0,
            "max_concurrency": shape.at_once,
        }
        holder = ray.remote(_Holder).options(**options)
        self.actors = {at: holder.remote(plan.build) for at in range(shape.count)}
        self.busy: dict[Any, int] = {}
        self.up: set[int] = set()
        self.failed_starts = dict.fromkeys(self.actors, 0)
        self.pings = {actor.ping.remote(): at for at, actor in self.actors.items()}
        self.loads, self.loading, self.loaded = plan.loads, dict[Any, int](), set[int]()

    def room(self) -> int:
        """See `WorkerPool.room`."""
        return sum(max(0, self.depth - self._load(at)) for at in self.up)

    def submit(self, attempt: Attempt) -> Any:
        """See `WorkerPool.submit`."""
        chosen = min(sorted(self.up), key=self._load)
        reference = self.actors[chosen].run.remote(attempt)
        self.busy[reference] = chosen
        return reference

    def ended(self, reference: Any, lost: bool) -> None:
        """See `WorkerPool.ended`."""
        at = self.busy.pop(reference)
        if not lost:
            self.loaded.add(at)
        elif at in self.up:
            self.up.discard(at)
            self.loaded.discard(at)
            self._ping(at)

    def starting(self) -> list[Any]:
        """See `WorkerPool.starting`."""
        return [*self.pings, *self.loading]

    def joined(self, reference: Any) -> None:
        """See `WorkerPool.joined`."""
        if reference in self.loading:
            at = self.loading.pop(reference)
            # One that died meanwhile loads again before its next attempt.
            with contextlib.suppress(ray.exceptions.RayError):
                ray.get(reference)
                self.loaded.add(at)
            return
        at = self.pings.pop(reference)
        try:
            ray.get(reference)
        except ray.exceptions.RayError as error:
            if lacking := lacking_worker(error):
                raise lacking from error
            self.failed_starts[at] += 1
            if self.failed_starts[at] > STARTS:
                raise RunError(
                    f"an embedding worker died {STARTS + 1} times before its first task: {first_line(error)}"
                ) from error
            self._ping(at)
        else:
            self.failed_starts[at] = 0
            self.up.add(at)
            # Ahead of its attempts, so that the driver knows when it has loaded.
            self.loading[self.actors[at].load.remote()] = at

    def waits_for(self) -> str:
        """See `WorkerPool.waits_for`."""
        if not self.up:
            return f"waiting for workers: 0 of {len(self.actors)}"
        return "" if self.loaded & self.up else f"loading {self.loads}"

    def release(self) -> None:
        """See `WorkerPool.release`."""
        working = set(self.busy.values())
        for at in [at for at in self.actors if at not in working]:
            if len(self.actors) > 1:
                ray.kill(self.actors.pop(at), no_restart=True)
                self.up.discard(at)
                self.pings = {reference: other for reference, other in self.pings.items() if other != at}
                self.loading = {reference: other for reference, other in self.loading.items() if other != at}

    def close(self) -> None:
        """See `WorkerPool.close`."""
        # The error of an attempt that was lost refers to frames which refer to this pool: without its handles Ray ends
        # the actors, and gives their CPUs to the next stage.
        for references in (self.actors, self.pings, self.loading, self.busy):
            references.clear()

    def _ping(self, at: int) -> None:
        self.pings[self.actors[at].ping.remote()] = at

    def _load(self, at: int) -> int:
        return sum(1 for other in self.busy.values() if other == at)


class _Holder:
    """The actor: where its function cannot be built, the error of its first attempt says why."""

    def __init__(self, build: Callable[[], Callable[..., Any]]) -> None:
        self.build = build
        self.function: Callable[..., Any] | None = None
        self.building = threading.Lock()

    @ray.method(max_task_retries=-1)  # type: ignore[untyped-decorator]
    def ping(self) -> None:
        """Return once the actor is up, after a restart as well."""

    def load(self) -> None:
        """Build the function."""
        with contextlib.suppress(Exception), self.building:
            self.function = self.function or self.build()

    def run(self, attempt: Attempt) -> TaskRecord:
        with self.building:
            self.function = self.function or self.build()
        return run_alone(attempt, self.function)
