"""The files of the whole pool: equal bytes however many ranges and batches make them."""

import hashlib
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from finished_runs import write_sums
from in_process import export
from pools import Silent, metadata_config, write_metadata

from filtering.config.run import parse_config
from filtering.core.errors import InputError, RunError
from filtering.core.uids import subset_array
from filtering.manifests import pool_stage
from filtering.manifests.artifacts import read_split, table_name
from filtering.manifests.by_uid import manifest_hash
from filtering.manifests.verify import problems
from filtering.pipeline import run as pipeline
from filtering.runtime.run_record import read_run
from filtering.storage.store import Store

SELECTION = {"method": "top", "keep": 0.7}


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    return write_metadata(tmp_path_factory.mktemp("small"), [60, 50, 40])


@pytest.fixture(scope="module")
def make(pool, tmp_path_factory):
    """Make a run over the pool whose ranges and batches have at most some rows; return its folder."""

    def make(rows, **limits):
        folder = tmp_path_factory.mktemp("run") / "run"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pool_stage, "RANGE_ROWS", rows)
            for name, value in limits.items():
                patch.setattr(pool_stage, name, value)
            config = metadata_config(pool, folder, selection=SELECTION, concepts={"clusters": 3}, graph={"k": 2})
            pipeline.run(parse_config(config), Silent())
        return folder

    return make


@pytest.fixture(scope="module")
def whole(make):
    return make(1000)


@pytest.fixture(scope="module")
def ranged(make):
    return make(20, BATCH_SHARDS=1)


@pytest.fixture(scope="module")
def sliced(make):
    return make(20, MOST_SLICES=2)


def kept_of(run):
    return pq.read_table(run / "manifest/kept")


def index_of(run):
    return json.loads((run / "manifest/by_uid.json").read_text())


def test_the_files_are_what_one_memory_would_make(whole):
    kept = kept_of(whole)
    subset = np.load(whole / "manifest/subset.npy")
    assert subset.tolist() == subset_array(np.array(kept["uid"].to_pylist(), "S32")).tolist()
    assert read_run(Store(str(whole)))["manifest_hash"] == manifest_hash([kept])
    assert len(index_of(whole)["ranges"]) == 1


def test_many_ranges_make_the_same_bytes(whole, ranged):
    assert len(index_of(ranged)["ranges"]) > 5
    assert (ranged / "manifest/subset.npy").read_bytes() == (whole / "manifest/subset.npy").read_bytes()
    assert read_run(Store(str(ranged)))["manifest_hash"] == read_run(Store(str(whole)))["manifest_hash"]
    assert list(problems(Store(str(ranged)))) == []


def test_the_tables_by_uid_are_the_kept_samples_in_order(ranged):
    lines = [json.loads(line) for line in (ranged / "manifest/shards.jsonl").read_text().splitlines()]
    found, index = [], index_of(ranged)
    for one in index["ranges"]:
        table = pq.read_table(ranged / one["table"]).to_pylist()
        assert len(table) == one["rows"] <= 20
        assert all(row["uid"] >= one["first"] for row in table)
        found += [{**row, "shard": lines[row["shard"]]["url"]} for row in table]
    expected = sorted(kept_of(ranged).select(["uid", "key", "shard"]).to_pylist(), key=lambda row: row["uid"])
    assert found == expected
    assert index["rows"] == len(found)


def test_what_only_the_stage_reads_is_deleted(ranged):
    left = [path.name for path in ranged.glob("stages/manifests-*/*")]
    assert not [name for name in left if name.endswith((".kept", ".subset", ".prefixes.npz"))]


def test_a_selection_of_nothing_has_empty_files(tmp_path, pool):
    config = metadata_config(pool, tmp_path / "run", filters=[{"caption": {"min_words": 1000}}])
    pipeline.run(parse_config(config), Silent())
    assert len(np.load(tmp_path / "run/manifest/subset.npy")) == 0
    assert read_run(Store(str(tmp_path / "run")))["manifest_hash"] == hashlib.sha256().hexdigest()
    assert list(problems(Store(str(tmp_path / "run")))) == []


def test_a_uid_that_is_kept_twice_ends_the_run(tmp_path, pool, monkeypatch):
    def doubled(run, kind, index, columns=None):
        table = read_split(run, kind, index, columns)
        return pa.concat_tables([table, table.slice(0, 1)]) if index == 1 else table

    monkeypatch.setattr("filtering.manifests.uid_tasks.read_split", doubled)
    config = metadata_config(pool, tmp_path / "run", selection=SELECTION)
    with pytest.raises(RunError, match=r"uid [0-9a-f]{32} is kept twice, as \S+ of shard 1 and \S+ of shard 1"):
        pipeline.run(parse_config(config), Silent())


def test_slices_follow_each_other(whole, sliced):
    ranges = index_of(sliced)["ranges"]
    parts = [np.load(sliced / one["subset"], mmap_mode="r") for one in ranges]
    assert np.array_equal(np.concatenate(parts), np.load(whole / "manifest/subset.npy"))
    assert not (sliced / "manifest/subset.npy").exists()
    assert list(problems(Store(str(sliced)))) == []


def test_a_sliced_subset_is_not_exported_as_one_file(sliced, tmp_path):
    for out in ("subset.npy", "folder"):
        with pytest.raises(
            InputError, match=r"more kept samples than one manifest/subset.npy holds; read manifest/sub"
        ):
            export(Store(str(sliced)), "datacomp", str(tmp_path / out))
    assert not list(tmp_path.iterdir())


@pytest.fixture(params=["ranged", "sliced"])
def copy(request, tmp_path):
    """A copy whose stages are gone: what is left are its manifests and report."""
    run = shutil.copytree(request.getfixturevalue(request.param), tmp_path / "run")
    shutil.rmtree(run / "stages")
    return run


def rewrite(run, name, table):
    pq.write_table(table, run / name)
    write_sums(Store(str(run)))


def test_verify_finds_a_sample_that_a_range_lacks_or_has_twice(copy):
    name = index_of(copy)["ranges"][1]["table"]
    table = pq.read_table(copy / name)
    for changed in (table.slice(1), pa.concat_tables([table.slice(0, 1), table])):
        rewrite(copy, name, changed)
        found = list(problems(Store(str(copy))))
        assert "manifest/by_uid: does not hold exactly the kept samples in order" in found
        assert "run.json: manifest_hash does not match the kept samples" in found
        assert any(line.startswith("manifest/subset") for line in found)


def test_verify_finds_ranges_that_are_not_in_order(copy):
    first, second = (one["table"] for one in index_of(copy)["ranges"][:2])
    tables = [pq.read_table(copy / name) for name in (second, first)]
    rewrite(copy, first, tables[0])
    rewrite(copy, second, tables[1])
    assert "manifest/by_uid: does not hold exactly the kept samples in order" in list(problems(Store(str(copy))))


def test_verify_finds_another_subset(copy):
    name = index_of(copy)["ranges"][1].get("subset", "manifest/subset.npy")
    subset = np.load(copy / name)
    for changed in (subset[::-1], subset[:-1], np.concatenate([subset, subset[-1:]])):
        np.save(copy / name, changed)
        write_sums(Store(str(copy)))
        assert list(problems(Store(str(copy)))) == ["manifest/subset.npy: does not hold exactly the kept uids in order"]


def test_verify_says_which_dtype_a_subset_has(ranged, tmp_path):
    run = shutil.copytree(ranged, tmp_path / "run")
    shutil.rmtree(run / "stages")
    np.save(run / "manifest/subset.npy", np.zeros(3, np.int32))
    write_sums(Store(str(run)))
    (line,) = problems(Store(str(run)))
    assert line.startswith("manifest/subset.npy: dtype is int32, DataComp needs [('f0', '<u8')")


def test_verify_reads_runs_that_have_no_tables_by_uid(whole, tmp_path):
    run = shutil.copytree(whole, tmp_path / "run")
    for name in ("stages", "manifest/by_uid"):
        shutil.rmtree(run / name)
    (run / "manifest/by_uid.json").unlink()
    write_sums(Store(str(run)))
    assert list(problems(Store(str(run)))) == []
    name = table_name("kept", 1)
    rewrite(run, name, pa.concat_tables([pq.read_table(run / name), pq.read_table(run / name).slice(0, 1)]))
    found = list(problems(Store(str(run))))
    assert "manifest/kept: a uid is kept twice" in found
    assert "run.json: manifest_hash does not match the kept samples" in found


def test_a_stray_table_by_uid_is_found(copy):
    shutil.copy(copy / index_of(copy)["ranges"][0]["table"], copy / "manifest/by_uid/00000099.parquet")
    assert "manifest/by_uid/00000099.parquet: belongs to no range of uids of this run" in list(
        problems(Store(str(copy)))
    )
