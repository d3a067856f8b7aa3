"""How a stage's tasks go, how fast, and how long the rest will take: for events, for the bar, for `status`."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from filtering.core.clock import CLOCK, Clock
from filtering.core.errors import DamagedError
from filtering.core.formatting import counted, duration, size
from filtering.runtime.events import EventLog
from filtering.runtime.progress import Reporter
from filtering.runtime.task_spec import TaskSpec
from filtering.runtime.worker import TaskRecord, results_of

# At most one progress event in this many seconds: a run of a million shards must not write a million events.
EVENT_INTERVAL = 1.0
# While it waits for the same thing.
QUIET_SECONDS = 10.0
FROM_RESULT = ("samples", "quarantined")
FROM_RECORD: tuple[Literal["retries", "read_bytes", "written_bytes"], ...] = ("retries", "read_bytes", "written_bytes")


@dataclass(frozen=True, slots=True)
class Throughput:
    """What an attempt at a stage has done so far."""

    seconds: float  # since the first of its tasks began; before one has ended, since it began with the stage
    done: int  # done, total: tasks
    total: int
    resumed: int = 0  # of the tasks done, those of earlier attempts: they took none of the seconds
    samples: int = 0  # in the tasks that this attempt has done; 0 where tasks are not counted in samples

    @property
    def samples_per_second(self) -> float | None:
        """Samples a second; None where nothing is known of it."""
        return self.samples / self.seconds if self.samples and self.seconds else None

    @property
    def tasks_per_second(self) -> float | None:
        """Tasks a second; None before this attempt has ended one."""
        here = self.done - self.resumed
        return here / self.seconds if here and self.seconds else None

    @property
    def seconds_left(self) -> float | None:
        """Seconds until all are done, if they go on as those of this attempt did; None before it has ended one."""
        rate = self.tasks_per_second
        return (self.total - self.done) / rate if rate else None


def rate_words(throughput: Throughput) -> str:
    """Return a rate for a person: of samples where they are counted, else of tasks; nothing where none is known."""
    if throughput.samples_per_second:
        return f"{throughput.samples_per_second:,.0f} samples/s"
    tasks = throughput.tasks_per_second
    if not tasks:
        return ""
    return f"{tasks:,.1f}/s" if tasks >= 1 else f"{60 * tasks:,.1f}/min"


# What comes of a damaged object.
MADE_AGAIN = "it is made again"
# Of one that lies in the base.
COMPUTED_HERE = "this run computes it in its own folder"


def tell_damaged(
    events: EventLog, progress: Reporter, error: DamagedError, told: set[str], outcome: str = MADE_AGAIN
) -> None:
    """Record an object that is damaged or missing; say it, and what comes of it, in a line, unless it was `told`."""
    events.append("object_damaged", url=error.url, fault=error.fault)
    if error.url not in told:
        progress.say(f"{error.url}: {error.fault}; {outcome}")
    told.add(error.url)


@dataclass(slots=True)
class StageProgress:
    """Sums over the finished tasks of one stage; the callback of `run_tasks`."""

    stage: str
    total: int
    unit: str
    events: EventLog
    progress: Reporter
    done: int = 0
    resumed_tasks: int = 0
    resumed_samples: int = 0
    lost_tasks: int = 0
    peak_memory_bytes: int = 0
    sums: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    clock: Clock = CLOCK
    # URLs of damaged objects of which a person has been told
    said: set[str] = field(default_factory=set)
    started: float = field(init=False)
    began: float | None = None
    told: float = 0.0
    waits: str = ""

    def __post_init__(self) -> None:
        self.started = self.clock.monotonic()

    def resumed(self, records: Iterable[TaskRecord]) -> None:
        """Take in what an earlier attempt at the run has done."""
        for record in records:
            self._add(record)
        self.resumed_tasks, self.resumed_samples = self.done, self.sums["samples"]
        # Before the first task ends, which may take minutes, `status` is to know how many there are.
        if self.total > 1:
            self._tell()

    def finished(self, task: TaskSpec[Any], record: TaskRecord) -> None:
        """Take in a finished task."""
        self._add(record)
        self.waits = ""
        # Rates count from when the first task began: workers may take a minute to start, but only once.
        began = max(self.started, self.clock.monotonic() - record["seconds"])
        self.began = began if self.began is None else min(self.began, began)
        if self.done == self.total or self.clock.monotonic() - self.told >= EVENT_INTERVAL:
            self._tell()
        self.progress.advance(self.done, self.note())

    def waiting(self, what: str = "") -> None:
        """Say that it goes on, though nothing ended for a while, and what is waited for before a task can begin."""
        if not what or what != self.waits or self.clock.monotonic() - self.told >= QUIET_SECONDS:
            self.waits = what
            self._tell()
        if what:
            self.progress.wait(f"{self.done:,}/{self.total:,} {self.unit}, {what}" if self.done else what)
        else:
            self.progress.advance(self.done, self.note())

    def retried(self, task: TaskSpec[Any], cause: str) -> None:
        """Record that a task is started again, and why."""
        self.lost_tasks += 1
        self.events.append("task_retried", stage=self.stage, task=task.name, cause=cause)
        self._tell()

    def damaged(self, error: DamagedError) -> None:
        """Record that an object of a task that was done is damaged or missing: the task is run again."""
        tell_damaged(self.events, self.progress, error, self.said)

    def note(self) -> str:
        """Return what a person wants to know while it works: rate, time left, memory, what goes wrong."""
        throughput = self._throughput()
        parts = [rate_words(throughput)] if self.done < self.total or throughput.samples else []
        if throughput.seconds_left:
            parts.append(f"{duration(throughput.seconds_left)} left")
        parts += [f"{size(self.peak_memory_bytes)} a task at most"] if self.peak_memory_bytes else []
        parts += [f"{self.sums['quarantined']:,} quarantined"] if self.sums["quarantined"] else []
        parts += [f"{counted(self.sums['retries'], 'request')} repeated"] if self.sums["retries"] else []
        parts += [f"{counted(self.lost_tasks, 'task')} repeated"] if self.lost_tasks else []
        return ", ".join(filter(None, parts))

    def _throughput(self) -> Throughput:
        samples = self.sums["samples"] - self.resumed_samples
        since = self.started if self.began is None else self.began
        return Throughput(self.clock.monotonic() - since, self.done, self.total, self.resumed_tasks, samples)

    def _add(self, record: TaskRecord) -> None:
        self.sums.update({name: int(record[name]) for name in FROM_RECORD})
        for found in results_of(record):
            result = found if isinstance(found, dict) else {}
            self.done += 1
            self.sums.update({name: int(result[name]) for name in FROM_RESULT if isinstance(result.get(name), int)})
            self.reasons.update(result.get("quarantine_reasons") or {})
        self.peak_memory_bytes = max(self.peak_memory_bytes, record["peak_memory_bytes"])

    def _tell(self) -> None:
        self.told = self.clock.monotonic()
        numbers = {name: amount for name, amount in self.sums.items() if amount}
        self.events.append(
            "progress",
            stage=self.stage,
            done=self.done,
            total=self.total,
            unit=self.unit,
            seconds=round(self._throughput().seconds, 3),
            resumed_tasks=self.resumed_tasks,
            resumed_samples=self.resumed_samples,
            lost_tasks=self.lost_tasks,
            **({"waits": self.waits} if self.waits else {}),
            **numbers,
            **({"peak_memory_bytes": self.peak_memory_bytes} if self.peak_memory_bytes else {}),
            **({"quarantine_reasons": dict(self.reasons)} if self.reasons else {}),
        )
