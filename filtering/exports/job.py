"""An export at work: leased, on Ray, resumed where an earlier attempt at the same one stopped."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NotRequired

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

from filtering.core.errors import DamagedError, InputError
from filtering.core.parsing import Count
from filtering.exports.options import Options, flag
from filtering.exports.parts import AGAIN, Objects, Part, Samples, differing, mark_done, noting, own_objects
from filtering.manifests.finished import RESULTS, FinishedRun
from filtering.runtime.events import NAME as EVENTS
from filtering.runtime.events import EventLog
from filtering.runtime.executor import Executor
from filtering.runtime.progress import LineReporter, Reporter
from filtering.runtime.stage import FOLDER, Runtime, StageKey, StageRun, leased
from filtering.runtime.task_spec import TaskSpec
from filtering.storage.lease_record import FOLDER as LEASE
from filtering.storage.lease_record import held
from filtering.storage.local import whole_name
from filtering.storage.outputs import Layout, check_folder, check_output, delete_halves
from filtering.storage.reading import read_as
from filtering.storage.store import MARKER, Store
from filtering.storage.written import noted

# What it is that an export writes: raised when that changes, and an export of another version is made again.
VERSION = 4
# What is not finished lies in this folder of the output, and goes when it is.
STATE = "_export"
IDENTITY = "export.json"
STATE_NAMES = {IDENTITY, EVENTS, FOLDER, LEASE}
# The last object that an export writes.
MANIFEST = "manifest.json"
SUBSET = "subset.npy"
# The dataset card.
CARD = "README.md"
REMEDY = "choose another folder, or delete it"
# The folder of kept keys that the format shards writes.
KEYS = "keys"
# The names that each format writes, besides those that all have.
WRITTEN = {
    "subset": re.escape(SUBSET),
    "datacomp": rf"{re.escape(SUBSET)}|[0-9a-f]{{32}}\.(parquet|npz)",
    "shards": r"shards\.txt|shards\.jsonl|sizes\.json|" + KEYS,
    "tar": r"[0-9]{8,}(\.tar|_stats\.json)|sizes\.json|wids\.json|" + re.escape(CARD),
    **dict.fromkeys(("parquet", "table"), r"[0-9]{8,}\.parquet|" + re.escape(CARD)),
    "mds": r"shard\.[0-9]{5,}\.mds|index\.json",
    "litdata": r"chunk-0-[0-9]+\.bin|index\.json",
}

# The content of a manifest.
Facts = Mapping[str, object]


@with_config(ConfigDict(extra="allow"))
class Identity(TypedDict):
    """What tells an export from another one, as it is on disk; more is compared than is named here."""

    format: str
    options: dict[str, Any]
    run_id: NotRequired[str]


class Manifest(Identity):
    """The manifest of an export: its identity, how many samples and objects it has, and which objects those are.

    The first version wrote neither its number nor the objects.
    """

    kept: Count
    objects: Count
    version: NotRequired[Count]
    written: NotRequired[Objects]


@dataclass(frozen=True, slots=True)
class Written:
    """What an export has written: fields of the manifest besides the run and the options, and a line for a person."""

    facts: Facts
    summary: str


@dataclass(frozen=True, slots=True)
class Export:
    """An export at work: a finished run, the output, and a stage whose store is deleted when it is finished."""

    run: FinishedRun
    options: Options
    out: Store
    stage: StageRun
    # What each task of `write` has written, by its name
    parts: dict[str, Part] = field(default_factory=dict)

    @property
    def scratch(self) -> Store:
        """The folder of objects that tasks write for later tasks."""
        return self.stage.store

    def write(self, tasks: Sequence[TaskSpec[Samples]], unit: str) -> list[int]:
        """Run the tasks that write the output's objects, as `StageRun.map`; return how many samples each wrote."""
        found = self.stage.map([noting(one, self.out) for one in tasks], unit)
        self.parts.update({one.name: part for one, part in zip(tasks, found, strict=True)})
        return [part["samples"] for part in found]


def finish_export(
    run: FinishedRun,
    form: str,
    options: Options,
    out: Store,
    body: Callable[[Export], Written],
    progress: Reporter | None,
    executor: Executor,
    into_existing: bool = False,
) -> Facts:
    """Start or resume an export, of which `body` writes every object but the manifest; return what that says of it.

    Of an export that is finished, what is no longer as it was written is made again. InputError if another export is at
    work there, or has left its objects there, or (unless `into_existing`) files are there that no export wrote.
    """
    identity = {"format": form, "options": options.decisive(), **run.origin()}
    state, progress = out.child(STATE), progress or LineReporter()
    _check_output(out, form, identity, into_existing)
    done = _finished(out, identity)
    if done is not None:
        if (fault := _fault(out, done)) is None:
            _tidy(out, state, progress)
            return _told(done)
        progress.say(fault)
    with leased(state, progress, "--out") as lease:
        runtime = Runtime(state, executor, EventLog(state, lease.check), progress, lease)
        stage = StageRun(runtime, StageKey("export", VERSION, identity))
        _claim(out, state, identity, done)
        if done is not None:
            _count_whole(out, stage.store, done)
        # Of an attempt that was killed; what tasks have in their own folder goes with it.
        delete_halves(out, layout(form).names.fullmatch)
        if form == "shards":
            delete_halves(out.child(KEYS))
        try:
            progress.start("export", 1, "")
            written, objects = _written(Export(run, options, out, stage), body)
            found = {**identity, **written.facts, "version": VERSION, "written": objects}
            lease.check(fresh=True)
            run.check_same()
            out.write_json(MANIFEST, found)
            progress.finish(written.summary)
            _forget(state)
        finally:
            progress.stop()
            runtime.executor.stop()
    # Whoever takes the lease in this moment finds the export finished, or is told that the lease was removed.
    out.delete_folder(STATE)
    return _told(found)


def _written(export: Export, body: Callable[[Export], Written]) -> tuple[Written, Objects]:
    """Return what the body wrote; what earlier attempts had written, and is not there as it was, is made again."""
    for last in (False, True):
        with noted() as written:
            found = body(export)
        objects = Objects(parts=export.parts, rest=own_objects(export.out, written, STATE))
        lost = {} if last else differing(export.out, objects)
        if not lost:
            break
        export.stage.runtime.progress.say(_differs(export.out, lost))
        for name, part in objects["parts"].items():
            if not lost.keys().isdisjoint(part["objects"]):
                export.scratch.delete(name + MARKER)
    return found, objects


def _fault(out: Store, done: Manifest) -> str | None:
    """Say in a line why an export that is finished is made again; None if nothing is wrong with it."""
    if (objects := _listed(done)) is None:
        return f"--out: {out.url} holds this export as another version of filtering wrote it; it is made again"
    return _differs(out, lost) if (lost := differing(out, objects)) else None


def _listed(done: Manifest) -> Objects | None:
    """Return the objects of a finished export; None where another version wrote it."""
    return done.get("written") if done.get("version") == VERSION else None


def _differs(out: Store, lost: Mapping[str, str]) -> str:
    name, fault = next(iter(lost.items()))
    more = f", as are {len(lost) - 1:,} more objects" if len(lost) > 1 else ""
    return f"--out: {out.path(name)} {fault}{more}; {AGAIN}"


def _count_whole(out: Store, tasks: Store, done: Manifest) -> None:
    """Let tasks count as done whose objects are as they were; the manifest stays right about them without the pool."""
    if (objects := _listed(done)) is not None:
        lost = differing(out, objects)
        mark_done(tasks, {n: part for n, part in objects["parts"].items() if lost.keys().isdisjoint(part["objects"])})


def _told(found: Mapping[str, object]) -> Facts:
    """Return a manifest without the list of all objects."""
    return {name: value for name, value in found.items() if name != "written"}


def _tidy(out: Store, state: Store, progress: Reporter) -> None:
    """Remove what an export left that was killed when all but this was done."""
    if state.names():
        with leased(state, progress, "--out"):
            _forget(state)
        out.delete_folder(STATE)


def _forget(state: Store) -> None:
    state.delete_folder(FOLDER)
    for name in (IDENTITY, EVENTS):
        state.delete(name)


def _finished(out: Store, identity: Facts) -> Manifest | None:
    """Return the manifest if this very export is there already; refuse if another one is."""
    if not out.exists(MANIFEST):
        return None
    found = read_as(out, MANIFEST, Manifest, REMEDY)
    if _is_same(found, identity):
        return found
    same = _is_same({**found, RESULTS: identity[RESULTS]}, identity)
    again = " (made again since with other results)" if same else ""
    raise InputError(
        f"--out: {out.url} holds another export, {_named(found)}{again}; choose another folder, or delete it"
    )


def _is_same(found: Facts, identity: Facts) -> bool:
    """Return whether an export is the one of an identity; the first version did not note the run's results."""
    known = {name: value for name, value in identity.items() if name != RESULTS or RESULTS in found}
    return {name: value for name, value in found.items() if name in known} == known


def _claim(out: Store, state: Store, identity: Facts, again: Manifest | None) -> None:
    """Write the identity of the export at work; InputError if there is another, or it is finished but for `again`."""
    done = _finished(out, identity)
    if done is not None and done != again:
        raise InputError(f"--out: {out.url} was finished just now, with {done['kept']:,} samples")
    if state.exists(IDENTITY):
        found = read_as(state, IDENTITY, Identity, REMEDY)
        if _is_same(found, identity):
            return
        if not _wrote_nothing(out, found):
            raise InputError(
                f"--out: {out.url} holds an unfinished export, {_named(found)}; finish it, choose another folder, "
                "or delete it"
            )
        _forget(state)
    state.write_json(IDENTITY, identity)


def _wrote_nothing(out: Store, other: Identity) -> bool:
    """Return whether an unfinished export has left nothing but its own state, as one that was refused."""
    names = layout(other["format"]).names if other["format"] in WRITTEN else re.compile(".*", re.DOTALL)
    return not any(names.fullmatch(whole_name(name)) for name in out.names() if name != STATE)


def _named(identity: Identity) -> str:
    given = [f"--format {identity['format']}"]
    for name, value in identity["options"].items():
        if value is not None and value is not False:
            given.append(flag(name) + ("" if value is True else f" {value}"))
    return f"{' '.join(given)} of run {identity.get('run_id', 'unknown')}"


def layout(form: str) -> Layout:
    """Return the names that an export writes into its output."""
    return Layout("--out", re.compile(f"{re.escape(MANIFEST)}|{STATE}|{WRITTEN[form]}"))


def _check_output(out: Store, form: str, identity: Facts, into_existing: bool) -> None:
    """Refuse files that no export wrote, unless an export has left its record among them."""
    state = out.child(STATE)
    check_folder("--out", out.url)
    if _identity(out, MANIFEST):
        return
    found = _identity(state, IDENTITY)
    if found and (_is_same(found, identity) or not _wrote_nothing(out, found)):
        return
    # The lease is the first that any export writes.
    known = found or ({whole_name(name) for name in state.names()} <= STATE_NAMES and held(state))
    check_output(out, layout(form), {STATE} if known else (), into_existing)


def _identity(folder: Store, name: str) -> Identity | None:
    """Return what an export has left of itself; None if it is none of an export."""
    try:
        found = read_as(folder, name, Identity) if folder.exists(name) else None
    except DamagedError:
        return None
    return found if found and found["format"] in WRITTEN else None
