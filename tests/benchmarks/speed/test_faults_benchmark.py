"""The benchmark of faults: one kill on a real cluster, one fault of storage without a Ray, and the table."""

import contextlib
import os
import signal
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from benchmarks.speed.faults import __main__ as faults
from benchmarks.speed.faults.bench import Bench, Cell, Missed

SMALL = ("--nodes", 1, "--calm-runs", 1, "--shards", 2, "--samples", 12)


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """The benchmark answers SIGTERM by itself."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_worker_costs_seconds_and_no_manifest(measured):
    cells, printed = measured(faults.main, "--faults", "worker", "actor", "--stages", "embedding", "graph", *SMALL)
    found = {(cell["fault"], cell["stage"]): cell for cell in cells}
    assert list(found) == [(fault, stage) for stage in ("embedding", "graph") for fault in ("worker", "actor")]
    assert found["actor", "graph"]["outcome"] == "none"
    assert {found[fault, "embedding"]["outcome"] for fault in ("worker", "actor")} == {"same"}
    assert found["worker", "embedding"]["detail"].startswith("worker ray::")
    assert printed.splitlines()[0] == "| stage | worker | actor |"
    assert "| embedding | same manifest, " in printed


@contextlib.contextmanager
def no_cluster(nodes: int, cpus: int, dashboard: bool, **environment: str) -> Iterator[SimpleNamespace]:
    """What a run needs of a cluster that takes its tasks itself."""
    yield SimpleNamespace(address="none", environment=os.environ | environment, nodes={})


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_store_that_fails_costs_no_manifest(measured, monkeypatch):
    monkeypatch.setattr(faults, "ray_cluster", no_cluster)
    (cell,), printed = measured(faults.main, "--faults", "s3-errors", *SMALL)
    assert (cell["fault"], cell["stage"], cell["outcome"]) == ("s3-errors", "whole run", "same")
    assert "SlowDown" in cell["detail"] or "InternalError" in cell["detail"]
    assert cell["seconds"] > 0
    assert "| whole run | same manifest, " in printed


def test_the_table_has_a_row_for_each_stage_and_says_what_went_wrong():
    cells = [
        Cell("worker", "graph", "same", "", 12.0, 1.5),
        Cell("node", "graph", "failed", "a | b"),
        Cell("actor", "report", "none", "no actor in this stage"),
    ]
    assert faults.table(cells).splitlines() == [
        "| stage | worker | node | actor |",
        "| --- | --- | --- | --- |",
        "| graph | same manifest, +1.5 s | **failed**: a / b |  |",
        "| report |  |  | no actor in this stage |",
    ]


def test_a_stage_that_is_over_too_soon_is_tried_again_and_then_missed(tmp_path, monkeypatch):
    cluster = SimpleNamespace(nodes={0: None}, add_nodes=lambda count: [])
    bench = Bench(cluster, tmp_path, "pool", lambda name: name, tasks={"graph": 1, "scores": 0}, nodes=1)
    tried = []

    def missed(self, fault, stage, victims):
        tried.append(stage)
        raise Missed

    monkeypatch.setattr(Bench, "_hash_after", missed)
    assert bench.cell("worker", "graph", 3).outcome == "missed"
    assert tried == ["graph"] * 3
    assert bench.cell("worker", "scores", 3).outcome == "none"
