"""How a run stands, from its events alone: works while it runs, after it died, and after the cluster is gone."""

import time
from typing import Any

from filtering.core.errors import InputError
from filtering.runtime.events import NAME, read_events
from filtering.runtime.throughput import Throughput
from filtering.storage.lease_record import writer
from filtering.storage.store import Store

# What `progress` says of a stage, as it is.
TOLD = (
    "unit",
    "samples",
    "quarantined",
    "quarantine_reasons",
    "retries",
    "lost_tasks",
    "read_bytes",
    "written_bytes",
    "peak_memory_bytes",
)


def status(run: Store) -> dict[str, Any]:
    """Return the state of a run.

    Parameters
    ----------
    run : Store
        The run's directory.

    Returns
    -------
    dict
        `state`: running, finished, failed, or stopped (killed, or cut off from its output: nobody holds its lease;
        the same command resumes it); `writer`, who runs it; `quiet_seconds` since its last event; `stages`: name,
        state, `tasks_done` of `tasks`, samples and quarantined so far with `quarantine_reasons`,
        `samples_per_second`, `tasks_per_second`, `seconds_left`, `peak_memory_bytes` of a task, `retries` (storage
        requests repeated), `lost_tasks` (tasks started again), bytes read and written; once done, seconds and
        summary; `totals` once the run is finished.

    Raises
    ------
    InputError
        If there is no run.
    """
    if not run.exists(NAME):
        raise InputError(f"{run.url}: holds no run (no {NAME})")
    events = _latest_attempt(read_events(run))
    stages: dict[str, dict[str, Any]] = {}
    result: dict[str, Any] = {"run": run.url, "state": "running", "stages": []}
    for event in events:
        _apply(event, stages, result)
    last = events[-1]["time"] if events else 0.0
    result["stages"] = list(stages.values())
    if result["state"] == "running":
        holder = writer(run)
        result |= {"writer": holder[0]} if holder else {"state": "stopped"}
    result["quiet_seconds"] = round(max(0.0, time.time() - last), 1)
    return result


def _latest_attempt(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    starts = [at for at, event in enumerate(events) if event["event"] == "run_started"]
    return events[starts[-1] :] if starts else events


def _apply(event: dict[str, Any], stages: dict[str, dict[str, Any]], result: dict[str, Any]) -> None:
    kind = event["event"]
    if kind == "stage_started":
        stages[event["stage"]] = {"name": event["stage"], "state": "running", "tasks_done": 0}
    elif kind == "progress":
        stages[event["stage"]] |= _progress(event)
    elif kind == "stage_finished":
        kept = {key: event[key] for key in ("seconds", "peak_memory_bytes", "summary")}
        told = {key: value for key, value in stages.get(event["stage"], {}).items() if key != "seconds_left"}
        state = "reused" if event.get("reused") else "done"
        stages[event["stage"]] = told | {"name": event["stage"], "state": state, **kept}
    elif kind == "run_finished":
        result["state"] = "finished"
        result["totals"] = {key: event[key] for key in ("input", "kept", "dropped", "quarantined")}
        result["manifest_hash"] = event["manifest_hash"]
    elif kind == "run_failed":
        result["state"], result["error"] = "failed", f"{event['error']}: {event['detail']}"


def _progress(event: dict[str, Any]) -> dict[str, Any]:
    found = {"tasks_done": event["done"], "tasks": event["total"]} | {key: event[key] for key in TOLD if key in event}
    samples = event.get("samples", 0) - event["resumed_samples"]
    throughput = Throughput(event["seconds"], event["done"], event["total"], event["resumed_tasks"], samples)
    for name, digits in (("samples_per_second", 1), ("tasks_per_second", 3), ("seconds_left", 1)):
        if (value := getattr(throughput, name)) is not None:
            found[name] = round(value, digits)
    return found
