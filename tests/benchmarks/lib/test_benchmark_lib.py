"""What the benchmarks share: tables, options, pool-like metadata, processes, the S3 in memory."""

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from passing import passed

from benchmarks.lib import pool_like, processes, runs
from benchmarks.lib.arguments import add_outputs, parser_of
from benchmarks.lib.browser import browser_path
from benchmarks.lib.contrastive import warm_cosine
from benchmarks.lib.fashion_mnist import images, labels
from benchmarks.lib.memory_s3 import memory_s3
from benchmarks.lib.tables import print_table, write_outputs
from filtering.config.input import Input
from filtering.shards.inventory import list_shards


def test_a_table_has_a_column_for_every_name_and_an_empty_cell_for_what_lacks(capsys):
    print_table(
        [{"search": "exact", "seconds": 1.23456, "rows": 12345}, {"search": "hnsw", "recall": None, "same": True}]
    )
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["search", "seconds", "rows", "recall", "same"]
    assert first.split() == ["exact", "1.235", "12,345"]
    assert second.split() == ["hnsw", "True"]


def test_figures_are_written_as_json_and_drawn(tmp_path):
    rows = [{"what": "one", "seconds": 0.5}, {"what": "one", "seconds": 2.0}, {"what": "no time"}]
    write_outputs(rows, str(tmp_path / "out.json"), str(tmp_path / "out.png"))
    assert json.loads((tmp_path / "out.json").read_text()) == rows
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


def test_a_plot_that_cannot_be_drawn_ends_before_anything_is_measured(monkeypatch):
    parser = parser_of("Something.\n\nMore.")
    add_outputs(parser)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="needs matplotlib"):
        parser.parse_args(["--plot", "out.png"])


def test_a_shard_of_a_pool_depends_on_the_seed_and_its_number_alone(tmp_path):
    pool_like.main(["--rows", "300", "--out", str(tmp_path / "two"), "--shard-rows", "200", "--dimension", "16"])
    pool_like.write_shard(str(tmp_path), pool_like.Mixture(300, 16, 0), 1, 100)
    (alone,) = tmp_path.glob("*.npz")
    same = tmp_path / "two" / alone.name
    assert same.read_bytes() == alone.read_bytes()
    assert pq.read_table(same.with_suffix(".parquet")).equals(pq.read_table(alone.with_suffix(".parquet")))
    assert len(list_shards(Input(metadata=str(tmp_path / "two")))) == 2


def test_a_pool_has_unit_vectors_with_a_long_tail_and_captions_that_fit(tmp_path):
    pool_like.write_pool(str(tmp_path), 2000, dimension=64)
    (npz,) = tmp_path.glob("*.npz")
    with np.load(npz) as arrays:
        found, texts = (arrays[name].astype(np.float32) for name in ("img", "txt"))
    assert np.abs(np.linalg.norm(found, axis=1) - 1).max() < 2e-3
    assert 0.2 < (found * texts).sum(axis=1).mean() < 0.35
    assert np.abs(found - pool_like.vectors(2000, 64)).max() < 1e-3


def test_the_memory_of_a_process_is_that_of_all_it_started():
    code = "import subprocess, sys; d = bytearray(60_000_000); sys.exit(subprocess.call(sys.argv[1:]))"
    hold = "import time; d = bytearray(b'x' * 80_000_000); print('held', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", code, sys.executable, "-c", hold]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        members = processes.family(process.pid)
        try:
            assert len(members) == 2
            assert 140e6 < processes.family_bytes(process.pid) < 400e6
        finally:
            for pid in members:
                os.kill(pid, 9)


def test_a_command_gives_its_json_and_its_memory():
    listed, memory = runs.filtering("methods")
    assert "d2" in {method["name"] for method in listed["methods"]}
    assert memory > 1e6


def test_a_command_that_fails_ends_the_benchmark(capfd):
    with pytest.raises(SystemExit, match="filtering verify ended with status 2"):
        runs.filtering("verify", "/nowhere")


def test_calls_in_other_processes_give_their_results():
    assert processes.apart(os.path.basename, "a/b") == "b"
    with pytest.raises(SystemExit, match="_exit failed"):
        processes.apart(os._exit, 3)
    assert sorted(processes.at_once(passed, [1, 2])) == [1.0, 2.0]


def test_the_s3_in_memory_lists_and_gives_ranges():
    with memory_s3() as endpoint:
        for key in ("a/one", "a/b/two", "c"):
            put = urllib.request.Request(f"{endpoint}/bucket/{key}", b"0123456789", method="PUT")
            urllib.request.urlopen(put).close()
        listed = urllib.request.urlopen(f"{endpoint}/bucket?list-type=2&prefix=a/&delimiter=/").read().decode()
        assert "<Key>a/one</Key><Size>10</Size>" in listed
        assert "<Prefix>a/b/</Prefix>" in listed
        asked = urllib.request.Request(f"{endpoint}/bucket/c", headers={"Range": "bytes=-3"})
        with urllib.request.urlopen(asked) as answer:
            assert (answer.status, answer.read()) == (206, b"789")


def test_fashion_mnist_is_read_with_its_classes(fashion_mnist):
    assert images(fashion_mnist, "train").shape == (1200, 28, 28)
    assert labels(fashion_mnist, "t10k").tolist() == [at % 10 for at in range(200)]
    with pytest.raises(SystemExit, match="apt-get install dataset-fashion-mnist"):
        images(Path("/nowhere"), "train")


def test_a_rate_warms_up_and_falls_to_zero():
    rates = [warm_cosine(step, 100, 10) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9]
    assert rates[100] == pytest.approx(0)


def test_a_browser_is_the_one_that_is_named(monkeypatch):
    monkeypatch.setenv("FILTERING_BROWSER", "/opt/browser")
    assert browser_path() == "/opt/browser"
    monkeypatch.delenv("FILTERING_BROWSER")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match="no browser"):
        browser_path()


@pytest.mark.ray
def test_a_ray_that_benchmarks_share_leaves_nothing_in_the_home(tmp_path):
    command = (
        "from benchmarks.lib.runs import start_ray; start_ray('local', 1); import ray; print(ray.cluster_resources())"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_A")}
    done = subprocess.run(
        [sys.executable, "-c", command], env={**environment, "HOME": str(tmp_path)}, capture_output=True, text=True
    )
    assert "'CPU': 1.0" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []
