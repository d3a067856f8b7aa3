import json

import pytest
from pools import Silent, metadata_config, write_metadata

from filtering import open_run
from filtering.cli.diff import LISTED, diff_lines
from filtering.config.run import parse_config
from filtering.pipeline.run import run


def concept(number, run=None):
    counts = {"kept_before": 30, "kept_after": 40, "kept_in_both": 25}
    reasons = {"became_kept": {"new shard": 15}, "became_dropped": {"selection:d2": 5}}
    return {"concept": number, **({"run": run} if run else {}), **counts, **reasons}


def found(concepts, same=True):
    counts = {"kept_before": 1500, "kept_after": 1600, "kept_in_both": 1400}
    reasons = {"became_kept": {"new shard": 150, "new sample": 50}, "became_dropped": {"selection:d2": 100}}
    return {**counts, **reasons, "same_concepts": same, "concepts": concepts, "configuration": [], "samples": []}


def test_a_run_and_itself_do_not_differ(metadata_run, call_main):
    status, out, _ = call_main("diff", str(metadata_run), str(metadata_run), "--json")
    assert status == 0
    assert json.loads(out)["became_kept"] == json.loads(out)["became_dropped"] == {}
    status, out, _ = call_main("diff", str(metadata_run), str(metadata_run))
    assert status == 0
    assert "330 kept before, 330 after, 330 in both" in out


def test_a_person_reads_counts_reasons_and_concepts():
    counts, kept, dropped, head, line = diff_lines(found([concept(7)]))
    assert counts == "1,500 kept before, 1,600 after, 1,400 in both"
    assert kept.split() == ["became", "kept", "200", "new", "shard", "150,", "new", "sample", "50"]
    assert dropped.split() == ["became", "dropped", "100", "selection:d2", "100"]
    assert head.split() == ["concept", "before", "after", "+", "-", "reasons"]
    assert line.split() == ["7", "30", "40", "15", "5", "+", "new", "shard", "15;", "-", "selection:d2", "5"]


def test_concepts_of_different_centroids_are_listed_with_their_run():
    lines = diff_lines(found([concept(7, "before")], same=False))
    assert "different centroids" in lines[3]
    assert lines[-1].startswith("7 (before)")


@pytest.mark.parametrize("more", [1, 1000])
def test_the_concepts_with_most_changes_are_listed_and_the_others_counted(more):
    lines = diff_lines(found([concept(number) for number in range(LISTED + more)]))
    assert lines[-1] == f"{more:,} more concepts changed; --json lists all"
    assert len(lines) == 4 + LISTED + 1


def test_changed_keys_and_samples_are_listed(tmp_path, call_main):
    pool = write_metadata(tmp_path / "pool", [120, 80])
    for name, keep in (("first", 0.3), ("second", 0.2)):
        selection = {"variant": "paper", "keep": keep}
        run(parse_config(metadata_config(pool, tmp_path / name, selection=selection)), Silent())
    names = [str(tmp_path / name) for name in ("first", "second")]
    status, out, _ = call_main("diff", *names, "--samples", "7", "--json")
    assert status == 0
    found = json.loads(out)
    assert found["configuration"] == [{"key": "selection.keep", "before": 0.3, "after": 0.2}]
    assert len(found["samples"]) == 7
    kept = [open_run(name).kept().to_table().to_pylist() for name in names]
    for one in found["samples"]:
        there = kept[0] if one["change"] == "became dropped" else kept[1]
        row = next(row for row in there if row["uid"] == one["uid"])
        assert (row["key"], row["shard"], row["concept"]) == (one["key"], one["shard"], one["concept"])
        assert one["reason"] == "selection:d2"
    assert json.loads(call_main("diff", *names, "--samples", "7000", "--json")[1])["samples"][:7] == found["samples"]
    _, out, _ = call_main("diff", *names, "--samples", "2")
    assert out.splitlines()[0] == "selection.keep: 0.3 -> 0.2"
    assert out.splitlines()[-1].split()[:3] == [*found["samples"][1]["change"].split(), found["samples"][1]["uid"]]
