"""Benchmarks of whole runs over pool-like metadata, each without a Ray."""

import pytest

from benchmarks.speed import incremental, many_shards, methods, report, resume, scale
from filtering.config.run import parse_config

pytestmark = pytest.mark.usefixtures("in_process")
STAGES = {"embedding", "concepts", "partitions", "graph", "scores", "selection", "measures", "manifests", "report"}


@pytest.mark.slow
def test_scale_gives_each_size_its_cost_and_their_growth(measured, tmp_path):
    options = ("--rows", 1000, 400, "--folder", tmp_path, "--address", "none", "--plot", tmp_path / "out.png")
    totals, printed = measured(scale.main, *options)
    assert [row["rows"] for row in totals] == [400, 1000]
    for row in totals:
        assert row["seconds"] > 0
        assert row["planned / measured"] == pytest.approx(row["planned"] / row["seconds"], rel=0.2, abs=0.02)
        assert row["peak GB"] == 1.5
        assert 0.9 < row["recall"] <= 1
        assert 0 <= row["replicas"] < 16
        assert 0 < row["distances / N^2"] <= 1
    assert {line.split()[0] for line in printed.splitlines() if line} >= STAGES
    assert "planned GB" in printed
    assert printed.splitlines()[-1].split()[:2] == ["400", "1,000"]
    assert (tmp_path / "out.png").stat().st_size > 0


@pytest.mark.slow
def test_a_report_is_made_again_alone(measured, tmp_path):
    options = ("--rows", 500, "--folder", tmp_path, "--clusters", 4, "--no-browser", "--address", "none")
    (row,), _ = measured(report.main, *options)
    assert (row["rows"], row["concepts"]) == (500, 4)
    assert 0 < row["of the run"] < 1
    assert row["seconds"] > 0
    assert row["alone"] > 0
    assert 0.05 < row["page MB"] < 15
    assert {row[f"{what} in s"] for what in ("loaded", "sorted", "searched")} == {None}


@pytest.mark.slow
def test_methods_are_charged_for_their_scores_and_their_selection(measured, tmp_path):
    names = ["random", "top", "ccs", "top by ranks of two scores", "d2, budget hierarchical"]
    rows, printed = measured(methods.main, "--folder", tmp_path, "--rows", 600, "--address", "none", "--only", *names)
    assert [row["method"] for row in rows] == names
    assert {row["kept"] for row in rows} == {180}
    for row in rows:
        assert row["seconds"] == pytest.approx(row["scores s"] + row["selection s"], abs=0.02)
        assert 0 < row["coverage"] < 2
        assert 0 < row["at random"] < 2
        assert row["concepts in effect"] >= 1
    assert rows[0]["coverage"] == pytest.approx(rows[0]["at random"], rel=0.2)
    assert "ranks of two scores" in printed


@pytest.mark.parametrize("name", methods.SELECTIONS)
def test_every_method_of_the_benchmark_is_a_valid_selection(name):
    config = {
        "input": {"shards": "pool"},
        "output": "run",
        "selection": {"keep": 0.3} | methods.SELECTIONS[name],
    }
    assert parse_config(config).selection is not None


@pytest.mark.slow
def test_incremental_runs_give_the_manifest_of_the_whole_pool(measured, tmp_path):
    options = ("--rows", 600, "--shards", 6, "--pools", "metadata", "--address", "none")
    rows, _ = measured(incremental.main, "--folder", tmp_path, *options)
    assert [row["change"] for row in rows] == [
        "nothing new",
        "1 of 5 shards new",
        "1 of 5 shards new",
        "a removed shard",
        "a replaced shard",
        "a new shard of few concepts",
    ]
    assert [row["samples"] for row in rows] == [300, 400, 500, 400, 400, 410]
    for row in rows:
        assert row["same manifest"] is True
        assert row["share"] == pytest.approx(row["seconds"] / row["whole pool"], rel=0.5, abs=0.1)
        assert row["recall"] > 0.9
        assert row["recall whole"] > 0.9
    assert not list((tmp_path / "metadata/whole").iterdir())


@pytest.mark.slow
def test_one_manifest_whatever_happens(measured, tmp_path):
    options = ("--rows", 2000, "--stages", "graph", "--working", 0, "--address", "none")
    rows, _ = measured(resume.main, "--folder", tmp_path, *options)
    assert [row["run"] for row in rows] == ["2 workers", "1 worker", "killed in graph, then again"]
    assert {row["kept"] for row in rows} == {600}
    assert len({row["manifest"] for row in rows}) == 1
    assert all(row["seconds"] > 0 for row in rows)


@pytest.mark.slow
def test_a_resumed_run_over_small_shards_is_timed(measured):
    found, _ = measured(many_shards.main, "--shards", 30, "--rows", 2, "--latency", 0.001)
    (row,) = found["runs"]
    assert row["shards"] == 30
    assert row["requests of the first run a shard"] > 10
    assert 20 < row["requests"] < 1000
    assert {"first", "resumed"} == {one["run"] for one in found["requests"]}
