"""A generator that runs in processes of its own, on any node, and yields its items here as they come."""

from collections.abc import Callable, Iterator
from typing import Concatenate, Generic, ParamSpec, TypeVar

import ray

from filtering.storage import retries

P = ParamSpec("P")
S = TypeVar("S")
R = TypeVar("R")


class RemoteStream(Generic[S, P, R]):
    """Runs a generator function as a Ray task of one CPU for each call; a lost process fails the call.

    What the generator moves from and to storage is counted here as if this process had moved it. The function is one of
    a module, so that workers can import it; `shared`, its first argument in every call, is sent to the cluster once. It
    pauses while `ahead` items wait to be taken.
    """

    def __init__(self, function: Callable[Concatenate[S, P], Iterator[R]], shared: S, ahead: int) -> None:
        self.function, self.ahead = function, ahead
        self.shared = ray.put(shared)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        """Yield the items of one call, in order; they are in Ray's object store for as long as they are referred to."""
        options = {
            "num_cpus": 1,
            "max_retries": 0,
            "num_returns": "streaming",
            "_generator_backpressure_num_objects": self.ahead,
        }
        stream = ray.remote(_counted).options(**options).remote(self.function, self.shared, *args, **kwargs)
        for reference in stream:
            item, moved = ray.get(reference)
            for name, amount in moved.items():
                retries.count(name, amount)
            yield item


def _counted(
    function: Callable[Concatenate[S, P], Iterator[R]], shared: S, *args: P.args, **kwargs: P.kwargs
) -> Iterator[tuple[R, dict[str, int]]]:
    """Yield each item with what this process moved for it."""
    retries.taken()
    for item in function(shared, *args, **kwargs):
        yield item, retries.taken()
