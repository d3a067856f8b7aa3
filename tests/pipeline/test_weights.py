"""Weights: kept tables say how often a sample is seen; without them, manifests are what they were."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pools import metadata_config, write_metadata

import filtering
from filtering.config.run import parse_config
from filtering.core.errors import InputError
from filtering.manifests.verify import problems
from filtering.storage.store import Store


def weighed(pool: Path, folder: Path, **weights) -> dict:
    return metadata_config(pool, folder, weights=weights)


def kept_of(folder: Path) -> pa.Table:
    return filtering.open_run(str(folder)).kept().to_table()


def manifest_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "manifest").rglob("*.parquet"))}


def test_kept_tables_say_how_often_a_sample_is_seen(run, metadata_pool, metadata_run, tmp_path):
    record = run(weighed(metadata_pool, tmp_path / "run", epoch=2.5, most=8))
    assert record["epoch_samples"] == round(2.5 * record["totals"]["kept"])
    table, plain = kept_of(tmp_path / "run"), kept_of(metadata_run)
    repeats = table["repeat"].to_numpy()
    assert repeats.sum() == round(2.5 * len(table))
    assert repeats.min() == 1 and 2 < repeats.max() <= 8
    assert np.corrcoef(repeats, table["score"].to_numpy())[0, 1] > 0.5
    # The selection is the same, and so is its hash.
    assert table.drop_columns(["repeat"]).equals(plain)
    assert record["manifest_hash"] == filtering.open_run(str(metadata_run)).summary["manifest_hash"]
    lines = [json.loads(line) for line in (tmp_path / "run/manifest/shards.jsonl").read_text().splitlines()]
    assert sum(sum(line["repeats"]) for line in lines) == repeats.sum()
    assert [line["repeats"][0] for line in lines] == [line["kept"] for line in lines]
    assert list(problems(Store(str(tmp_path / "run")))) == []


def test_repeats_are_decided_by_the_seed_alone(run, tmp_path):
    pool = write_metadata(tmp_path / "pool", [300, 200])
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        run(weighed(pool, tmp_path / name, seed=seed))
    first, again, other = (kept_of(tmp_path / name)["repeat"] for name in ("first", "again", "other"))
    assert first.equals(again)
    assert not first.equals(other)


@pytest.mark.ray
def test_repeats_are_the_same_on_a_cluster(run, metadata_pool, tmp_path, cluster):
    run(weighed(metadata_pool, tmp_path / "here"))
    config = weighed(metadata_pool, tmp_path / "there") | {"ray": {"address": cluster}}
    run(config)
    assert manifest_of(tmp_path / "here") == manifest_of(tmp_path / "there")


def test_without_weights_nothing_changes(metadata_run):
    assert "repeat" not in kept_of(metadata_run).column_names
    lines = (metadata_run / "manifest/shards.jsonl").read_text().splitlines()
    assert all("repeats" not in json.loads(line) for line in lines)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"epoch": 0.5}, "weights.epoch: 0.5 is not valid; it must be the number of samples of an epoch"),
        ({"most": 1}, "weights.most: 1 is not valid"),
        ({"penalty": 0.0}, "weights.penalty: 0.0 is not valid"),
        ({"epochs": 2}, r"weights.epochs: unknown key; did you mean epoch\?"),
    ],
)
def test_wrong_weights_are_refused_in_a_line(tmp_path, weights, message):
    with pytest.raises(InputError, match=message) as found:
        parse_config(weighed(tmp_path, tmp_path / "run", **weights))
    assert "\n" not in str(found.value)


def test_a_pool_of_which_nothing_is_kept_has_no_repeats(run, tmp_path):
    pool = write_metadata(tmp_path / "pool", [50])
    config = weighed(pool, tmp_path / "run") | {"filters": [{"clip_score": {"threshold": 1.0}}]}
    assert run(config)["totals"]["kept"] == 0
    assert len(kept_of(tmp_path / "run")) == 0
