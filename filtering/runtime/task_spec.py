"""What is submitted: a task with its function and arguments, and the workers that take tasks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class TaskSpec(Generic[R]):
    """One unit of work: a shard or a partition."""

    name: str  # unique in its stage; names the task's objects and its marker
    # What a worker calls, and what the task's result is; None where the worker's own function is meant (`Actors`)
    function: Callable[..., R] | None
    args: tuple[Any, ...] = ()  # args, kwargs: the arguments; `task` has checked them against the function's parameters
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    memory: int = 0  # bytes that the executor reserves on the node; 0 reserves none
    shard: str = ""  # the identity of the shard, or of the group of shards, that it is for; it is part of the name
    bytes: int = 0  # those of the shard
    members: "tuple[TaskSpec[Any], ...]" = ()  # the tasks that it runs one after the other, each with its result

    def reserving(self, memory: int) -> "TaskSpec[R]":
        """Return the task with `memory` bytes reserved for it."""
        return replace(self, memory=memory)


def task(name: str, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> TaskSpec[R]:
    """Return a task that calls a function of a module with these arguments; its name is unique in the stage.

    The function returns JSON-able data, which becomes the record of the task; a task that has a record is not run
    again.
    """
    return TaskSpec(name, function, args, kwargs)


@dataclass(frozen=True, slots=True)
class Capacity:
    """What an executor has now."""

    cpus: int  # cpus, gpus: how many of each may be used; at least one CPU
    gpus: int
    remote: bool = True  # whether workers are processes of their own, which may start tasks themselves


@dataclass(frozen=True, slots=True)
class WorkerShape:
    """How many workers there may be, what each takes of its node, and how many tasks it works on at once."""

    count: int
    cpus: float
    gpus: float
    at_once: int = 1


@dataclass(frozen=True, slots=True)
class ActorPlan(Generic[P, R]):
    """Workers that keep what is costly to build, such as a model: their shape, and what builds one's function."""

    shape: WorkerShape
    build: Callable[[], Callable[P, R]]
    loads: str = "the model"  # what takes long when one is built, in words


@dataclass(frozen=True, slots=True)
class Actors(Generic[P, R]):
    """Workers that each call `build` of a plan once and run every task with its result."""

    plan: Callable[[Capacity], ActorPlan[P, R]]  # returns the plan for what the executor has when the first task is run

    def task(self, name: str, /, *args: P.args, **kwargs: P.kwargs) -> TaskSpec[R]:
        """Return a task for one of these workers."""
        return TaskSpec(name, None, args, kwargs)


@dataclass(frozen=True, slots=True)
class TaskWorkers:
    """Workers of one CPU each, and of a share of a GPU."""

    gpus: float = 0.0


Workers = TaskWorkers | Actors[..., Any]
