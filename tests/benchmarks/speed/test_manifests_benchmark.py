"""The benchmark of the manifests: both ways make the same files of tiny tables."""

import json

import pytest

from benchmarks.speed import manifests


@pytest.mark.slow
def test_both_ways_are_measured(tmp_path, capsys):
    out = tmp_path / "figures.json"
    assert manifests.main(["--rows", "50", "30", "--shard-rows", "20", "--json", str(out)]) == 0
    rows = json.loads(out.read_text())
    assert [row["way"] for row in rows] == [
        f"{way}, {count} rows" for count in (50, 30) for way in ("one memory", "ranges of uids")
    ]
    assert all(row["peak MB"] > 0 and row["seconds, share"] > 0 for row in rows)
    assert "ranges of uids, 50 rows" in capsys.readouterr().out
