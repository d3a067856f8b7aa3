"""Incremental runs: runs next to each other under one root, each of which starts from the one before it.

`latest.json` under the root names the newest verified run; it is one object, written whole, and moves only forward. A
lease on the root refuses a second incremental run while one is active. The same command resumes a run that was killed,
with the base that it began with; a run that fails leaves `latest.json` as it is.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from filtering.config.run import Config
from filtering.core.errors import DamagedError, InputError, RunError
from filtering.core.formatting import counted
from filtering.manifests.verify import problems
from filtering.pipeline import run as pipeline
from filtering.pipeline.context import OTHER, difference
from filtering.pipeline.increment_record import RETIRED, IncrementRecord, read_increment, write_increment
from filtering.pipeline.notification import notified
from filtering.pipeline.repair import kept_error
from filtering.pipeline.retention import retire
from filtering.pipeline.sources import sources_of
from filtering.runtime.finished_run import Base, read_base
from filtering.runtime.latest import LATEST, POINTER, LatestRecord, latest_name, read_latest, root_of, run_url
from filtering.runtime.progress import LineReporter, Reporter
from filtering.runtime.run_record import RUN, RunRecord, read_run
from filtering.runtime.stage import leased
from filtering.runtime.stage_progress import COMPUTED_HERE, MADE_AGAIN
from filtering.shards.inventory import Shard, read_inventory
from filtering.storage.outputs import place_of
from filtering.storage.store import Store, absolute

# Seconds between the starts of two runs, at least.
TICK = 1e-3


@dataclass(frozen=True, slots=True)
class _Finished:
    """What is there of a finished run: run.json, the URL of what is damaged, and its pool if that has grown since."""

    record: RunRecord | None = None
    damaged: tuple[str, ...] = ()
    shards: list[Shard] | None = None


def run(config: Config, progress: Reporter | None = None, into_existing: bool = False) -> RunRecord:
    """Start or resume a run, an incremental one if the configuration has a base, and return its run.json.

    Raises InputError if the configuration, the base or the pool cannot work, another incremental run is active under
    the same root, or the output holds another finished run, or (unless `into_existing`) files that no run wrote;
    RunError if a stage fails, or the written run does not verify: `latest.json` stays as it is.
    """
    reports = progress or LineReporter()
    body = _full if config.base is None else _incremental
    return notified(config, lambda: body(config, reports, into_existing), reports.say)


def base_of(config: Config, say: Callable[[str], None]) -> Base | None:
    """Return the base of a configuration's next run, None if it has none; nothing is written."""
    if config.base is None:
        return None
    store = Store(absolute(config.output))
    record = read_increment(store)
    return _base(record["base"] if record else _first_base(config, root_of(store), say))


def _full(config: Config, progress: Reporter, into_existing: bool) -> RunRecord:
    store = Store(absolute(config.output))
    if read_increment(store) is not None:
        raise InputError(f"output: {store.url} holds an incremental run; set base as before, or choose another output")
    _check_retired(store)
    return pipeline.run(config, progress, into_existing=into_existing)


def _incremental(config: Config, progress: Reporter, into_existing: bool) -> RunRecord:
    store = Store(absolute(config.output))
    root = root_of(store)
    with leased(root, progress) as lease:
        increment = _begun(config, store, root, progress)
        finished = _finished(config, store, progress)
        record = finished.record
        if record is None or finished.damaged:
            record = _run(config, store, increment, progress, finished, into_existing)
        if not increment["verified"]:
            _check(store, root)
            lease.check(fresh=True)
            _move_latest(root, store, increment, record)
            write_increment(store, {**increment, "verified": True})
        if config.retention is not None:
            retire(root, config.retention.keep_runs, latest_name(root), progress.say)
    return record


def _begun(config: Config, store: Store, root: Store, progress: Reporter) -> IncrementRecord:
    """Return the record of the run: as it was written when the run was first started, else a new one."""
    record = read_increment(store)
    if record is not None:
        if config.base != LATEST and not _is_base(record, config.base or ""):
            started = record["base"] or "no base"
            raise InputError(
                f"base: the incremental run in {store.url} started from {started}; set base to that, or choose "
                "another output"
            )
        return record
    if store.exists(RUN):
        raise InputError(f"output: {store.url} holds a finished run; choose another output for an incremental run")
    _check_retired(store)
    return IncrementRecord(base=_first_base(config, root, progress.say), started=_started(root), verified=False)


def _is_base(record: IncrementRecord, base: str) -> bool:
    """Return whether a run began with a base, however that is spelled and whatever links lead to it."""
    return record["base"] is not None and place_of(record["base"]) == place_of(run_url(base))


def _started(root: Store) -> float:
    """Return the start of a run that begins now: later than that of the newest run, even if the clock was set back.

    Else `latest` would stay behind, and retention would delete the new run as the oldest.
    """
    latest = read_latest(root)
    return time.time() if latest is None else max(time.time(), latest["started"] + TICK)


def _check_retired(store: Store) -> None:
    if store.exists(RETIRED):
        raise InputError(
            f"output: {store.url} holds data of a deleted run that other runs still reference; choose another output"
        )


def _first_base(config: Config, root: Store, say: Callable[[str], None]) -> str | None:
    """Return the run to start from: for latest, where no `latest.json` is, the newest finished run, or none."""
    if config.base != LATEST:
        return run_url(config.base or "")
    latest = latest_name(root)
    if latest is not None:
        return root.path(latest)
    runs = [run for run in map(root.child, root.names()) if run.exists(RUN)]
    records = [read_increment(run) for run in runs]
    # Incremental runs are left out: `latest.json` named the one to go on from.
    full = [run for run, record in zip(runs, records, strict=True) if record is None]
    increments = [run for run, record in zip(runs, records, strict=True) if record is not None and record["verified"]]
    if full:
        newest, this = _newest(full), "this run" if increments else "this first incremental run"
        say(f"{root.url} has no {POINTER}: {this} starts from the newest finished run, {newest.url}")
        return newest.url
    say(f"{root.url} has no {POINTER}{_whole_pool(increments)}")
    return None


def _whole_pool(increments: Sequence[Store]) -> str:
    if not increments:
        return ": this is the first incremental run there, and processes the whole pool"
    return (
        f", but {counted(len(increments), 'finished incremental run')}: this run processes the whole pool; to go on "
        f"from one of them instead, stop it, choose another output, and set base to {_newest(increments).url}"
    )


def _newest(runs: Sequence[Store]) -> Store:
    return max(runs, key=lambda run: read_run(run).get("finished", 0.0))


def _run(
    config: Config,
    store: Store,
    increment: IncrementRecord,
    progress: Reporter,
    finished: _Finished,
    into_existing: bool,
) -> RunRecord:
    base = _base(increment["base"])
    # Invalid input is refused before anything is written into a folder that another run may use.
    shards = pipeline.check(config, base)
    shards = finished.shards or shards
    pipeline.check_place(config, shards, into_existing, base)
    if base is not None:
        _tell_elsewhere(base.run, root_of(store), progress.say)
    write_increment(store, increment)
    return pipeline.run(config, progress, base, shards, told=finished.damaged)


def _tell_elsewhere(base: Store, root: Store, say: Callable[[str], None]) -> None:
    """Say in a line that a base may be deleted: retention sees what refers to it under its own root, and no other."""
    if read_increment(base) is not None and place_of(root_of(base).url) != place_of(root.url):
        say(
            f"base: {base.url} is an incremental run under another root, whose retention does not keep what this run "
            "takes from it; keep that run as long as this one, or start from one that has no base"
        )


def _base(url: str | None) -> Base | None:
    return None if url is None else read_base(Store(url))


def _finished(config: Config, store: Store, progress: Reporter) -> _Finished:
    """Return what is there of a finished run, and say the first problem that it has: the run then repairs itself.

    Refuses one of another configuration, and a sound one of another pool.
    """
    if not store.exists(RUN):
        return _Finished()
    try:
        record = read_run(store)
    except DamagedError as error:
        # As if it were not there: the stages are gone through again, and it is written anew.
        progress.say(f"{error.url}: {error.fault}; {MADE_AGAIN}")
        return _Finished(damaged=(error.url,))
    now = pipeline.check(config)
    shards = _own_pool(store, record, now)
    other = difference(record, config, now if shards is None else shards, sources_of(config))
    damaged = () if other else _damaged(store, progress)
    if other or (shards is not None and not damaged):
        raise kept_error(store, other or OTHER)
    return _Finished(record, damaged, shards)


def _own_pool(store: Store, record: RunRecord, now: Sequence[Shard]) -> list[Shard] | None:
    """Return the pool of a finished run if it has grown since, and is not the one that there is now."""
    try:
        before = read_inventory(store.child(record["objects"]["inventory"]))
    except (KeyError, FileNotFoundError, DamagedError):
        return None
    then, there = [shard.identity for shard in before], [shard.identity for shard in now]
    return before if then != there and set(then) <= set(there) else None


def _damaged(store: Store, progress: Reporter) -> tuple[str, ...]:
    """Say the first problem of a finished run; return the URL of what it is about, nothing if there is none."""
    found = next(problems(store), None)
    if found is None:
        return ()
    name = found.partition(": ")[0]
    elsewhere = "://" in name or name.startswith("/")
    url = name if elsewhere else store.path(name)
    progress.say(f"{store.path(found) if not elsewhere else found}; {COMPUTED_HERE if elsewhere else MADE_AGAIN}")
    return (url,)


def _check(store: Store, root: Store) -> None:
    """Verify a run; RunError if there is a problem."""
    # What its stages wrote, they have just written.
    found = list(problems(store, stages=False))
    if found:
        count, stays = counted(len(found), "problem"), latest_name(root) or "unset"
        raise RunError(f"{store.url}: verify found {count}, the first one: {found[0]}; latest stays {stays}")


def _move_latest(root: Store, store: Store, increment: IncrementRecord, record: RunRecord) -> None:
    """Let `latest.json` name a run, unless it names one that began later."""
    latest = read_latest(root)
    if latest is not None and latest["started"] > increment["started"]:
        return
    moved = LatestRecord(
        run=store.url.rpartition("/")[2],
        started=increment["started"],
        run_id=record["run_id"],
        manifest_hash=record["manifest_hash"],
    )
    root.write_json(POINTER, moved)
