"""Stages of a base that have read what this run's read: their objects are copied, and nothing is computed again.

A stage's fingerprint says what it has read. Where two fingerprints stand for the same content, as those of trained
concepts and of the same concepts taken from a base, `alike` says so, and the stages after them are looked for in the
base under the fingerprints that they have there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from filtering.runtime.finished_run import Reusable, read_result
from filtering.runtime.stage import StageKey, StageResult, StageRun
from filtering.runtime.stage_objects import copy_object, objects_left
from filtering.runtime.task_spec import task
from filtering.storage.at_once import each_at_once
from filtering.storage.store import MARKER, Store
from filtering.storage.written import note

S = TypeVar("S", bound=StageResult)

# What the driver copies by itself, and how many objects of more than that a task copies.
COPIED_HERE, AT_ONCE = 1 << 28, 256


@dataclass(frozen=True, slots=True)
class InBase:
    """A finished stage of a base: the folder of its objects, and its fingerprint."""

    store: Store
    fingerprint: str

    def result(self, kind: type[S]) -> S | None:
        """Return its result, None if an older version wrote it in another form."""
        return read_result(self.store, self.fingerprint, kind)

    def copy(self, stage: StageRun, *, markers: bool = False) -> bool:
        """Copy its objects to a stage, and return True; DamagedError if one is damaged or missing.

        With `markers`, what says of its tasks that they are done is copied as well, and they do not run here.
        """
        left = objects_left(self.store, self.fingerprint)
        names = [name for name in left if markers or not name.endswith(MARKER)]
        if sum(left[name] for name in names) <= COPIED_HERE:
            copy_objects(names, self.store, stage.store)
            return True
        parts = enumerate(range(0, len(names), AT_ONCE))
        tasks = [
            task(f"copy-{number:08d}", copy_objects, names[start : start + AT_ONCE], self.store, stage.store)
            for number, start in parts
        ]
        stage.map(tasks, "groups of objects")
        return True


def stage_in_base(key: StageKey, reusable: Reusable | None, alike: Mapping[str, str]) -> InBase | None:
    """Return the stage of the base that has the same inputs and settings, if that has finished it.

    None without a base, and where an object of such a stage is known to be damaged. `alike` are fingerprints of this
    run's stages, and those of the base's whose content is the same.
    """
    if reusable is None or key.per_shard or any(stage == key.name for stage, _ in reusable.damaged):
        return None
    there = replace(key, inputs=tuple(alike.get(one, one) for one in key.inputs))
    store = reusable.base.run.child(there.folder)
    return InBase(store, there.fingerprint) if store.exists(there.record) else None


def copy_objects(names: Sequence[str], source: Store, store: Store) -> None:
    """Copy some objects of a stage, several at once."""
    sizes = each_at_once(lambda name: copy_object(store, name, source), names)
    for name, size in zip(names, sizes, strict=True):
        # What other threads write is not noted by itself.
        note(store.path(name), size)
