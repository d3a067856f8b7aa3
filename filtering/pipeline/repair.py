"""Objects of a run that are damaged or missing: what they were made from is still there, so they are made again."""

import contextlib
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace

from typing_extensions import TypedDict

from filtering.concepts.artifacts import CENTROID_STEPS, CENTROIDS, FIT, REPLICATION
from filtering.concepts.stage import NAME as CONCEPTS
from filtering.core.errors import DamagedError, InputError
from filtering.embedding.artifacts import NAME as EMBEDDING
from filtering.embedding.stage import embedding_key
from filtering.filters.artifacts import stage_of
from filtering.graph.artifacts import GRAPHS
from filtering.manifests.referred import References
from filtering.manifests.stage import damaged_manifests, forget_damaged_splits
from filtering.manifests.verify import stages_left
from filtering.pipeline.context import RunContext, difference
from filtering.pipeline.increment_record import read_increment
from filtering.pipeline.layout import FINAL, FINAL_FOLDERS, FINAL_STAGE, delete_own
from filtering.report.stage import damaged_report
from filtering.runtime.run_record import RUN, RunRecord, fingerprint_of, read_run
from filtering.runtime.stage import FOLDER, StageKey, StageRun
from filtering.runtime.stage_objects import RECORD_SUFFIX, damaged_of, faults_of, objects_left
from filtering.runtime.stage_progress import COMPUTED_HERE
from filtering.runtime.task_spec import task
from filtering.shards.vectors import SIDES
from filtering.storage.reading import read_record_as
from filtering.storage.store import Store

# A stage, and an object of it.
OBJECT = re.compile(r"/stages/([^/]+)-[0-9a-f]{16}/([^/]+)(?:/[^/]+)?$")
# The concepts of images and of captions.
CONCEPTS_OF = tuple(stage_of(CONCEPTS, side) for side in SIDES)
# What a run takes from given concepts and cannot compute.
GIVEN = (CENTROIDS, CENTROID_STEPS, REPLICATION, FIT)
# What the driver reads and checks by itself, and how many objects of more than that a task reads.
CHECKED_HERE, AT_ONCE = 1 << 30, 256


class FinalRecord(TypedDict):
    """Which manifests lie under the fixed names: the fingerprint of their stage."""

    manifests: str


class Found(Exception):
    """Objects are damaged; the stages are to be gone through again, which makes them anew."""

    def __init__(self, damaged: list[DamagedError]) -> None:
        super().__init__(f"{len(damaged)} objects")
        self.damaged = damaged


def repeated(context: RunContext, body: Callable[[RunContext], RunRecord]) -> RunRecord:
    """Go through the stages, again whenever an object of one turns out to be damaged or missing.

    An object of the base is left where it is: what it was reused for is computed. Raises DamagedError if an object is
    damaged again, or is another run's, or nothing can be computed without it.
    """
    healed, found = set[str](), _damaged_before(context)
    while True:
        for damaged in found:
            if damaged.url in healed:
                raise damaged
            healed.add(damaged.url)
            context = _repaired(context, damaged)
        try:
            return body(replace(context, finished=[], alike={}))
        except Found as error:
            found = error.damaged
        except DamagedError as error:
            found = [error]


def _repaired(context: RunContext, damaged: DamagedError) -> RunContext:
    """Let an object be made again; return the run with what it may reuse from now on."""
    runtime, found, taken_over = context.runtime, _reused(context, damaged), _taken_over(context, damaged)
    if found is None and not taken_over:
        runtime.repair(damaged)
        return context
    runtime.tell_damaged(damaged, COMPUTED_HERE)
    runtime.forget_checks()
    runtime.lease.check(fresh=True)
    if taken_over or (found is not None and found[0] == EMBEDDING):
        # What says that the stage is done leads to the damaged shard. The shards that it has embedded stay.
        key = embedding_key(context.config.pool, context.config.embedding, "")
        context.stage(key).store.delete_all(RECORD_SUFFIX)
    if context.reusable is None or found is None:
        return replace(context, avoided=context.avoided | {damaged.url.rpartition("/")[0]})
    return replace(context, reusable=replace(context.reusable, damaged=context.reusable.damaged | {found}))


def _taken_over(context: RunContext, damaged: DamagedError) -> bool:
    """Return whether an object is of embeddings that a run without a base has taken over from another."""
    place = OBJECT.search(damaged.url)
    own = damaged.url.startswith(context.runtime.store.path(""))
    return context.reusable is None and not own and place is not None and place[1] == EMBEDDING


def _reused(context: RunContext, damaged: DamagedError) -> tuple[str, str] | None:
    """Return the stage of a base's object, and what its name begins with; None if the run cannot do without it."""
    reusable, place = context.reusable, OBJECT.search(damaged.url)
    if reusable is None or place is None or damaged.url.startswith(context.runtime.store.path("")):
        return None
    stage, name = place.groups()
    known = {shard.identity for shard in reusable.base.shards}
    if (stage == EMBEDDING and name.partition(".")[0] not in known) or (stage in CONCEPTS_OF and name in GIVEN):
        return None
    if stage in (EMBEDDING, *GRAPHS) or damaged.url.startswith(reusable.base.run.path("")):
        return stage, name.partition(".")[0]
    return None


def make_room(context: RunContext, manifests: StageKey) -> None:
    """Forget manifests of another selection, or damaged ones, before these are written under the same names."""
    runtime, stage = context.runtime, context.stage(manifests)
    store = runtime.store
    final = store.child(FOLDER)
    _refuse_change(context, manifests)
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


def kept_error(run: Store, which: str) -> InputError:
    """Return the error of a finished incremental run whose command would give another one now."""
    return InputError(
        f"output: {run.url} holds a finished run {which}; finished runs are not changed; choose another output"
    )


def _refuse_change(context: RunContext, manifests: StageKey) -> None:
    """Refuse to make the manifest of a verified incremental run from anything else than it was made from: InputError.

    Only where run.json, damaged or of an older version, did not say what that was: else its command has compared it.
    What is computed in the place of a base's damaged objects has other fingerprints and the same content.
    """
    run, reusable = context.runtime.store, context.reusable
    increment = read_increment(run)
    if increment is None or not increment["verified"] or (reusable is not None and reusable.damaged):
        return
    known = _final(run.child(FOLDER))
    with contextlib.suppress(InputError, DamagedError):
        record = read_run(run)
        if "sources" in record:
            return
        known = known or fingerprint_of(run, record, manifests.name)
    if known and known != manifests.fingerprint:
        raise kept_error(run, "of another pool or version of filtering, or from before a file was written again")


def check_report(stage: StageRun) -> None:
    """Forget a report that is no longer the one that was written."""
    if stage.finished() and (damaged := damaged_report(stage)):
        stage.runtime.tell_damaged(damaged)
        stage.forget()


def check_all(context: RunContext) -> None:
    """Read and check all objects that earlier attempts at the run left; `Found` if some are damaged.

    The stages that ran now have checked what they read themselves, which need not be everything.
    """
    read = context.runtime.read
    left = [(stage.store, stage.fingerprint) for stage in context.finished if stage.resumed]
    left = [stage for stage in left if stage not in read]
    if left and (found := _checked(context, left)):
        raise Found(found)


def _damaged_before(context: RunContext) -> list[DamagedError]:
    """Read and check all objects of a run that has finished, those of other runs among them; return what is wrong."""
    store = context.runtime.store
    try:
        record = read_run(store)
        if difference(record, context.config, context.shards, context.sources):
            return []
        references = References.of(store, record)
    except (InputError, DamagedError):
        return []
    stages = [(folder, cost["fingerprint"]) for cost, folder in stages_left(store, record) if folder is not None]
    return _checked(context, stages, references)


def _checked(
    context: RunContext, stages: Sequence[tuple[Store, str]], references: References | None = None
) -> list[DamagedError]:
    """Read all objects of some finished stages, and those that they refer to; return what is wrong."""
    progress, read = context.runtime.progress, context.runtime.read
    progress.start("check", 1, "")
    found = [error for stage in stages for error in _damaged(context, *stage)]
    # Those of a stage in which something is damaged are read once more when it has been made again.
    read.update(stage for stage in stages if not any(error.url.startswith(stage[0].path("")) for error in found))
    found += [] if references is None else references.damaged()
    many = f"{len(found):,} objects are damaged" if len(found) > 1 else "1 object is damaged"
    progress.finish(many if found else "every object is as it was written")
    return found


def _damaged(context: RunContext, store: Store, fingerprint: str) -> list[DamagedError]:
    """Read all objects of a finished stage, in tasks if they are many bytes; return what is wrong with them."""
    try:
        sizes = objects_left(store, fingerprint)
    except DamagedError as error:
        return [error]
    names = list(sizes)
    if sum(sizes.values()) <= CHECKED_HERE:
        return damaged_of(store, names)
    # A name of its own: whatever an earlier check found, the objects may have been damaged since.
    checking = context.stage(StageKey("check", 1, [fingerprint, uuid.uuid4().hex]))
    parts = [names[start : start + AT_ONCE] for start in range(0, len(names), AT_ONCE)]
    tasks = [task(f"{number:08d}", faults_of, store, part) for number, part in enumerate(parts)]
    found = [DamagedError(url, fault) for part in checking.map(tasks, "tasks") for url, fault in part]
    checking.forget()
    return found


def _final(folder: Store) -> str:
    """Return the fingerprint of the manifests that lie under the fixed names; empty if it is not known."""
    try:
        return read_record_as(folder, FINAL, FinalRecord)["manifests"]
    except DamagedError:
        return ""
