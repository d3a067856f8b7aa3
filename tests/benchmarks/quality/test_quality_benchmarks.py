"""The research harnesses on small pools: what they keep, train and print."""

import json
import re

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.quality import agreement
from benchmarks.quality.coreset.__main__ import main as coreset
from benchmarks.quality.coreset.data import Source, clothes_of
from benchmarks.quality.coreset.methods import METHODS
from benchmarks.quality.coreset.trainings import Bench, Training
from benchmarks.quality.demo_clip.__main__ import main as demo_clip
from benchmarks.quality.pool import messages
from benchmarks.quality.pool.__main__ import main as pool
from benchmarks.quality.pool.filters import all_filters
from filtering.config.run import parse_config

pytestmark = pytest.mark.slow


def test_the_run_agrees_with_one_d2_more_than_a_draw_does_and_more_with_exchanges(measured):
    options = ("--rows", 1200, "--keep", 0.3, "--exchanges", 4, "--repeats", 1, "--address", "none")
    rows, _ = measured(agreement.main, *options)
    found = {row["selection"]: row for row in rows}
    assert list(found) == [
        "one D2, exact graph",
        "one D2, the run's graph",
        "one D2, the run's graph and budgets",
        "the run, d2",
        "4 exchanges, budget proportional",
        "4 exchanges, budget pool",
        "the run, random",
    ]
    assert {row["picks"] for row in rows} == {360}
    assert found["one D2, exact graph"]["one D2"] == 1
    assert found["the run, random"]["one D2"] < found["the run, d2"]["one D2"] < 1
    assert found["the run, d2"]["on its graph"] < 0.8 < found["4 exchanges, budget pool"]["on its graph"] <= 1
    quotas = "with its budgets"
    assert found["the run, d2"][quotas] < 0.8 < found["4 exchanges, budget proportional"][quotas] <= 1
    assert all(0 < row["coverage"] < 2 for row in rows)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("pool")


FILTERS = ["no filter", "random", "clip score", "d2, uniform"]
POOL = ("--scale", 0.02, "--judge-steps", 3, "--steps", 4, "--seeds", 2, "--address", "none")


def test_a_small_datacomp_is_built_filtered_trained_and_examined(measured, work, fashion_mnist, tmp_path):
    options = ("--work", work, "--fashion-mnist", fashion_mnist, *POOL, "--only", *FILTERS)
    rows, printed = measured(pool, *options, "--plot", tmp_path / "out.png")
    assert {row["filter"] for row in rows} == set(FILTERS)
    found, count = {row["filter"]: row for row in rows}, len(pq.read_table(work / "truth.parquet"))
    assert 0.015 * 24_003 < count < 0.025 * 24_003
    assert found["no filter"]["kept"] == count
    assert {found[name]["kept"] for name in FILTERS[1:]} == {round(0.3 * count)}
    for row in rows:
        assert row["seeds"] == 2
        assert 0 <= float(row["mean"].split(" ± ")[0]) <= 100
        assert 0 <= row["swapped %"] <= 100
        assert row["peak MB"] > 50
    assert found["random"]["over random"] == "0.0 ± 0.0"
    assert found["no filter"]["swapped %"] == pytest.approx(28, abs=8)
    assert "over no filter" in printed
    assert (tmp_path / "out.png").stat().st_size > 0
    lines = (work / "results.jsonl").read_text()
    again, _ = measured(pool, *options, "--table", "--examine", "validation")
    assert (work / "results.jsonl").read_text() == lines
    assert len(again) == 4


def test_messages_over_the_graph_of_images_change_the_score(work, capsys):
    assert messages.main(["--work", str(work)]) == 0
    first, *gammas = capsys.readouterr().out.splitlines()
    assert first.startswith("median squared distance ")
    assert [line.split(":")[0] for line in gammas] == [f"gamma {gamma:g}" for gamma in messages.GAMMAS]
    areas = [float(word) for line in (first, *gammas) for word in re.findall(r"\d+\.\d+", line)]
    assert all(0 <= area <= 2 for area in areas)


def test_a_filter_that_the_list_has_not_is_refused(work, fashion_mnist):
    with pytest.raises(SystemExit, match="has no best of all"):
        pool(["--work", str(work), "--fashion-mnist", str(fashion_mnist), "--only", "best of all"])


@pytest.mark.parametrize("chosen", all_filters(), ids=lambda chosen: chosen.name)
def test_every_filter_of_the_list_is_a_valid_configuration(chosen):
    found = chosen.configuration(10, 0.3, 0)
    assert parse_config({"input": {"shards": "pool"}, "output": "run", **found}).selection is not None


def test_coresets_of_every_method_are_trained_on_and_measured(measured, fashion_mnist, tmp_path, monkeypatch):
    # As many concepts as 1,200 samples bear.
    monkeypatch.setattr("benchmarks.quality.coreset.pool.CONCEPTS", 10)
    monkeypatch.setattr("benchmarks.quality.coreset.pool.DRAWS", 100)
    options = ("--cache", tmp_path, "--fashion-mnist", fashion_mnist, "--iterations", 3, "--rates", 0.7)
    figures, printed = measured(coreset, *options, "--seeds", 2, "--plot", tmp_path / "out.png")
    assert {figure["method"] for figure in figures} == set(METHODS)
    for figure in figures:
        assert len(figure["accuracies"]) == 2
        assert 0 <= figure["mean"] <= 1
        assert figure["mean"] == pytest.approx(np.mean(figure["accuracies"]), abs=1e-4)
    picks = [np.load(path) for path in (tmp_path / "picks").glob("*.npy")]
    assert {len(rows) for rows in picks} == {360}
    assert "70%" in printed
    trainings = (tmp_path / "trainings.jsonl").read_text()
    assert len(trainings.splitlines()) == 2 * len(METHODS)
    measured(coreset, *options, "--seeds", 2)
    assert (tmp_path / "trainings.jsonl").read_text() == trainings


def test_tuning_never_reads_the_test_and_leaves_its_choice(fashion_mnist, tmp_path):
    data, cache = tmp_path / "data", tmp_path / "cache"
    data.mkdir()
    for path in fashion_mnist.glob("train-*"):
        (data / path.name).symlink_to(path)
    options = ["--cache", str(cache), "--fashion-mnist", str(data), "--iterations", "3", "--seeds", "1"]
    assert coreset([*options, "--tune", "--methods", "ccs", "d2", "--rates", "0.7"]) == 0
    chosen = json.loads((cache / "tuned.json").read_text())
    assert chosen["ccs"]["0.7"]["drop"] in (0.0, 0.05, 0.1)
    assert (chosen["d2"]["0.7"]["k"], chosen["d2"]["0.7"]["gamma"]) in [(10, 1.0), (10, 0.3), (5, 0.1)]
    assert chosen["ccs"]["0.9"]["drop"] == 0.1


def test_coresets_of_mnist_are_measured_beside_those_of_clothes(measured, tmp_path):
    random = np.random.default_rng(0)
    for digit in range(10):
        images = random.uniform(0, 0.2, (40, 28, 28))
        images[:, 2 * digit : 2 * digit + 6] += 0.6
        (tmp_path / f"{digit}.json").write_text(json.dumps({"data": images.round(3).ravel().tolist()}))
    options = ("--cache", tmp_path / "cache", "--mnist", tmp_path, "--iterations", 3, "--rates", 0.7, "--seeds", 1)
    figures, _ = measured(coreset, *options, "--methods", "ccs", "dual")
    assert [figure["method"] for figure in figures] == ["ccs", "dual"]
    assert (tmp_path / "cache" / "mnist" / "trainings.jsonl").is_file()
    assert {len(np.load(path)) for path in (tmp_path / "cache" / "mnist" / "picks").glob("*.npy")} == {84}


def test_a_training_of_before_a_new_knob_counts_as_finished(tmp_path):
    line = {"split": "test", "method": "random", "rate": 0.5, "seed": 0, "knobs": {"drop": 0.0, "k": 10}}
    line = {"training": {**line, "iterations": 3}, "accuracy": 0.5, "seconds": 1.0}
    (tmp_path / "trainings.jsonl").write_text(json.dumps(line) + "\n")
    training = Training("test", "random", 0.5, 0, iterations=3)
    bench = Bench(tmp_path, Source(tmp_path, clothes_of), 1)
    assert bench.run_all([training]) == {training.key: 0.5}


def test_the_demo_clip_is_trained_and_measured(tmp_path, capsys):
    assert demo_clip(["--out", str(tmp_path), "--epochs", "1", "--batch-size", "4", "--pictures", "12"]) == 0
    card = json.loads((tmp_path / "card.json").read_text())
    assert (card["training_pictures"], card["held_out_pictures"]) == (12, 12)
    assert card["weights_bytes"] == (tmp_path / "weights.safetensors").stat().st_size < 10_000_000
    assert 0 <= card["held_out_image_to_text"]["R@1"] <= card["held_out_image_to_text"]["R@10"] <= 1
    assert 0 <= card["held_out_swapped_caption_auc"] <= 1
    capsys.readouterr()
    assert demo_clip(["--out", str(tmp_path), "--pictures", "12", "--evaluate"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures == {key: card[key] for key in figures}


def test_the_shipped_weights_know_emoji(capsys):
    assert demo_clip(["--pictures", "60", "--evaluate"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["training_swapped_caption_auc"] > figures["held_out_swapped_caption_auc"] > 0.6
