"""What Prometheus sees of a run: counters and histograms that every process exports through Ray.

A name below is exported by Ray's agent on every node with the prefix `ray_`. A histogram's `_sum` is only an estimate,
because Ray forwards bucket counts: whatever must be exact has a counter.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric as it is declared to Ray."""

    help: str  # what Prometheus shows beside it
    tags: tuple[str, ...] = ()  # its labels, besides those that Ray adds (node, worker, session)
    boundaries: tuple[float, ...] = ()  # upper bounds of a histogram's buckets, in seconds; empty for a counter


# A batch takes milliseconds on a GPU and seconds on a CPU; a task seconds to an hour.
FORWARD_BOUNDARIES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
TASK_BOUNDARIES = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)

# Counters end with `_total` here already: then Ray exports exactly this name, and no gauge beside it.
METRICS: Mapping[str, Metric] = {
    "filtering_tasks_total": Metric("Tasks finished", ("stage",)),
    "filtering_task_duration_seconds": Metric("Seconds a task took", ("stage",), TASK_BOUNDARIES),
    "filtering_storage_retries_total": Metric("Storage requests tried again", ("stage",)),
    "filtering_read_bytes_total": Metric("Bytes read from storage", ("stage",)),
    "filtering_written_bytes_total": Metric("Bytes written to storage", ("stage",)),
    "filtering_samples_embedded_total": Metric("Samples whose embeddings were written"),
    "filtering_samples_quarantined_total": Metric("Samples quarantined", ("reason",)),
    "filtering_forward_samples_total": Metric("Samples that went through the model"),
    "filtering_forward_duration_seconds": Metric("Seconds the model took for a batch", (), FORWARD_BOUNDARIES),
    "filtering_forward_seconds_total": Metric("Seconds the model worked"),
    "filtering_decode_wait_seconds_total": Metric("Seconds the model waited for decoded samples"),
}


def task_finished(stage: str, seconds: float, retries: int, read_bytes: int, written_bytes: int) -> None:
    """Count a finished task, the storage requests that it repeated, and what it read and wrote."""
    _count("filtering_tasks_total", 1, stage=stage)
    _observe("filtering_task_duration_seconds", seconds, stage=stage)
    _count("filtering_storage_retries_total", retries, stage=stage)
    _count("filtering_read_bytes_total", read_bytes, stage=stage)
    _count("filtering_written_bytes_total", written_bytes, stage=stage)


def samples_embedded(count: int) -> None:
    """Count samples whose embeddings were written."""
    _count("filtering_samples_embedded_total", count)


def samples_quarantined(reasons: Mapping[str, int]) -> None:
    """Count quarantined samples by their reason."""
    for reason, count in reasons.items():
        _count("filtering_samples_quarantined_total", count, reason=reason)


def batch_embedded(samples: int, forward_seconds: float, waited_seconds: float) -> None:
    """Count a batch that went through the model, and how long the model had waited for it to be decoded."""
    _count("filtering_forward_samples_total", samples)
    _observe("filtering_forward_duration_seconds", forward_seconds)
    _count("filtering_forward_seconds_total", forward_seconds)
    _count("filtering_decode_wait_seconds_total", waited_seconds)


def _count(name: str, value: float, **tags: str) -> None:
    # Ray refuses to add 0.
    if value and _on_ray():
        _declared(name).inc(value, tags)


def _observe(name: str, seconds: float, **tags: str) -> None:
    if _on_ray():
        _declared(name).observe(seconds, tags)


def _on_ray() -> bool:
    # Ray takes seconds to import, and nothing is exported where no worker has done so.
    return "ray" in sys.modules and bool(sys.modules["ray"].is_initialized())


@cache
def _declared(name: str) -> Any:
    """Return this process's instance: once declared, a metric is registered for the life of the process."""
    from ray.util.metrics import Counter, Histogram

    metric = METRICS[name]
    if metric.boundaries:
        return Histogram(name, metric.help, list(metric.boundaries), metric.tags)
    return Counter(name, metric.help, metric.tags)
