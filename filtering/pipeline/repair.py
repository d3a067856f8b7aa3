"""Objects of a run that are damaged or missing: what they were made from is still there, so they are made again."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from typing_extensions import TypedDict

from filtering.core.errors import DamagedError
from filtering.manifests.stage import damaged_manifests, forget_damaged_splits
from filtering.pipeline.context import RunContext
from filtering.pipeline.layout import FINAL, FINAL_FOLDERS, FINAL_STAGE, delete_own
from filtering.report.stage import damaged_report
from filtering.runtime.run_record import RUN, RunRecord
from filtering.runtime.stage import FOLDER, Finished, StageKey, StageRun
from filtering.runtime.stage_objects import damaged_of, faults_of, objects_left
from filtering.runtime.task_spec import task
from filtering.storage.reading import read_record_as
from filtering.storage.store import Store

# What the driver reads and checks by itself, and how many objects of more than that a task reads.
CHECKED_HERE, AT_ONCE = 1 << 30, 256


class FinalRecord(TypedDict):
    """Which manifests lie under the fixed names: the fingerprint of their stage."""

    manifests: str


class Found(Exception):
    """Objects are damaged; the stages are to be gone through again, which makes them anew."""

    def __init__(self, damaged: Sequence[DamagedError]) -> None:
        super().__init__(f"{len(damaged)} objects")
        self.damaged = damaged


def repeated(context: RunContext, body: Callable[[RunContext], RunRecord]) -> RunRecord:
    """Go through the stages, again whenever an object of one turns out to be damaged or missing.

    Raises DamagedError if an object is damaged again, or is another run's.
    """
    healed = set[str]()
    while True:
        try:
            return body(replace(context, finished=[]))
        except Found as error:
            found = error.damaged
        except DamagedError as error:
            found = (error,)
        for damaged in found:
            if damaged.url in healed:
                raise damaged
            healed.add(damaged.url)
            context.runtime.repair(damaged)


def make_room(context: RunContext, manifests: StageKey) -> None:
    """Forget manifests of another selection, or damaged ones, before these are written under the same names."""
    runtime, stage = context.runtime, context.stage(manifests)
    store = runtime.store
    final = store.child(FOLDER)
    if _final(final) == manifests.fingerprint:
        if not stage.finished():
            forget_damaged_splits(stage)
            return
        damaged = damaged_manifests(stage)
        if damaged is None:
            return
        runtime.tell_damaged(damaged)
    runtime.lease.check(fresh=True)
    # First what says that they are whole: a run that is killed in the middle of this begins it again.
    final.delete(FINAL)
    store.delete(RUN)
    for name in final.names():
        if FINAL_STAGE.fullmatch(name):
            final.delete_folder(name)
    for name in FINAL_FOLDERS:
        delete_own(store, name)
    final.write_record(FINAL, {"manifests": manifests.fingerprint})


def check_report(stage: StageRun) -> None:
    """Forget a report that is no longer the one that was written."""
    if stage.finished() and (damaged := damaged_report(stage)):
        stage.runtime.tell_damaged(damaged)
        stage.forget()


def check_all(context: RunContext) -> None:
    """Read and check all objects that earlier attempts at the run left; `Found` if some are damaged.

    The stages that ran now have checked what they read themselves, which need not be everything.
    """
    runtime = context.runtime
    left = [stage for stage in context.finished if stage.resumed]
    if not left:
        return
    runtime.progress.start("check", 1, "")
    found = [error for stage in left for error in _damaged(context, stage)]
    runtime.progress.finish(f"{len(found):,} objects are damaged" if found else "every object is as it was written")
    if found:
        raise Found(found)


def _damaged(context: RunContext, stage: Finished[Any]) -> list[DamagedError]:
    """Read all objects of a finished stage, in tasks if they are many bytes; return what is wrong with them."""
    try:
        sizes = objects_left(stage.store, stage.fingerprint)
    except DamagedError as error:
        return [error]
    names = list(sizes)
    if sum(sizes.values()) <= CHECKED_HERE:
        return damaged_of(stage.store, names)
    # A name of its own: whatever an earlier check found, the objects may have been damaged since.
    checking = context.stage(StageKey("check", 1, [stage.fingerprint, uuid.uuid4().hex]))
    parts = [names[start : start + AT_ONCE] for start in range(0, len(names), AT_ONCE)]
    tasks = [task(f"{number:08d}", faults_of, stage.store, part) for number, part in enumerate(parts)]
    found = [DamagedError(url, fault) for part in checking.map(tasks, "tasks") for url, fault in part]
    checking.forget()
    return found


def _final(folder: Store) -> str:
    """Return the fingerprint of the manifests that lie under the fixed names; empty if it is not known."""
    try:
        return read_record_as(folder, FINAL, FinalRecord)["manifests"]
    except DamagedError:
        return ""
