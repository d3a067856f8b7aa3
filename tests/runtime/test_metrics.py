import time
import urllib.request
from unittest import mock

import pytest
import ray
from exported_metrics import exported_names
from prometheus_client.parser import text_string_to_metric_families

from filtering.runtime import metrics

REPORTED_WITHIN_SECONDS = 60.0
WORKERS_TRIED = 3


@ray.remote
class _Worker:
    """A process of its own, so that what it exports is nobody else's."""

    def work(self):
        with mock.patch("ray.is_initialized", return_value=False):
            metrics.task_finished("unheard", 1.0, retries=1, read_bytes=1, written_bytes=1)
        metrics.task_finished("graph", 3.5, retries=2, read_bytes=1000, written_bytes=10)
        metrics.task_finished("graph", 100.0, retries=0, read_bytes=0, written_bytes=10)
        metrics.samples_quarantined({"no_caption": 3, "image_undecodable": 0})
        metrics.batch_embedded(32, forward_seconds=0.25, waited_seconds=0.5)
        metrics.batch_embedded(8, forward_seconds=0.25, waited_seconds=0.0)
        metrics.samples_embedded(30)
        return ray.get_runtime_context().get_worker_id()

    def work_more(self):
        metrics.samples_embedded(7)


@pytest.fixture(scope="module")
def series(cluster):
    """What Prometheus scrapes of one worker that worked for nobody else, by name and labels of our own."""
    _wait_for_agent()
    for _ in range(WORKERS_TRIED):
        worker = _Worker.remote()
        name = ray.get(worker.work.remote())
        if _scraped_with(name, embedded=30) is None:
            # It exports nothing for as long as it lives if the agent did not answer when it started.
            continue
        # A report may be drawn up while the worker counts, and then holds only a part. One that holds what was
        # counted after an earlier report had arrived was drawn up after everything else.
        ray.get(worker.work_more.remote())
        scraped = _scraped_with(name, embedded=37)
        assert scraped is not None, "the worker reported once and never again"
        return scraped
    raise AssertionError(f"none of {WORKERS_TRIED} workers reported its samples")


def _wait_for_agent():
    """Ray does not wait for its agents, which answer a while later."""
    deadline = time.monotonic() + REPORTED_WITHIN_SECONDS
    while True:
        try:
            _scraped("none")
        except OSError:
            assert time.monotonic() < deadline, "the agent that tells the metrics never answered"
            time.sleep(0.5)
        else:
            return


def _scraped_with(worker, embedded):
    """What the worker reported once it has counted so many samples; None if it does not report."""
    deadline = time.monotonic() + REPORTED_WITHIN_SECONDS
    while time.monotonic() < deadline:
        scraped = _scraped(worker)
        # The agent takes a report in metric by metric: only a scrape that changes no more has seen the whole of it.
        settled = scraped.get(("ray_filtering_samples_embedded_total", frozenset())) == embedded
        time.sleep(0.5)
        if settled and _scraped(worker) == scraped:
            return scraped
    return None


def _scraped(worker):
    port = ray.nodes()[0]["MetricsExportPort"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    return {
        (sample.name, _own(sample.labels)): sample.value
        for family in families
        for sample in family.samples
        if sample.labels.get("WorkerId") == worker and sample.name.startswith("ray_filtering_")
    }


def _own(labels):
    return frozenset(item for item in labels.items() if item[0] in {"stage", "reason", "le"})


def _value(series, name, **labels):
    return series[name, frozenset(labels.items())]


@pytest.mark.parametrize(
    ("name", "value"),
    [("tasks_total", 2), ("storage_retries_total", 2), ("read_bytes_total", 1000), ("written_bytes_total", 20)],
)
def test_tasks_are_counted_by_stage(series, name, value):
    assert _value(series, f"ray_filtering_{name}", stage="graph") == value


def test_the_seconds_of_tasks_fall_into_buckets_by_stage(series):
    buckets = "ray_filtering_task_duration_seconds_bucket"
    assert [_value(series, buckets, stage="graph", le=le) for le in ("2.0", "5.0", "120.0", "+Inf")] == [0, 1, 2, 2]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("samples_embedded_total", 37),
        ("forward_samples_total", 40),
        ("forward_seconds_total", 0.5),
        ("decode_wait_seconds_total", 0.5),
        ("forward_duration_seconds_count", 2),
    ],
)
def test_batches_and_samples_are_counted(series, name, value):
    assert _value(series, f"ray_filtering_{name}") == value


def test_samples_are_quarantined_by_reason_and_a_reason_without_any_is_not_exported(series):
    reasons = {labels for name, labels in series if name == "ray_filtering_samples_quarantined_total"}
    assert reasons == {frozenset({("reason", "no_caption")})}
    assert _value(series, "ray_filtering_samples_quarantined_total", reason="no_caption") == 3


def test_nothing_is_counted_while_ray_is_not_initialised(series):
    assert {value for _, labels in series for key, value in labels if key == "stage"} == {"graph"}


def test_the_declared_names_are_the_exported_ones(series):
    assert {name for name, _ in series} == exported_names()
