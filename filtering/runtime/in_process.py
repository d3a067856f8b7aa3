"""The executor without a cluster: tasks one after the other in this process, for tiny pools, debugging and tests."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from threadpoolctl import ThreadpoolController

from filtering.core.errors import InputError
from filtering.runtime import signals
from filtering.runtime.executor import RETRIES, Callback, LostError, gave_up, task_error
from filtering.runtime.task_spec import Actors, Capacity, Workers
from filtering.runtime.worker import THREADS, Attempt, TaskRecord, run_attempt
from filtering.storage import retries

# Read by libraries when they are loaded, which may be in the middle of a task.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class InProcessExecutor:
    """Runs every task in this process, one at a time, on one thread: the same results as on a cluster."""

    def capacity(self) -> Capacity:
        """See `Executor.capacity`."""
        import torch

        return Capacity(1, torch.cuda.device_count(), remote=False)

    def run(
        self, attempts: Sequence[Attempt], workers: Workers, callback: Callback
    ) -> Iterator[tuple[Attempt, TaskRecord]]:
        """See `Executor.run`."""
        built = self._built(workers, callback)
        with _one_thread():
            for attempt in attempts:
                signals.check()
                yield attempt, _persistently(attempt, built, callback)

    def stop(self) -> None:
        """See `Executor.stop`."""

    def _built(self, workers: Workers, callback: Callback) -> Callable[..., Any] | None:
        if isinstance(workers, Actors):
            plan = workers.plan(self.capacity())
            callback.waiting(f"loading {plan.loads}")
            return plan.build()
        if workers.gpus and not self.capacity().gpus:
            raise InputError("ray.gpus_per_search: this machine has no GPU; set it to 0")
        return None


def _persistently(attempt: Attempt, function: Callable[..., Any] | None, callback: Callback) -> TaskRecord:
    """Return a task's record, trying again what a storage that did not answer has cost."""
    failures = 0
    while True:
        # What this process moved for itself is not the task's.
        retries.taken()
        try:
            return run_attempt(attempt, function)
        except Exception as error:
            meaning = task_error(error, attempt.task)
            if meaning is error:
                raise
            if not isinstance(meaning, LostError):
                raise meaning from error
            failures += 1
            if failures > RETRIES:
                raise gave_up(attempt.task, meaning) from error
            callback.retried(attempt.task, str(meaning))


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Limit the threads of the libraries that are loaded, and of those that are loaded meanwhile."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(THREADS)))
    try:
        with _libraries(len(sys.modules)).limit(limits=THREADS):
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@lru_cache(maxsize=1)
def _libraries(modules: int) -> ThreadpoolController:
    """Return the libraries with threads; they are looked for again when there are more modules, which costs 4 ms."""
    return ThreadpoolController()
