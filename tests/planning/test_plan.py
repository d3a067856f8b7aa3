import io
from itertools import pairwise

import pytest
from pools import metadata_config, tar_config
from processes import write_config
from rich.console import Console

from filtering.cli import main
from filtering.cli.plan_view import PlanView, plan_lines
from filtering.config.run import parse_config
from filtering.core.errors import InputError
from filtering.pipeline.run import check
from filtering.planning.plan import Question, bottleneck, plan


def planned(config):
    parsed = parse_config(config)
    return plan(parsed, check(parsed))


def test_metadata_is_counted_exactly_and_nothing_is_written(metadata_pool, tmp_path):
    found = planned(metadata_config(metadata_pool, tmp_path / "run"))
    assert (found["rows"], found["dimension"], found["concepts"], found["keep"]) == (1100, 32, 12, 330)
    assert found["hours"] > 0
    assert found["disk_bytes"] > 0
    assert found["bottleneck"] == bottleneck(found["stages"], found["memory_per_worker_bytes"])
    assert not (tmp_path / "run").exists()


def test_tars_are_counted_from_their_bytes_where_there_are_no_statistics(tar_pool, tmp_path):
    found = planned(tar_config(tar_pool, tmp_path / "run"))
    assert abs(found["rows"] - 60) <= 3
    assert found["dimension"] == 128


def test_what_cannot_fit_is_refused_with_its_numbers(metadata_pool, tmp_path):
    config = metadata_config(metadata_pool, tmp_path / "run", ray={"num_cpus": 100_000})
    with pytest.raises(InputError, match=r"stage \w+ needs [\d.]+ GB a task, but 100000 workers share"):
        planned(config)


def test_the_table_names_every_stage(metadata_pool, tmp_path, capsys):
    config = write_config(tmp_path / "run.yaml", metadata_config(metadata_pool, tmp_path / "run"))
    assert main(["plan", "--config", config]) == 0
    told = capsys.readouterr().out
    assert all(stage in told for stage in ("embedding", "concepts", "graph", "selection", "manifests"))
    # No terminal, no colours, nor anything that a file of another encoding could not hold.
    assert "\x1b" not in told
    assert told.isascii()


def stage(name, seconds, memory, price=None):
    sizes = {"disk_bytes": 5_000_000, "shuffle_bytes": 0, "memory_per_task_bytes": memory}
    return {"name": name, "seconds": seconds, "cpu_seconds": 2 * seconds, "price": price, **sizes}


def found(*stages, allowed=4_000_000_000, price=None):
    return {
        "rows": 1000, "shards": 8, "input_bytes": 51_600_000, "concepts": 20, "keep": 300, "cpus": 2,
        "memory_per_worker_bytes": 4_000_000_000, "disk_bytes": 10_000_000, "seconds": 100, "cpu_hours": 0.05,
        "gpu_hours": 0.0, "price": price, "stages": stages, "bottleneck": bottleneck(stages, allowed), "base": None,
        "probe": {"device": ""},
    }  # fmt: skip


STAGES = (stage("embedding", 25.0, 1_000_000_000), stage("graph", 75.0, 500_000_000))


def test_the_bottleneck_is_what_takes_most_time_and_what_takes_most_memory():
    assert bottleneck(STAGES, 4_000_000_000) == {
        "time": {"stage": "graph", "seconds": 75.0, "share": 0.75},
        "memory": {"stage": "embedding", "bytes": 1_000_000_000, "share": 0.25},
    }


def test_the_bottleneck_is_marked():
    lines = plan_lines(found(*STAGES), "cpu")
    (graph,) = (line for line in lines if line.startswith("graph"))
    assert graph.split()[1:6] == ["1", "min", "15", "s", "<"]
    assert "75%" in graph
    assert "#########" in graph
    assert "< most of the time: graph, 75% (1 min 15 s)" in lines
    assert "< most memory: embedding, 1.00 GB a task, 25% of the 4.00 GB that a worker may have" in lines


def test_of_other_machines_nobody_knows_what_a_worker_may_have():
    told = "\n".join(plan_lines(found(*STAGES, allowed=None), "cpu"))
    assert "may have" not in told
    assert "allowed" not in told


def test_what_costs_nothing_has_no_column_of_costs():
    assert "cost" not in "\n".join(plan_lines(found(*STAGES), "cpu"))
    costly = [dict(one, price=12.5) for one in STAGES]
    assert "12.50" in "\n".join(plan_lines(found(*costly, price=25.0), "cpu"))


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_a_terminal_of_any_width_shows_every_number(width):
    file = io.StringIO()
    costly = [dict(one, price=1234.5) for one in STAGES]
    Console(file=file, width=width, highlight=False).print(PlanView(found(*costly, price=2469.0), "cpu"))
    told = file.getvalue()
    assert max(map(len, told.splitlines())) <= width
    for number in ("1 min 15 s", "2 min 30 s", "75%", "1.00 GB", "25%", "500 MB", "5.00 MB", "1,234.50", "0 B"):
        assert number in told, number
    assert "…" not in told


def test_projections_grow_with_the_pool_and_not_with_its_square(metadata_pool, tmp_path, monkeypatch):
    # What other work on the machine does to a probe must not decide.
    monkeypatch.setattr("filtering.planning.plan.pair_seconds", lambda dimension, cpus: 1e-9)
    config = parse_config(metadata_config(metadata_pool, tmp_path / "run", concepts={}))
    shards = check(config)
    found = [plan(config, shards, Question(rows=10**power, cpus=100, cpu_hour=4)) for power in (7, 8, 9, 10)]
    for small, large in pairwise(found):
        # Assignment through two levels grows by the square root of the concepts, all else by rows.
        assert 8 < large["cpu_hours"] / small["cpu_hours"] < 32
        assert 9 < large["shuffle_bytes"] / small["shuffle_bytes"] < 11
        assert large["price"] > 8 * small["price"]
    searches = [next(stage for stage in plan["stages"] if stage["name"] == "graph") for plan in found]
    assert len({stage["memory_per_task_bytes"] for stage in searches}) == 1


def test_what_is_not_configured_costs_nothing(metadata_pool, tmp_path):
    config = parse_config(metadata_config(metadata_pool, tmp_path / "run"))
    found = plan(config, check(config), Question(rows=10**6, cpus=2))
    assert found["price"] is None
    # A projection is of other machines.
    assert found["bottleneck"]["memory"]["share"] is None
    assert found["gpu_hours"] == 0
    assert found["seconds"] >= sum(stage["seconds"] for stage in found["stages"])
