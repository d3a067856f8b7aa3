"""Sums over what the tasks of a pool have written, an object each: no task reads more than some of them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy.typing as npt

from filtering.runtime.stage import StageRun
from filtering.runtime.task_spec import task
from filtering.storage.store import Store

# Objects that one task adds up.
ADDED_AT_ONCE = 1024
# Writes the sum of some objects as one, from their names and its own.
Add = Callable[[Sequence[str], str, Store], None]


def summed_objects(stage: StageRun, label: str, names: Sequence[str], add: Add, suffix: str) -> list[str]:
    """Return the names of at most `ADDED_AT_ONCE` objects whose sum is that of all: those given, if they are few.

    Of more, tasks named by `label` add up some each, and of what these wrote again. Sums of whole numbers are the same
    whatever is added first. The names of what they write begin with `label` and end in `suffix`.
    """
    level = 0
    while len(names) > ADDED_AT_ONCE:
        starts = range(0, len(names), ADDED_AT_ONCE)
        labels = [f"{label}-sum-{level}-{at:08d}" for at in range(len(starts))]
        groups = [list(names[start : start + ADDED_AT_ONCE]) for start in starts]
        written = [one + suffix for one in labels]
        adding = [
            task(one, add, group, name, stage.store) for one, group, name in zip(labels, groups, written, strict=True)
        ]
        stage.map(adding, "groups added up")
        names, level = written, level + 1
    return list(names)


def added_arrays(names: Sequence[str], columns: Sequence[str], store: Store) -> dict[str, npt.NDArray[Any]]:
    """Return the sums of arrays of the same name, from some objects; nothing from none."""
    found = dict[str, npt.NDArray[Any]]()
    for name in names:
        part = store.read_arrays(name)
        found = {column: found[column] + part[column] if found else part[column] for column in columns}
    return found
