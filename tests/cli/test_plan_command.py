import io

import pytest
from planned_stages import STAGES
from pools import metadata_config
from processes import write_config
from rich.console import Console

from filtering.cli import main
from filtering.cli.drawing import plain_lines
from filtering.cli.plan import PlanView
from filtering.planning.projection import bottleneck


@pytest.mark.slow
def test_the_table_names_every_stage(metadata_pool, tmp_path, capsys):
    config = write_config(tmp_path / "run.yaml", metadata_config(metadata_pool, tmp_path / "run"))
    assert main(["plan", "--config", config]) == 0
    told = capsys.readouterr().out
    assert all(stage in told for stage in ("embedding", "concepts", "graph", "selection", "manifests"))
    # No terminal, no colours, nor anything that a file of another encoding could not hold.
    assert "\x1b" not in told
    assert told.isascii()


def found(*stages, allowed=4_000_000_000, price=None):
    return {
        "rows": 1000, "shards": 8, "input_bytes": 51_600_000, "concepts": 20, "selection": [], "keep": 300, "cpus": 2,
        "selection_warnings": [], "passing": None,
        "memory_per_worker_bytes": 4_000_000_000, "disk_bytes": 10_000_000, "seconds": 100, "cpu_hours": 0.05,
        "gpu_hours": 0.0, "price": price, "stages": stages, "bottleneck": bottleneck(stages, allowed), "base": None,
        "probe": {"device": ""}, "warnings": [],
    }  # fmt: skip


def planned(found, device):
    return plain_lines(PlanView(found, device))


def test_the_bottleneck_is_marked():
    lines = planned(found(*STAGES), "cpu")
    (graph,) = (line for line in lines if line.startswith("graph"))
    assert graph.split()[1:6] == ["1", "min", "15", "s", "<"]
    assert "75%" in graph
    assert "#########" in graph
    assert "< most of the time: graph, 75% (1 min 15 s)" in lines
    assert "< most memory: embedding, 1.00 GB a task, 25% of the 4.00 GB allowed for a worker" in lines


def test_what_the_method_auto_stands_for_is_told():
    words = "selection: the method auto is d2 with score right"
    assert words in planned(found(*STAGES) | {"selection": [words]}, "cpu")


def test_warnings_of_sizes_are_told():
    assert "warning: much" in planned(found(*STAGES) | {"selection_warnings": ["much"]}, "cpu")


def test_of_other_machines_nobody_knows_what_a_worker_may_have():
    told = "\n".join(planned(found(*STAGES, allowed=None), "cpu"))
    assert "for a worker" not in told
    assert "allowed" not in told


def test_what_costs_nothing_has_no_column_of_costs():
    assert "cost" not in "\n".join(planned(found(*STAGES), "cpu"))
    costly = [dict(one, price=12.5) for one in STAGES]
    assert "12.50" in "\n".join(planned(found(*costly, price=25.0), "cpu"))


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


def test_rows_must_be_a_number(refused):
    assert "--rows: many is not a number" in refused("plan", "--config", "run.yaml", "--rows", "many")


def test_what_passes_the_filters_is_told():
    told = " ".join(plain_lines(PlanView(found(*STAGES) | {"passing": 900}, "cpu")))
    assert "about 900 pass the filters, " in told
