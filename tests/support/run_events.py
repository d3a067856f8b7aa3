"""What a run's events.jsonl may hold."""

import json

from filtering.runtime.events import NAME
from filtering.storage.store import Store

STARTED = {"time": 10.0, "event": "run_started"}
STAGE = {"time": 11.0, "event": "stage_started", "stage": "embedding"}
PROGRESS = {
    "time": 12.0,
    "event": "progress",
    "stage": "embedding",
    "done": 30,
    "total": 100,
    "unit": "shards",
    "seconds": 20.0,
    "resumed_tasks": 20,
    "resumed_samples": 2000,
    "lost_tasks": 1,
    "samples": 3000,
    "quarantined": 7,
    "quarantine_reasons": {"image_undecodable": 5, "missing_caption": 2},
    "retries": 4,
    "read_bytes": 5_000_000,
}
DONE = {
    "time": 13.0,
    "event": "stage_finished",
    "stage": "embedding",
    "seconds": 2.0,
    "peak_memory_bytes": 100,
    "summary": {"rows": 5},
}
FINISHED = {
    "time": 14.0,
    "event": "run_finished",
    "input": 10,
    "kept": 3,
    "dropped": 6,
    "quarantined": 1,
    "manifest_hash": "abc",
}
FAILED = {"time": 14.0, "event": "run_failed", "error": "RunError", "detail": "a task kept dying"}
STOPPED = {"time": 14.0, "event": "run_stopped"}


def run_with(tmp_path, *events, rest=""):
    store = Store(str(tmp_path))
    store.write(NAME, ("".join(json.dumps(event) + "\n" for event in events) + rest).encode())
    return store
