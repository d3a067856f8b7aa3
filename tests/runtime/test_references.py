"""Folders of runs that are named by their URLs are found where a run is read, whatever its place was before."""

import pytest

from filtering.runtime.references import found, named, run_of
from filtering.storage.store import Store


def test_a_stage_lies_two_folders_below_the_directory_of_its_run():
    for run in ("/runs/b", "s3://bucket/b"):
        assert run_of(Store(f"{run}/stages/embedding-0")) == Store(run)


def test_what_is_beside_a_run_is_named_by_the_root_however_it_is_spelled(tmp_path):
    (tmp_path / "runs/a/stages").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "runs")
    run = Store(f"{tmp_path}/runs/b")
    for root in ("runs", "link", "./runs", "link/../runs"):
        assert named(run, f"{tmp_path}/{root}/a/stages") == f"{tmp_path}/runs/a/stages"
    for other in (f"{tmp_path}/other/a/stages", "s3://bucket/a/stages"):
        assert named(run, other) == other


@pytest.mark.parametrize(("old", "new"), [("/old/runs", "memory://new"), ("s3://old/runs", "memory://other/new")])
def test_what_was_moved_with_a_run_is_found_beside_it(old, new):
    run, before = Store(f"{new}/b"), f"{old}/b"
    Store(f"{new}/a/stages").write("graph-0/x.npz", b"")
    assert found(run, before, f"{old}/b/stages/graph-0") == f"{new}/b/stages/graph-0"
    assert found(run, before, f"{old}/a/stages/graph-0") == f"{new}/a/stages/graph-0"
    # What has not come along, what was never beside it, and what a run called alike has.
    for url in (f"{old}/a/stages/graph-1", f"{old}2/a/stages/graph-0", f"{old}/bb/stages/graph-0"):
        assert found(run, before, url) == url


def test_without_a_move_or_a_known_place_a_url_stays_as_it_is():
    run = Store("memory://new/b/")
    for before in (None, "memory://new/b", "memory://new/b/"):
        assert found(run, before, "/old/a/stages/graph-0") == "/old/a/stages/graph-0"


def test_a_run_directly_in_a_bucket_has_no_root_that_could_move():
    assert found(Store("memory://new"), "s3://old", "s3://old/stages/graph-0") == "memory://new/stages/graph-0"
    assert found(Store("memory://new"), "s3://old", "s3://a/stages/graph-0") == "s3://a/stages/graph-0"
