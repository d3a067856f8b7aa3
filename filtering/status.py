"""How a run stands, from its events alone: works while it runs, after it died, and after the cluster is gone."""

import time
from typing import Any

from filtering.errors import InputError
from filtering.events import NAME, read_events
from filtering.storage import Store


def status(run: Store) -> dict[str, Any]:
    """Return the state of a run.

    Returns
    -------
    dict
        `state`: running, finished or failed (a run whose last event is old may have been killed:
        see `quiet_seconds`); `stages`: name, state, tasks done, seconds, summary; `totals` once finished.

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
    result["quiet_seconds"] = round(max(0.0, time.time() - last), 1)
    return result


def _latest_attempt(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    starts = [at for at, event in enumerate(events) if event["event"] == "run_started"]
    return events[starts[-1] :] if starts else events


def _apply(event: dict[str, Any], stages: dict[str, dict[str, Any]], result: dict[str, Any]) -> None:
    kind = event["event"]
    if kind == "stage_started":
        stages[event["stage"]] = {"name": event["stage"], "state": "running", "tasks_done": 0}
    elif kind == "task_finished":
        stages[event["stage"]]["tasks_done"] = event["done"]
    elif kind == "stage_finished":
        state = "reused" if event.get("reused") else "done"
        kept = {key: event[key] for key in ("seconds", "peak_memory_bytes", "summary")}
        stages[event["stage"]] = {"name": event["stage"], "state": state, **kept}
    elif kind == "run_finished":
        result["state"] = "finished"
        result["totals"] = {key: event[key] for key in ("input", "kept", "dropped", "quarantined")}
        result["manifest_hash"] = event["manifest_hash"]
    elif kind == "run_failed":
        result["state"], result["error"] = "failed", f"{event['error']}: {event['detail']}"
