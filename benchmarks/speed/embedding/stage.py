"""The speed of the embedding stage itself."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from benchmarks.lib.timing import timed
from filtering.config.run import Config
from filtering.core.errors import DamagedError
from filtering.embedding.shape import embedder_shape
from filtering.embedding.stage import tar_embedder
from filtering.runtime.engine import RayExecutor, run_in_pool
from filtering.runtime.executor import Executor, executor_for
from filtering.runtime.task_spec import ActorPlan, Actors, TaskSpec
from filtering.runtime.worker import Attempt, TaskRecord
from filtering.runtime.worker_pools import ActorPool
from filtering.shards.inventory import Shard
from filtering.storage.store import Store

Plan = ActorPlan[[Shard, Store], Any]
Run = Callable[[Sequence[Attempt]], Iterable[tuple[Attempt, TaskRecord]]]


class _Silent:
    """A callback that ignores every event."""

    def resumed(self, records: Iterable[TaskRecord]) -> None: ...

    def finished(self, task: TaskSpec[Any], record: TaskRecord) -> None: ...

    def waiting(self, what: str = "") -> None: ...

    def retried(self, task: TaskSpec[Any], cause: str) -> None: ...

    def damaged(self, error: DamagedError) -> None: ...


def stage_rate(config: Config, shards: Sequence[Shard], total: int) -> tuple[float, float]:
    """Return pairs a second, with workers up and objects written, and the share of time that models waited."""
    executor, store = executor_for(config.ray), Store(config.output)
    shape, decoders = embedder_shape(config.embedding, config.ray, executor.capacity(), len(shards))
    run = _run(executor, ActorPlan(shape, partial(tar_embedder, config.embedding, decoders)))
    _embedded(run, store.child("warm"), shards[: 2 * shape.count * shape.at_once])
    seconds, records = timed(lambda: _embedded(run, store.child("timed"), shards))
    executor.stop()
    waited = sum(record["result"]["waited_seconds"] for record in records)
    return total / seconds, waited / (seconds * shape.count)


def _run(executor: Executor, plan: Plan) -> Run:
    """Return a function that runs attempts on workers that are built once and stay up between its calls."""
    if not isinstance(executor, RayExecutor):
        function = plan.build()
        workers = Actors(lambda capacity: ActorPlan(plan.shape, lambda: function))
        return lambda attempts: executor.run(attempts, workers, _Silent())
    pool = ActorPool(plan)
    pool.release = lambda: None  # type: ignore[method-assign]
    return lambda attempts: run_in_pool(pool, attempts, _Silent())


def _embedded(run: Run, folder: Store, shards: Sequence[Shard]) -> list[TaskRecord]:
    tasks: list[TaskSpec[Any]] = [TaskSpec(shard.identity, None, (shard, folder)) for shard in shards]
    return [record for _, record in run([Attempt("embedding", task, folder) for task in tasks])]
