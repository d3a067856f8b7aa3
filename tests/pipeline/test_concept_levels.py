"""Pools of very many shards or concepts, in small: results are merged in rounds, centroids lie in levels of groups."""

from pathlib import Path

import numpy as np
import pytest
from pools import Silent, metadata_config, write_metadata

from filtering.concepts.artifacts import read_centroids
from filtering.config.run import parse_config
from filtering.manifests.verify import problems
from filtering.pipeline import incremental
from filtering.storage.store import Store


def concepts_of(folder):
    (path,) = Path(folder, "stages").glob("concepts-*/centroids.npz")
    return Store(str(path.parent))


def test_merging_in_rounds_changes_nothing(run, tmp_path, monkeypatch):
    pool = write_metadata(tmp_path / "pool", [150] * 7)
    plain = run(metadata_config(pool, tmp_path / "plain"))
    monkeypatch.setattr("filtering.concepts.merging.MERGED_TOGETHER", 2)
    merged = run(metadata_config(pool, tmp_path / "merged"))
    assert list(problems(Store(str(tmp_path / "merged")))) == []
    for name in ("manifest_hash", "recall"):
        assert merged[name] == plain[name]


def test_an_increment_merges_in_rounds_too(run, tmp_path, monkeypatch):
    monkeypatch.setattr("filtering.concepts.merging.MERGED_TOGETHER", 2)
    pool, base = write_metadata(tmp_path / "pool", [150] * 5), tmp_path / "base"
    run(metadata_config(pool, base))
    write_metadata(pool, [120] * 3, name="new")
    night = incremental.run(parse_config(metadata_config(pool, tmp_path / "night", base=str(base))), Silent())
    concepts = {"clusters": 12, "partition_rows": 700, "centroids": str(base)}
    assert night["manifest_hash"] == run(metadata_config(pool, tmp_path / "full", concepts=concepts))["manifest_hash"]


@pytest.mark.parametrize("batch", [100, 20_000])
def test_centroids_lie_in_levels_of_groups(run, tmp_path, monkeypatch, batch):
    monkeypatch.setattr("filtering.concepts.training_stage.SHALLOW_CLUSTERS", 20)
    monkeypatch.setattr("filtering.concepts.training_stage.BATCH_ROWS", batch)
    monkeypatch.setattr("filtering.concepts.kmeans.FLAT_CLUSTERS", 4)
    monkeypatch.setattr("filtering.concepts.nearest.FEW_GROUPS", 6)
    pool = write_metadata(tmp_path / "pool", [700] * 3)
    record = run(metadata_config(pool, tmp_path / "run", concepts={"clusters": 150}))
    assert list(problems(Store(str(tmp_path / "run")))) == []
    assert record["recall"] > 0.85
    centroids = read_centroids(concepts_of(tmp_path / "run"))
    assert centroids.branches.shape == (len(centroids.groups), 2)
    for coarse, fine in ((*centroids.branches.T,), (centroids.branches[:, 1], centroids.groups)):
        assert (np.diff(coarse) >= 0).all()
        assert (np.diff(fine) >= 0).all()
        # A group lies in one group of the level above.
        assert len(np.unique(np.stack([coarse, fine]), axis=1).T) == len(np.unique(fine))
