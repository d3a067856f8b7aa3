import json

import pytest

from filtering.cli.diff import LISTED, diff_lines


def concept(number, run=None):
    counts = {"kept_before": 30, "kept_after": 40, "kept_in_both": 25}
    reasons = {"became_kept": {"new shard": 15}, "became_dropped": {"selection:d2": 5}}
    return {"concept": number, **({"run": run} if run else {}), **counts, **reasons}


def found(concepts, same=True):
    counts = {"kept_before": 1500, "kept_after": 1600, "kept_in_both": 1400}
    reasons = {"became_kept": {"new shard": 150, "new sample": 50}, "became_dropped": {"selection:d2": 100}}
    return {**counts, **reasons, "same_concepts": same, "concepts": concepts}


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
