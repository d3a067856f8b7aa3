"""The state of a run from its events alone: while it runs, after it died, and after the cluster is gone."""

import time
from typing import TypedDict, cast

from filtering.core.errors import InputError
from filtering.runtime.events import NAME, checked, read_events
from filtering.runtime.records import JsonObject
from filtering.runtime.stage_progress import Throughput
from filtering.storage.lease_record import writer
from filtering.storage.store import Store


class TaskSums(TypedDict, total=False):
    """What the events of a stage at work say of it, under the same names."""

    unit: str  # what a task stands for, such as "shards"
    waits: str  # what has to be there before a task can be worked on
    samples: int
    quarantined: int
    quarantine_reasons: dict[str, int]
    retries: int  # storage requests repeated
    lost_tasks: int  # tasks started again
    read_bytes: int
    written_bytes: int
    peak_memory_bytes: int  # of a task


class StageStatus(TaskSums, total=False):
    """A stage: running, done or reused (an earlier attempt had finished it); what is not known has no key."""

    name: str
    state: str
    tasks_done: int
    tasks: int
    samples_per_second: float
    tasks_per_second: float
    seconds_left: float
    seconds: float  # like the summary, once it is done
    summary: str


class RunStatus(TypedDict, total=False):
    """A run: running, finished, failed, or stopped; what is not known has no key.

    It has stopped if somebody stopped it (Ctrl-C, SIGTERM), or if it was killed or cut off from its output, so that
    nobody holds its lease: the same command resumes it.
    """

    run: str
    state: str
    stages: list[StageStatus]
    totals: dict[str, int]  # samples by outcome; like the hash, once it is finished
    manifest_hash: str
    error: str
    writer: str  # who runs it
    quiet_seconds: float  # since its last event


def status(run: Store) -> RunStatus:
    """Return the state of a run.

    Parameters
    ----------
    run : Store
        The run's directory.

    Returns
    -------
    RunStatus
        A dictionary: the state of the run and of its stages, as of its last event.

    Raises
    ------
    InputError
        If there is no run.
    """
    if not run.exists(NAME):
        raise InputError(f"{run.url}: holds no run (no {NAME})")
    events = _latest_attempt(read_events(run))
    stages: dict[str, StageStatus] = {}
    result = RunStatus(run=run.url, state="running", stages=[])
    for event in events:
        _apply(checked(event, run.path(NAME)), stages, result)
    result["stages"] = list(stages.values())
    if result["state"] == "running":
        holder = writer(run)
        result.update(RunStatus(writer=holder[0]) if holder else RunStatus(state="stopped"))
    if result["state"] != "running":
        # Whatever a stage waited for, nobody waits for it any more.
        for stage in stages.values():
            stage.pop("waits", None)
    result["quiet_seconds"] = round(max(0.0, time.time() - (events[-1]["time"] if events else 0.0)), 1)
    return result


def _latest_attempt(events: list[JsonObject]) -> list[JsonObject]:
    starts = [at for at, event in enumerate(events) if event["event"] == "run_started"]
    return events[starts[-1] :] if starts else events


def _apply(event: JsonObject, stages: dict[str, StageStatus], result: RunStatus) -> None:
    kind, name = event["event"], event.get("stage", "")
    place = _place(event, stages)
    if kind == "stage_started":
        stages[place] = StageStatus(name=name, state="running", tasks_done=0)
    elif kind == "progress":
        stage = stages.setdefault(place, StageStatus(name=name, state="running"))
        stage.pop("waits", None)
        stage.update(_progress(event))
    elif kind == "stage_finished":
        stage = stages.setdefault(place, StageStatus(name=name))
        for past in ("seconds_left", "waits"):
            stage.pop(past, None)  # type: ignore[misc]
        stage["state"] = "reused" if event.get("reused") else "done"
        stage["seconds"], stage["peak_memory_bytes"] = event["seconds"], event["peak_memory_bytes"]
        stage["summary"] = event["summary"]
    elif kind == "run_finished":
        result["state"] = "finished"
        result["totals"] = {key: event[key] for key in ("input", "kept", "dropped", "quarantined")}
        result["manifest_hash"] = event["manifest_hash"]
    elif kind == "run_failed":
        result["state"], result["error"] = "failed", f"{event['error']}: {event['detail']}"
    elif kind == "run_stopped":
        result["state"] = "stopped"


def _place(event: JsonObject, stages: dict[str, StageStatus]) -> str:
    """Return what tells the stage of an event from others of its name: a run has a stage for each score."""
    if "fingerprint" in event:
        return str(event["fingerprint"])
    # Progress belongs to the stage of its name that is at work.
    name = str(event.get("stage", ""))
    named = [place for place, stage in stages.items() if stage["name"] == name]
    return ([place for place in named if stages[place]["state"] == "running"] or named or [name])[-1]


def _progress(event: JsonObject) -> StageStatus:
    told = {key: event[key] for key in TaskSums.__annotations__ if key in event}
    samples = event.get("samples", 0) - event["resumed_samples"]
    throughput = Throughput(event["seconds"], event["done"], event["total"], event["resumed_tasks"], samples)
    for name, digits in (("samples_per_second", 1), ("tasks_per_second", 3), ("seconds_left", 1)):
        if (value := getattr(throughput, name)) is not None:
            told[name] = round(value, digits)
    return cast(StageStatus, {"tasks_done": event["done"], "tasks": event["total"]} | told)
