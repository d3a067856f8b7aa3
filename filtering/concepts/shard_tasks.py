"""A task for each shard of a stage."""

from collections.abc import Callable, Sequence
from typing import Concatenate, ParamSpec, TypeVar

from filtering.filters.artifacts import PassingShard
from filtering.runtime.stage import StageRun
from filtering.runtime.task_spec import task

P = ParamSpec("P")
R = TypeVar("R")


def over_shards(
    stage: StageRun,
    name: str,
    unit: str,
    shards: Sequence[PassingShard],
    function: Callable[Concatenate[PassingShard, P], R],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> list[R]:
    """Run a task for each shard, named by the shard's identity, and return the results in order.

    Parameters
    ----------
    stage : StageRun
        Runs the tasks.
    name, unit : str
        The tasks' name, and the unit in which progress is counted.
    shards : sequence of PassingShard
        A task each.
    function : callable
        Takes a shard, then the arguments that follow.
    *args, **kwargs
        Those arguments.
    """
    return stage.map(
        [task(f"{name}-{shard.identity}", function, shard, *args, **kwargs) for shard in shards],
        unit,
    )
