"""Picks that are gathered for some shards at a time lead to the manifests that every shard's own requests lead to."""

import pytest
from pools import Silent, metadata_config, write_metadata

from filtering.config.run import parse_config
from filtering.manifests import picks
from filtering.pipeline import run as pipeline

STEPS = {"steps": [{"method": "semdedup", "epsilon": 0.2}, {"method": "top", "keep": 0.5}]}


@pytest.mark.slow
@pytest.mark.parametrize("together", [1, 2, 9])
def test_gathered_picks_lead_to_the_same_manifest(tmp_path, monkeypatch, together):
    pool = write_metadata(tmp_path / "pool", [40, 30, 0, 20])
    small = {"concepts": {"clusters": 3, "partition_rows": 40}, "graph": {"k": 2}, "weights": {"epoch": 2.0}}

    def made(name):
        config = metadata_config(pool, tmp_path / name / "run", selection=STEPS, **small)
        pipeline.run(parse_config(config), Silent())
        found = tmp_path / name / "run/manifest"
        return {path.relative_to(found): path.read_bytes() for path in found.rglob("*.*")}

    expected = made("plain")
    monkeypatch.setattr(picks, "MOST_REQUESTS", 0)
    monkeypatch.setattr(picks, "TOGETHER", together)
    assert made("gathered") == expected
    left = [path.name for path in tmp_path.glob("gathered/run/stages/manifests-*/*")]
    assert [name for name in left if name.startswith("gather-")]
    assert not [name for name in left if name.endswith(picks.GATHERED_SUFFIX)]
