"""One stage of a run: its identity (`StageKey`), its tasks (`StageRun`), and what it leaves (`Finished`)."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

from filtering.core.errors import DamagedError, FilteringError, InputError, one_line
from filtering.runtime import signals
from filtering.runtime.events import EventLog
from filtering.runtime.executor import Executor, run_tasks
from filtering.runtime.progress import Reporter
from filtering.runtime.records import from_plain, to_plain
from filtering.runtime.run_record import StageCost, StageRecord
from filtering.runtime.shard_groups import Sized, of_shard, together
from filtering.runtime.stage_objects import (
    RECORD_SUFFIX,
    UNKNOWN,
    Listings,
    check_stage,
    forget_object,
    forget_stage,
    names_inside,
    write_index,
)
from filtering.runtime.stage_progress import FROM_RECORD, MADE_AGAIN, StageProgress, tell_damaged
from filtering.runtime.task_spec import TaskSpec, Workers, task
from filtering.runtime.worker import results_of
from filtering.storage.lease import Lease
from filtering.storage.local import DiskError
from filtering.storage.outputs import delete_halves
from filtering.storage.reading import read_record_as
from filtering.storage.store import MARKER, Store, digest
from filtering.storage.written import noted

FOLDER = "stages"
P = ParamSpec("P")
R = TypeVar("R")


class StageResult(Protocol):
    """What a stage returns: a frozen dataclass of JSON-able fields."""

    @property
    def summary(self) -> str:
        """One line for a person."""


S = TypeVar("S", bound=StageResult)
Shard = TypeVar("Shard", bound=Sized)


@dataclass(frozen=True, slots=True)
class Runtime:
    """What every stage of a run shares."""

    store: Store
    executor: Executor
    events: EventLog
    progress: Reporter
    lease: Lease
    # The records of finished stages whose objects were all there when they were listed.
    checked: set[str] = field(default_factory=set)
    # Finished stages of which every object has been read: folders and fingerprints.
    read: set[tuple[Store, str]] = field(default_factory=set)
    # The damaged objects of which a person has been told.
    told: set[str] = field(default_factory=set)
    # The folders of stages, listed ahead.
    listings: Listings = field(default_factory=Listings)

    def tell_damaged(self, error: DamagedError, outcome: str = MADE_AGAIN) -> None:
        """Record an object that is damaged or missing, and say it in one line, unless that has been said."""
        tell_damaged(self.events, self.progress, error, self.told, outcome)

    def forget_checks(self) -> None:
        """Forget what was seen of finished stages' objects: some are made again."""
        self.checked.clear()
        self.listings.stop()

    def repair(self, error: DamagedError) -> None:
        """Say what is wrong with an object of a stage, and let it be made again; raise it if it is another run's."""
        top = self.store.path(f"{FOLDER}/")
        if not error.url.startswith(top):
            raise error
        folder, _, name = error.url.removeprefix(top).partition("/")
        self.tell_damaged(error)
        self.forget_checks()
        self.lease.check(fresh=True)
        forget_object(self.store.child(f"{FOLDER}/{folder}"), name)


@contextlib.contextmanager
def leased(store: Store, progress: Reporter, key: str = "output") -> Iterator[Lease]:
    """Hold the lease on an output: the first write, which tells whether anything can be written at all.

    Raises InputError if another run holds it, or nothing can be written; `key` says where the output was named.
    """
    lease = Lease(store, announce=progress.say)
    try:
        lease.__enter__()
    except DiskError as error:
        raise InputError(f"{key}: {error}") from error
    except FilteringError:
        raise
    except Exception as error:
        # Every filesystem has errors of its own, and each of them means the same here.
        raise InputError(f"{key}: {store.url} cannot be written ({one_line(error)})") from error
    try:
        yield lease
    finally:
        lease.release()


@dataclass(frozen=True, slots=True)
class StageKey:
    """The identity of a stage's result: its settings, the format version of its code, and its inputs' identities."""

    name: str  # such as "graph"
    version: int  # raised when the code changes what it writes
    settings: Any  # what of the configuration decides the result
    inputs: tuple[str, ...] = ()  # fingerprints of the stages that it reads
    # Its objects are named by shard identity and depend on one shard each, so that they outlive changes of the
    # inventory; the folder then leaves `inputs` out
    per_shard: bool = False
    # The fingerprint once it is known: the settings of the inventory's are a line for each shard of the pool
    _digests: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def fingerprint(self) -> str:
        """16 hex digits that identify the result."""
        if not self._digests:
            self._digests.append(digest([self.name, self.version, self.settings, list(self.inputs)]))
        return self._digests[0]

    @property
    def folder(self) -> str:
        """The folder of the stage's objects, relative to the run's directory."""
        if self.per_shard:
            return f"{FOLDER}/{self.name}-{digest([self.name, self.version, self.settings])}"
        return f"{FOLDER}/{self.name}-{self.fingerprint}"

    @property
    def record(self) -> str:
        """The name of the object that says that the stage is done."""
        return f"{self.fingerprint}{RECORD_SUFFIX}"


@dataclass(frozen=True, slots=True)
class Finished(Generic[S]):
    """A finished stage."""

    key: StageKey
    store: Store  # the folder of its objects
    result: S
    cost: StageCost  # what it took
    resumed: bool = False  # whether an earlier attempt at the run wrote some of its objects

    @property
    def fingerprint(self) -> str:
        """Identity of the result: an input of the stages that read it."""
        return self.key.fingerprint


@dataclass(slots=True)
class StageRun:
    """A stage at work: runs tasks and adds up what they take."""

    runtime: Runtime
    key: StageKey
    peak_memory_bytes: int = field(default=0, init=False)
    tasks_run: int = field(default=0, init=False)
    retried: int = field(default=0, init=False)
    resumed: bool = field(default=False, init=False)
    moved: Counter[str] = field(default_factory=Counter, init=False)
    cpus: set[str] = field(default_factory=set, init=False)
    # What the tasks have written: names of objects in the stage's folder, with their bytes
    objects: dict[str, int] = field(default_factory=dict, init=False)

    @property
    def store(self) -> Store:
        """The folder of the stage's objects."""
        return self.runtime.store.child(self.key.folder)

    def finished(self) -> bool:
        """Return whether the stage is done; it is not if an object of it is missing, which is then made again.

        Its folder is listed the first time only.
        """
        if not self.store.exists(self.key.record):
            return False
        checked, record = self.runtime.checked, self.store.path(self.key.record)
        try:
            if record not in checked:
                check_stage(self.store, self.key.fingerprint, self.runtime.listings.sizes(self.store))
        except DamagedError as error:
            self.runtime.repair(error)
            return False
        checked.add(record)
        return True

    def forget(self) -> None:
        """Delete everything that the stage has written, so that it runs again."""
        self.runtime.lease.check(fresh=True)
        forget_stage(self.store)

    def run(self, result: type[S], body: Callable[["StageRun"], S]) -> Finished[S]:
        """Return the finished stage: from its record if it finished before, else from `body`, which is recorded."""
        if self.finished():
            return self._reused(result)
        signals.check()
        # Of an earlier attempt that was killed; none of this one writes there yet.
        delete_halves(self.store)
        self.runtime.events.append("stage_started", stage=self.key.name, fingerprint=self.key.fingerprint)
        self.runtime.progress.start(self.key.name, 1, "")
        started = time.monotonic()
        with noted() as written:
            found = body(self)
        cost = self._cost(round(time.monotonic() - started, 3), found.summary)
        self.runtime.lease.check()
        # An attempt that was killed may have left more, where no object belongs to a shard that has left the pool.
        written_now = self.objects | names_inside(self.store, written)
        write_index(self.store, self.key.fingerprint, written_now, with_earlier=not self.key.per_shard)
        self.store.write_record(self.key.record, {"cost": cost, "result": to_plain(found)})
        self._finish(cost, "")
        return Finished(self.key, self.store, found, cost, self.resumed)

    def map(self, tasks: Sequence[TaskSpec[R]], unit: str, workers: Workers | None = None) -> list[R]:
        """Run tasks, each for one `unit` such as "shards", those with a marker excepted; return their results in order.

        Workers have one CPU unless given. Of many small shards several are worked through together
        (`runtime.shard_groups`).
        """
        runtime, name = self.runtime, self.key.name
        runtime.progress.start(name, len(tasks), unit)
        progress = StageProgress(name, len(tasks), unit, runtime.events, runtime.progress, said=runtime.told)
        whole = together(tasks, self.store if self.key.per_shard else None)
        records = run_tasks(
            runtime.executor, name, self.store, whole, progress, workers=workers, fence=runtime.lease.fence()
        )
        self.tasks_run += len(tasks)
        self.resumed |= progress.resumed_tasks > 0
        self.peak_memory_bytes = max([self.peak_memory_bytes, *(record["peak_memory_bytes"] for record in records)])
        self.retried += progress.lost_tasks
        self.cpus |= {record["cpu"] for record in records if "cpu" in record}
        self.moved.update({name: progress.sums[name] for name in FROM_RECORD})
        found = dict[str, R]()
        for one, record in zip(whole, records, strict=True):
            self.objects |= {one.name + MARKER: UNKNOWN, **record["objects"]}
            names = record.get("shards", [one.shard or one.name])
            found.update(zip(names, results_of(record), strict=True))
        return [found[one.shard or one.name] for one in tasks]

    def over_shards(
        self,
        name: str,
        unit: str,
        shards: Sequence[Shard],
        function: Callable[Concatenate[Shard, P], R],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> list[R]:
        """Run `function(shard, *args)` for each shard, in a task named by `name` and its identity; as `map`."""
        prefix = f"{name}-" if name else ""
        tasks = (task(f"{prefix}{one.identity}", function, one, *args, **kwargs) for one in shards)
        return self.map([of_shard(*pair) for pair in zip(tasks, shards, strict=True)], unit)

    def call(self, name: str, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run one task and return its result."""
        return self.map([task(name, function, *args, **kwargs)], "task")[0]

    def _cost(self, seconds: float, summary: str) -> StageCost:
        return StageCost(
            name=self.key.name,
            seconds=seconds,
            peak_memory_bytes=self.peak_memory_bytes,
            tasks=self.tasks_run,
            tasks_retried=self.retried,
            retries=self.moved["retries"],
            read_bytes=self.moved["read_bytes"],
            written_bytes=self.moved["written_bytes"],
            cpus=sorted(self.cpus),
            fingerprint=self.key.fingerprint,
            summary=summary,
        )

    def _reused(self, result: type[S]) -> Finished[S]:
        self.runtime.progress.start(self.key.name, 1, "")
        record = read_record_as(self.store, self.key.record, StageRecord)
        cost: StageCost = {**record["cost"], "reused": True}
        self._finish(cost, ", already done")
        found = from_plain(result, record["result"], self.store.path(self.key.record))
        return Finished(self.key, self.store, found, cost, resumed=True)

    def _finish(self, cost: StageCost, note: str) -> None:
        self.runtime.events.append("stage_finished", **{**cost, "stage": cost["name"]})
        self.runtime.events.flush()
        self.runtime.progress.finish(cost["summary"] + note)
