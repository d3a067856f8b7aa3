"""An export at work: leased, on Ray, resumed where an earlier attempt at the same one stopped."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NotRequired

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

from filtering.config.run import Ray
from filtering.core.errors import DamagedError, InputError
from filtering.core.parsing import Count
from filtering.exports.options import Options, flag
from filtering.manifests.finished import FinishedRun
from filtering.runtime.events import NAME as EVENTS
from filtering.runtime.events import EventLog
from filtering.runtime.executor import Executor, executor_for
from filtering.runtime.progress import LineReporter, Reporter
from filtering.runtime.stage import FOLDER, Runtime, StageKey, StageRun, leased
from filtering.storage.lease_record import FOLDER as LEASE
from filtering.storage.lease_record import held
from filtering.storage.local import whole_name
from filtering.storage.outputs import Layout, check_folder, check_output, delete_halves
from filtering.storage.reading import read_as
from filtering.storage.store import Store

VERSION = 1
# What is not finished lies in this folder of the output, and goes when it is.
STATE = "_export"
IDENTITY = "export.json"
STATE_NAMES = {IDENTITY, EVENTS, FOLDER, LEASE}
# The last object that an export writes.
MANIFEST = "manifest.json"
SUBSET = "subset.npy"
REMEDY = "choose another folder, or delete it"
# The folder of kept keys that the format shards writes.
KEYS = "keys"
# The names that each format writes, besides those that all have.
WRITTEN = {
    "subset": re.escape(SUBSET),
    "datacomp": rf"{re.escape(SUBSET)}|[0-9a-f]{{32}}\.(parquet|npz)",
    "shards": r"shards\.txt|shards\.jsonl|sizes\.json|" + KEYS,
    "tar": r"[0-9]{8,}(\.tar|_stats\.json)|sizes\.json",
    "parquet": r"[0-9]{8,}\.parquet",
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
    """The manifest of an export: its identity, and how many samples and objects it has."""

    kept: Count
    objects: Count


class Samples(TypedDict):
    """The result of a task: how many samples it wrote."""

    samples: int


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

    @property
    def scratch(self) -> Store:
        """The folder of objects that tasks write for later tasks."""
        return self.stage.store


def finish_export(
    run: FinishedRun,
    form: str,
    options: Options,
    out: Store,
    body: Callable[[Export], Written],
    progress: Reporter | None = None,
    executor: Executor | None = None,
    into_existing: bool = False,
) -> Facts:
    """Start or resume an export, of which `body` writes every object but the manifest, and return that.

    Ray runs its tasks, on `options.cpus`, if no executor is given. InputError if another export is at work there, or
    has left its objects there, or (unless `into_existing`) files are there that no export wrote.
    """
    identity = {"format": form, "options": options.decisive(), **run.origin()}
    state, progress = out.child(STATE), progress or LineReporter()
    _check_output(out, form, identity, into_existing)
    if (done := _finished(out, identity)) is not None:
        _tidy(out, state, progress)
        return done
    with leased(state, progress, "--out") as lease:
        _claim(out, state, identity)
        # Of an attempt that was killed; what tasks have in their own folder goes with it.
        delete_halves(out, layout(form).names.fullmatch)
        if form == "shards":
            delete_halves(out.child(KEYS))
        executor = executor or executor_for(Ray(num_cpus=options.cpus))
        runtime = Runtime(state, executor, EventLog(state, lease.check), progress, lease)
        stage = StageRun(runtime, StageKey("export", VERSION, identity))
        try:
            progress.start("export", 1, "")
            written = body(Export(run, options, out, stage))
            found = {**identity, **written.facts}
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
    return found


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
    if {name: value for name, value in found.items() if name in identity} == identity:
        return found
    raise InputError(f"--out: {out.url} holds another export, {_named(found)}; choose another folder, or delete it")


def _claim(out: Store, state: Store, identity: Facts) -> None:
    if (done := _finished(out, identity)) is not None:
        raise InputError(f"--out: {out.url} was finished just now, with {done['kept']:,} samples")
    if state.exists(IDENTITY):
        found = read_as(state, IDENTITY, Identity, REMEDY)
        if found == identity:
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
    if found and (found == identity or not _wrote_nothing(out, found)):
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
