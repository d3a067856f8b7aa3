"""Nights: runs beside each other under one root, each of which starts from the one before it.

`latest.json` under the root names the newest night that was verified; it is one object, written whole, and moves only
forward. A lease on the root refuses a second night while one is at work. A night that was killed goes on, from the base
that it began with, when the same command is given again; one that failed leaves `latest` where it was.
"""

import time
from collections.abc import Callable
from typing import Any

from filtering.config.run import Config
from filtering.core.errors import InputError, RunError
from filtering.manifests.verify import problems
from filtering.pipeline import run as pipeline
from filtering.pipeline.context import run_id
from filtering.pipeline.notification import notified
from filtering.pipeline.retention import NIGHT, RETIRED, retire
from filtering.runtime.finished_run import Base, read_base
from filtering.runtime.latest import LATEST, POINTER, latest_name, root_of, run_url
from filtering.runtime.progress import LineReporter, Reporter
from filtering.runtime.run_record import RUN
from filtering.runtime.stage import leased
from filtering.storage.store import Store, absolute


def run(config: Config, progress: Reporter | None = None) -> dict[str, Any]:
    """Start or resume a run, a night if the configuration has a base, and return its run.json.

    Raises
    ------
    InputError
        If the configuration, the base or the pool cannot work, another night is at work, or the output holds a night
        that is finished and another.
    RunError
        If a stage fails, or what was written does not verify; `latest` stays where it was.
    """
    said = progress or LineReporter()
    return notified(config, lambda: _plain(config, said) if config.base is None else _night(config, said), said.say)


def base_of(config: Config, say: Callable[[str], None]) -> Base | None:
    """Return the run that a configuration's next run would start from, None if there is none; nothing is written."""
    if config.base is None:
        return None
    store = Store(absolute(config.output))
    return _base(store.read_json(NIGHT) if store.exists(NIGHT) else {"base": _start(config, root_of(store), say)})


def _plain(config: Config, progress: Reporter) -> dict[str, Any]:
    store = Store(absolute(config.output))
    if store.exists(NIGHT):
        raise InputError(f"output: {store.url} is a night's; set base as it was, or choose another output")
    return pipeline.run(config, progress)


def _night(config: Config, progress: Reporter) -> dict[str, Any]:
    store = Store(absolute(config.output))
    root = root_of(store)
    with leased(root, progress) as lease:
        night = _begun(config, store, root, progress)
        record = _finished(config, store, night) or _run(config, store, night, progress)
        if not night["verified"]:
            _check(store, root)
            lease.check(fresh=True)
            _move(root, store, night, record)
            _note(store, night | {"verified": True})
        if config.retention is not None:
            retire(root, config.retention.keep_runs, latest_name(root), progress.say)
    return record


def _begun(config: Config, store: Store, root: Store, progress: Reporter) -> dict[str, Any]:
    """Return what the night began with: as it was noted when it was started first, else as it is now."""
    if store.exists(NIGHT):
        night: dict[str, Any] = store.read_json(NIGHT)
        if config.base != LATEST and night["base"] != run_url(config.base or ""):
            raise InputError(f"base: the night in {store.url} began with {night['base']}; give that, or another output")
        return night
    if store.exists(RUN):
        raise InputError(f"output: {store.url} holds a finished run; a night writes to a folder of its own")
    if store.exists(RETIRED):
        raise InputError(f"output: {store.url} holds what others need of a retired night; choose another output")
    return {"base": _start(config, root, progress.say), "started": time.time(), "verified": False}


def _start(config: Config, root: Store, say: Callable[[str], None]) -> str | None:
    """Return the run to start from: for latest, before the first night, the newest finished run, or none."""
    if config.base != LATEST:
        return run_url(config.base or "")
    latest = latest_name(root)
    if latest is not None:
        return root.path(latest)
    # A night is only started from when it was verified.
    runs = [root.child(name) for name in root.names()]
    runs = [run for run in runs if run.exists(RUN) and not run.exists(NIGHT)]
    if not runs:
        say(f"{root.url} has no {POINTER} yet: this is its first night, and runs in full")
        return None
    newest = max(runs, key=lambda run: float(run.read_json(RUN).get("finished", 0)))
    say(f"{root.url} has no {POINTER} yet: this first night starts from the newest run there, {newest.url}")
    return newest.url


def _run(config: Config, store: Store, night: dict[str, Any], progress: Reporter) -> dict[str, Any]:
    base = _base(night)
    # What cannot work is refused before a word is written into a folder that another night may take.
    shards = pipeline.check(config, base)
    _note(store, night)
    return pipeline.run(config, progress, base, shards)


def _base(night: dict[str, Any]) -> Base | None:
    return None if night["base"] is None else read_base(night["base"])


def _finished(config: Config, store: Store, night: dict[str, Any]) -> dict[str, Any] | None:
    """Return run.json of a night that is finished; None of one that is not.

    Raises
    ------
    InputError
        If it is another: a finished night is never changed.
    """
    if not store.exists(RUN):
        return None
    record: dict[str, Any] = store.read_json(RUN)
    if record["run_id"] != run_id(config, pipeline.check(config)):
        raise InputError(
            f"output: {store.url} holds a finished night of another pool or configuration, and nights are not changed; "
            "choose another output"
        )
    return record


def _check(store: Store, root: Store) -> None:
    """Verify a night.

    Raises
    ------
    RunError
        If something does not hold.
    """
    found = list(problems(store))
    if found:
        stays = latest_name(root) or "unset"
        raise RunError(
            f"{store.url}: {len(found)} problem{'s' * (len(found) > 1)} found by verify, {found[0]} for one; "
            f"latest stays {stays}"
        )


def _move(root: Store, store: Store, night: dict[str, Any], record: dict[str, Any]) -> None:
    """Let `latest.json` name a night, unless it names one that began later."""
    if root.exists(POINTER) and root.read_json(POINTER)["started"] > night["started"]:
        return
    told = {key: record[key] for key in ("run_id", "manifest_hash")}
    root.write_json(POINTER, {"run": store.url.rpartition("/")[2], "started": night["started"], **told})


def _note(store: Store, night: dict[str, Any]) -> None:
    store.write_json(NIGHT, night)
