"""Objects of a run that are damaged or missing: what they were made from is still there, so they are made again."""

from collections.abc import Callable
from dataclasses import replace

from filtering.manifests.stage import damaged_manifests, forget_damaged_splits
from filtering.pipeline.context import RunContext
from filtering.pipeline.layout import FINAL, FINAL_FOLDERS, FINAL_STAGE, delete_own
from filtering.report.stage import damaged_report
from filtering.runtime.run_record import RUN, RunRecord
from filtering.runtime.stage import FOLDER, Runtime, StageKey, StageRun
from filtering.runtime.stage_objects import damaged_objects, forget_object
from filtering.runtime.stage_progress import tell_damaged
from filtering.storage.checksums import DamagedError
from filtering.storage.store import Store


class Repaired(Exception):
    """Damaged objects were forgotten: the stages are to be gone through again, which makes them."""


def repeated(context: RunContext, body: Callable[[RunContext], RunRecord]) -> RunRecord:
    """Go through the stages, again whenever an object of one turns out to be damaged or missing.

    Raises DamagedError if an object is damaged again, or is another run's.
    """
    healed = set[str]()
    while True:
        try:
            return body(replace(context, finished=[]))
        except Repaired:
            continue
        except DamagedError as error:
            damaged = error
        if damaged.url in healed:
            raise damaged
        healed.add(damaged.url)
        _forget(context.runtime, damaged)


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
        _tell(runtime, damaged)
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
        _tell(stage.runtime, damaged)
        stage.forget()


def check_all(context: RunContext) -> None:
    """Read and check all objects of a run of which nothing was left to do: damaged ones are forgotten, `Repaired`."""
    runtime = context.runtime
    if not all(stage.cost.get("reused") for stage in context.finished):
        return
    runtime.progress.start("check", 1, "")
    found = [error for stage in context.finished for error in damaged_objects(stage.store, stage.fingerprint)]
    runtime.progress.finish(f"{len(found):,} objects are damaged" if found else "every object is as it was written")
    for error in found:
        _forget(runtime, error)
    if found:
        raise Repaired


def _forget(runtime: Runtime, damaged: DamagedError) -> None:
    """Say what is wrong with an object of a stage, and let it be made again; DamagedError if it is another run's."""
    top = runtime.store.path(f"{FOLDER}/")
    if not damaged.url.startswith(top):
        raise damaged
    folder, _, name = damaged.url.removeprefix(top).partition("/")
    _tell(runtime, damaged)
    runtime.lease.check(fresh=True)
    forget_object(runtime.store.child(f"{FOLDER}/{folder}"), name)


def _final(folder: Store) -> str:
    """Return the fingerprint of the manifests that lie under the fixed names; empty if it is not known."""
    try:
        return str(folder.read_record(FINAL)["manifests"])
    except DamagedError:
        return ""


def _tell(runtime: Runtime, damaged: DamagedError) -> None:
    tell_damaged(runtime.events, runtime.progress, damaged)
