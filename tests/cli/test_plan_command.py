import io
import json

import pytest
from planned_stages import STAGES
from pools import metadata_config
from processes import write_config
from rich.console import Console

from filtering.cli import main
from filtering.cli.drawing import plain_lines
from filtering.cli.plan import PlanView
from filtering.planning.costs import Speed
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
        "driver_bytes": 250_000_000,
        "gpu_hours": 0.0, "gpus": 0, "price": price, "stages": stages, "base": None,
        "bottleneck": bottleneck(stages, allowed), "probe": {"device": ""}, "warnings": [],
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


def test_a_driver_that_holds_much_is_told():
    shards = {"shards": 1_000_000, "driver_bytes": 8_250_000_000}
    assert "the driver holds 8.25 GB for 1,000,000 shards" in planned(found(*STAGES) | shards, "cpu")
    assert "the driver" not in "\n".join(planned(found(*STAGES), "cpu"))


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


def test_hours_of_gpus_are_beside_those_of_cpus_and_prices_have_their_unit():
    costly = [dict(one, price=12.5, gpu_seconds=3600.0) for one in STAGES]
    told = planned(found(*costly, price=25.0) | {"gpus": 8, "gpu_hours": 2.0}, "cuda")
    assert any("GPU time" in line for line in told)
    (total,) = (line for line in told if line.startswith("about"))
    assert "on 2 CPUs and 8 GPUs, 0.05 CPU hours, 2.00 GPU hours" in total
    assert total.endswith("25.00 in total (in the currency of the prices of an hour)")


def test_where_no_gpu_was_measured_it_says_how_to_plan_for_one():
    here = {"device": "cpu", "samples": 4, "decode_seconds": 0.002, "forward_seconds": 2.0}
    told = PlanView(found(*STAGES) | {"probe": here}, "auto")
    assert plain_lines(told)[-1] == (
        "measured on one thread with 4 samples: 2.0 ms to decode one, 2000.0 ms to embed it on cpu; for the hours of a "
        "GPU, plan on a machine with one, or give --gpu-rate"
    )
    assert plain_lines(PlanView(told.found, "auto", 2000.0))[-1] == (
        "measured on one thread with 4 samples: 2.0 ms to decode one; a GPU embeds 2,000 samples a second, as "
        "--gpu-rate says"
    )


def test_several_sizes_are_one_table_with_units(metadata_pool, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("filtering.planning.plan.speed", lambda dimension, cpus: Speed(1e-9))
    config = write_config(tmp_path / "run.yaml", metadata_config(metadata_pool, tmp_path / "run"))
    given = ["plan", "--config", config, "--rows", "12.8e6", "128e6", "--cpus", "64", "--cpu-hour", "0.04"]
    assert main(given) == 0
    header, first, second, _, money = capsys.readouterr().out.splitlines()
    assert header.split()[:1] == ["samples"]
    assert "on 64 CPUs" in header
    assert all(title in header for title in ("CPU hours", "GPU hours", "on disk", "shuffled", "cost"))
    assert (first.split()[:2], second.split()[:2]) == (["12,800,000", "3,840,000"], ["128,000,000", "38,400,000"])
    assert money == "cost: in the currency of the prices of an hour"
    assert main([*given, "--json"]) == 0
    assert [one["rows"] for one in json.loads(capsys.readouterr().out)["plans"]] == [12_800_000, 128_000_000]


@pytest.mark.parametrize("rate", ["0", "-1", "inf", "nan"])
def test_a_rate_of_a_gpu_is_above_nothing(rate, capsys):
    with pytest.raises(SystemExit):
        main(["plan", "--config", "run.yaml", "--gpu-rate", rate])
    assert f"{rate} is not a number above 0" in capsys.readouterr().err
