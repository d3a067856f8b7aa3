"""A cluster whose workers run another Python than the job: which one, in the line that says what it lacks."""

import contextlib
import re
import sys
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from filtering.core.errors import RunError
from filtering.core.interpreter import REMEDY, missing_module

ASK_SECONDS = 30.0
# Ray's words for where something failed.
ADDRESS = re.compile(r"\bip=([\w.:]+)")


def lacking_worker(error: Exception) -> RunError | None:
    """Return what to say of an error that means that a worker could not import something; None if it means another."""
    lacks = missing_module(error)
    if lacks is None:
        return None
    address = ADDRESS.search(str(error))
    return RunError(f"{lacks}: {_interpreter(address and address[1])} lacks it; {REMEDY}")


def _interpreter(address: str | None) -> str:
    """Return which interpreter a worker runs, on the node with this address if it is known, in words."""
    # By value: the worker may not even have this package.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    options: dict[str, Any] = {"num_cpus": 0, "max_retries": 0}
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["NodeManagerAddress"] == address]
    if nodes:
        options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(nodes[0], soft=True)
    # Whatever is wrong there as well, the missing module is worth more.
    with contextlib.suppress(ray.exceptions.RayError):
        found = ray.get(ray.remote(_words).options(**options).remote(), timeout=ASK_SECONDS)
        return f"the workers' Python, {found},"
    return f"the workers' Python on node {address}" if address else "the workers' Python"


def _words() -> str:
    """Return this process's interpreter in words, with nothing but what every Python has."""
    import platform
    import socket
    import sys

    return f"{sys.executable} (Python {platform.python_version()}) on node {socket.gethostname()}"
