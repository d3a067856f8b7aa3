"""Executors run the tasks of a stage; markers say which tasks are already done."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from filtering.config.run import Ray
from filtering.core.errors import DamagedError, FilteringError, RunError, first_line
from filtering.runtime.stage_objects import Consumed, faults, raise_first
from filtering.runtime.task_spec import Capacity, TaskSpec, TaskWorkers, Workers
from filtering.runtime.worker import Attempt, TaskRecord
from filtering.storage import retries
from filtering.storage.at_once import each_at_once
from filtering.storage.lease import Fence
from filtering.storage.local import disk_error
from filtering.storage.reading import read_record_as
from filtering.storage.store import MARKER, Store

R = TypeVar("R")
# How often one task may be lost with its worker, or to a storage that does not answer, before the run gives up.
RETRIES = 5
# The address that stands for this very process.
IN_PROCESS = "none"


class Callback(Protocol):
    """Receives the events of a stage's tasks."""

    def resumed(self, records: Iterable[TaskRecord]) -> None:
        """Receive the records of tasks that an earlier attempt at the run has finished."""

    def finished(self, task: TaskSpec[Any], record: TaskRecord) -> None:
        """Receive a finished task."""

    def waiting(self, what: str = "") -> None:
        """Receive that no task ended for a while, or what has to be there before one can be worked on."""

    def retried(self, task: TaskSpec[Any], cause: str) -> None:
        """Receive a task that is started again."""

    def damaged(self, error: DamagedError) -> None:
        """Receive what is wrong with an object of a task that was done, and is run again."""


class Executor(Protocol):
    """Runs tasks: on a Ray cluster (`engine.RayExecutor`), or in this process (`in_process.InProcessExecutor`)."""

    def capacity(self) -> Capacity:
        """Return what there is now; more as a cluster grows."""

    def run(
        self, attempts: Sequence[Attempt], workers: Workers, callback: Callback
    ) -> Iterator[tuple[Attempt, TaskRecord]]:
        """Yield each attempt with its record as it ends, in any order.

        Raises RunError if a task fails, or keeps being lost. Errors made for people pass through as they are.
        """

    def stop(self) -> None:
        """Release what was started for this run."""


def executor_for(settings: Ray) -> Executor:
    """Return the executor that the configuration asks for; nothing is started yet."""
    if settings.address == IN_PROCESS:
        from filtering.runtime.in_process import InProcessExecutor

        return InProcessExecutor()
    # Ray takes seconds to import.
    from filtering.runtime.engine import RayExecutor

    return RayExecutor(settings)


def run_tasks(
    executor: Executor,
    stage: str,
    store: Store,
    tasks: Sequence[TaskSpec[R]],
    callback: Callback,
    *,
    workers: Workers | None = None,
    fence: Fence | None = None,
) -> list[TaskRecord]:
    """Run the tasks whose markers are missing and return every task's record, in the order of `tasks`.

    Tasks that need the most memory begin first. The executor is not started if every task is done. Workers have one CPU
    unless given, and check the fence before they write a marker. Errors are those of `Executor.run`.
    """
    records = _done(store, tasks, callback)
    callback.resumed(records.values())
    # Those of the largest partitions first: one begun last would leave all other CPUs without work.
    missing = sorted((task for task in tasks if task.name not in records), key=lambda task: -task.memory)
    if missing:
        attempts = [Attempt(stage, task, store, fence) for task in missing]
        for attempt, record in executor.run(attempts, workers or TaskWorkers(), callback):
            records[attempt.task.name] = record
            callback.finished(attempt.task, record)
    return [records[task.name] for task in tasks]


def _done(store: Store, tasks: Sequence[TaskSpec[Any]], callback: Callback) -> dict[str, TaskRecord]:
    """Return the records of the tasks that are done and whose objects are there as they were written."""
    present, records = store.sizes(), dict[str, TaskRecord]()
    consumed = Consumed.of(present)

    def read(name: str) -> TaskRecord | DamagedError:
        try:
            record = read_record_as(store, name + MARKER, TaskRecord)
            raise_first(store, faults(record["objects"], present, consumed))
        except DamagedError as error:
            return error
        return record

    begun = [task.name for task in tasks if task.name + MARKER in present]
    for name, found in zip(begun, each_at_once(read, begun), strict=True):
        if isinstance(found, DamagedError):
            callback.damaged(found)
        else:
            records[name] = found
    return records


class LostError(Exception):
    """An attempt that says nothing against its task: its worker died, or the storage did not answer."""

    def __init__(self, error: BaseException, worker: bool) -> None:
        super().__init__(first_line(error))
        self.worker = worker


def task_error(error: Exception, task: TaskSpec[Any]) -> Exception:
    """Return what a task's error means: itself if made for people, a `LostError` to try again, or a RunError."""
    if isinstance(error, FilteringError):
        return error
    if full := disk_error(error):
        return full
    if retries.judged(error, task.name).attempts > 1:
        return LostError(error, worker=False)
    return RunError(f"task {task.name}: {type(error).__name__}: {first_line(error)}")


def gave_up(task: TaskSpec[Any], lost: LostError) -> RunError:
    """Return the error of a task that was lost too often."""
    return RunError(f"task {task.name}: failed {RETRIES + 1} times: {lost}")
