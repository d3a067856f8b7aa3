"""Stages of a base that have read what this run's read: their objects are copied, and nothing is computed again.

A stage's fingerprint says what it has read. Where two fingerprints stand for the same content, as those of trained
concepts and of the same concepts taken from a base, `alike` says so, and the stages after them are looked for in the
base under the fingerprints that they have there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from filtering.core.errors import RunError
from filtering.runtime.finished_run import Reusable
from filtering.runtime.records import from_plain
from filtering.runtime.run_record import StageRecord
from filtering.runtime.stage import StageKey, StageResult, StageRun
from filtering.runtime.stage_objects import copy_object, objects_left
from filtering.runtime.task_spec import task
from filtering.storage.at_once import each_at_once
from filtering.storage.reading import read_record_as
from filtering.storage.store import MARKER, Store
from filtering.storage.written import note

S = TypeVar("S", bound=StageResult)

# What the driver copies by itself, and how many objects of more than that a task copies.
COPIED_HERE, AT_ONCE = 1 << 28, 256


def key_in_base(key: StageKey, reusable: Reusable | None, alike: Mapping[str, str]) -> StageKey | None:
    """Return the key that a stage has in the base, if that has finished one of the same inputs and settings.

    None without a base, and where an object of such a stage is known to be damaged. `alike` are fingerprints of this
    run's stages, and those of the base's whose content is the same.
    """
    if reusable is None or key.per_shard or any(stage == key.name for stage, _ in reusable.damaged):
        return None
    there = replace(key, inputs=tuple(alike.get(one, one) for one in key.inputs))
    return there if reusable.base.run.child(there.folder).exists(there.record) else None


def copied(stage: StageRun, base: Store, key: StageKey, kind: type[S]) -> S | None:
    """Copy the objects that a stage has in a base, `key` there; return its result.

    None if the base's is of another form. DamagedError if an object is damaged or missing.
    """
    source = base.child(key.folder)
    plain = read_record_as(source, key.record, StageRecord)["result"]
    try:
        result = from_plain(kind, plain, source.path(key.record))
    except RunError:
        # An older version wrote it.
        return None
    # Markers say of tasks that they are done, and none of these has run here.
    left = objects_left(source, key.fingerprint).items()
    sizes = {name: size for name, size in left if not name.endswith(MARKER)}
    names = list(sizes)
    if sum(sizes.values()) <= COPIED_HERE:
        copy_objects(names, source, stage.store)
    else:
        parts = enumerate(range(0, len(names), AT_ONCE))
        tasks = [
            task(f"copy-{number:08d}", copy_objects, names[start : start + AT_ONCE], source, stage.store)
            for number, start in parts
        ]
        stage.map(tasks, "groups of objects")
    return result


def copy_objects(names: Sequence[str], source: Store, store: Store) -> None:
    """Copy some objects of a stage, several at once."""
    sizes = each_at_once(lambda name: copy_object(store, name, source), names)
    for name, size in zip(names, sizes, strict=True):
        # What other threads write is not noted by itself.
        note(store.path(name), size)
