"""What an export has written: the objects of each task, so that what is lost of them is noticed, and made again."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict

from filtering.core.parsing import Count
from filtering.runtime.stage_objects import Consumed, faults, names_inside
from filtering.runtime.task_spec import TaskSpec
from filtering.runtime.worker import TaskRecord
from filtering.storage.store import MARKER, Store
from filtering.storage.written import noted

AGAIN = "what differs is made again"
NOTHING_CONSUMED = Consumed((), ())


class Samples(TypedDict):
    """The result of a task: how many samples it wrote."""

    samples: Count


class Part(Samples):
    """What a task has written: its samples, and the bytes of each object by its name in the output."""

    objects: dict[str, Count]


class Objects(TypedDict):
    """The objects of an export but its manifest: of each task by its name, and the bytes of the rest by theirs."""

    parts: dict[Annotated[str, Field(pattern=r"^[0-9a-z-]+$")], Part]
    rest: dict[str, Count]


def noting(one: TaskSpec[Samples], out: Store) -> TaskSpec[Part]:
    """Return a task that notes what it writes into the output."""
    return replace(one, function=write_noted, args=(one.function, out, *one.args))  # type: ignore[return-value]


def write_noted(function: Callable[..., Samples], out: Store, *args: Any, **kwargs: Any) -> Part:
    """Call what a task calls; return its samples, and the objects that it has written into the output."""
    with noted() as written:
        found = function(*args, **kwargs)
    return {"samples": found["samples"], "objects": names_inside(out, written)}


def own_objects(out: Store, written: Mapping[str, int], state: str) -> dict[str, int]:
    """Return the objects of the output, by name, of those that were written, the folder `state` excepted."""
    return {name: size for name, size in names_inside(out, written).items() if not name.startswith(f"{state}/")}


def differing(out: Store, objects: Objects) -> dict[str, str]:
    """Return what is wrong with the objects that are not there, or not of the size that they were written in."""
    known = objects["rest"].copy()
    for part in objects["parts"].values():
        known |= part["objects"]
    found = faults(known, out.sizes(), NOTHING_CONSUMED)
    return {name: fault or "is missing" for name, fault in found}


def mark_done(tasks: Store, parts: Mapping[str, Part]) -> None:
    """Let tasks count as done, with what they had written."""
    for name, part in parts.items():
        record = TaskRecord(
            result=part, objects={}, seconds=0.0, peak_memory_bytes=0, retries=0, read_bytes=0, written_bytes=0
        )
        tasks.write_record(name + MARKER, record)
