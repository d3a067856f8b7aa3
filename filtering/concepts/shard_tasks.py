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
    """Run `function(shard, *args)` for each shard, in tasks named by its identity, and return the results in order."""
    return stage.map([task(f"{name}-{shard.identity}", function, shard, *args, **kwargs) for shard in shards], unit)
