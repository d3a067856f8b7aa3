"""One stage of a run: its identity, its folder, its tasks, its record."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from filtering.core.errors import FilteringError, InputError, one_line
from filtering.runtime import signals
from filtering.runtime.engine import Engine, run_tasks
from filtering.runtime.events import EventLog
from filtering.runtime.progress import Reporter
from filtering.runtime.stage_progress import FROM_RECORD, Tally
from filtering.runtime.worker import Task
from filtering.runtime.worker_pools import Crew
from filtering.storage.lease import Lease
from filtering.storage.store import Store, digest

FOLDER = "stages"


@dataclass(frozen=True, slots=True)
class Runtime:
    """What every stage of a run shares."""

    store: Store
    engine: Engine
    events: EventLog
    progress: Reporter
    lease: Lease


@contextlib.contextmanager
def leased(store: Store, progress: Reporter, key: str = "output") -> Iterator[Lease]:
    """Hold the lease on an output: the first write, which tells whether anything can be written at all.

    Raises
    ------
    InputError
        If another run holds it, or nothing can be written; `key` says where the output was named.
    """
    lease = Lease(store, announce=progress.say)
    try:
        lease.__enter__()
    except FilteringError:
        raise
    except Exception as error:
        # Every filesystem has errors of its own, and each of them means the same here.
        raise InputError(f"{key}: {store.url} cannot be written ({one_line(error)})") from error
    try:
        yield lease
    finally:
        lease.release()


def folder_name(name: str, version: int, settings: Any) -> str:
    """Return the name of the folder of a stage whose objects are named by shard."""
    return f"{name}-{digest([name, version, settings])}"


@dataclass(slots=True)
class Stage:
    """A stage, identified by its settings, its code's format version and its inputs' identities.

    Attributes
    ----------
    name : such as "graph".
    version : raised when the code changes what it writes.
    settings : the part of the configuration that decides its result.
    inputs : fingerprints of the stages it reads.
    per_shard : its objects are named by shard identity and depend on one shard each, so that they outlive
        changes of the inventory; the folder then leaves `inputs` out.
    """

    runtime: Runtime
    name: str
    version: int
    settings: Any
    inputs: Sequence[str] = ()
    per_shard: bool = False
    peak_memory_bytes: int = field(default=0, init=False)
    tasks_run: int = field(default=0, init=False)
    retried: int = field(default=0, init=False)
    moved: Counter[str] = field(default_factory=Counter, init=False)
    summary: str = field(default="", init=False)

    @property
    def fingerprint(self) -> str:
        """Identity of the stage's result."""
        return digest([self.name, self.version, self.settings, list(self.inputs)])

    @property
    def store(self) -> Store:
        """The folder of the stage's objects."""
        if self.per_shard:
            return self.runtime.store.child(f"{FOLDER}/{folder_name(self.name, self.version, self.settings)}")
        return self.runtime.store.child(f"{FOLDER}/{self.name}-{self.fingerprint}")

    @property
    def record(self) -> str:
        """Name of the object that says that the stage is done."""
        return f"{self.fingerprint}.stage.json"

    def finished(self) -> bool:
        """Say whether the stage is done."""
        return self.store.exists(self.record)

    def forget(self) -> None:
        """Delete everything that the stage has written, so that it runs again."""
        self.runtime.lease.check(fresh=True)
        folder = self.store.url.rsplit("/", 1)
        Store(folder[0]).delete_folders(folder[1])

    def run(self, body: Callable[["Stage"], Any]) -> Any:
        """Return the stage's result: from its record if it finished before, else by running `body`.

        `body` returns JSON-able data; it is recorded with the time and memory used.
        """
        if self.finished():
            return self._reused(self.store.read_json(self.record))
        signals.check()
        self.runtime.events.append("stage_started", stage=self.name, fingerprint=self.fingerprint)
        self.runtime.progress.start(self.name, 1, "")
        started = time.monotonic()
        result = body(self)
        cost = {
            "name": self.name,
            "seconds": round(time.monotonic() - started, 3),
            "peak_memory_bytes": self.peak_memory_bytes,
            "tasks": self.tasks_run,
            "tasks_retried": self.retried,
            **{name: self.moved[name] for name in FROM_RECORD},
            "fingerprint": self.fingerprint,
            "summary": self.summary,
        }
        self.runtime.lease.check()
        self.store.write_json(self.record, {"cost": cost, "result": result})
        self._finish(cost, "")
        return {"cost": cost, "result": result}

    def map(self, crew: Callable[[Engine], Crew], tasks: Sequence[Task], unit: str) -> list[Any]:
        """Run tasks, those with a marker excepted, and return their results in order."""
        runtime = self.runtime
        runtime.progress.start(self.name, len(tasks), unit)
        tally = Tally(self.name, len(tasks), unit, runtime.events, runtime.progress)
        records = run_tasks(lambda: crew(runtime.engine), self.name, self.store, tasks, tally, runtime.lease.fence())
        self.tasks_run += len(tasks)
        self.peak_memory_bytes = max([self.peak_memory_bytes, *(r["peak_memory_bytes"] for r in records)])
        self.retried += tally.lost_tasks
        self.moved.update({name: tally.sums[name] for name in FROM_RECORD})
        return [record["result"] for record in records]

    def call(self, function: Callable[..., Any], name: str, *arguments: Any) -> Any:
        """Run one task and return its result."""
        return self.map(lambda engine: engine.tasks(function), [Task(name, arguments)], "task")[0]

    def _reused(self, record: dict[str, Any]) -> dict[str, Any]:
        self.runtime.progress.start(self.name, 1, "")
        record["cost"]["reused"] = True
        self._finish(record["cost"], ", already done")
        return record

    def _finish(self, cost: dict[str, Any], note: str) -> None:
        self.runtime.events.append("stage_finished", **{**cost, "stage": cost["name"]})
        self.runtime.events.flush()
        self.runtime.progress.finish(cost["summary"] + note)
