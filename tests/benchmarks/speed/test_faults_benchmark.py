"""The benchmark of faults: one kill on a real cluster, and the table."""

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
    (cell,), printed = measured(faults.main, "--faults", "worker", "--stages", "embedding", *SMALL)
    assert (cell["fault"], cell["stage"], cell["outcome"]) == ("worker", "embedding", "same")
    assert cell["detail"].startswith("worker ray::")
    assert printed.splitlines()[0] == "| stage | worker |"
    assert "| embedding | same manifest, " in printed


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
