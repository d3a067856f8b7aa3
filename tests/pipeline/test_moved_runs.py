"""Runs that lie elsewhere than where they were written: moved, copied, or seen under another path."""

import shutil
import uuid
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from in_process import export
from pools import Meanwhile, Silent, Told, metadata_config, write_metadata

import filtering
from filtering.config.run import parse_config
from filtering.embedding.locations import shard_locations
from filtering.exports.options import Options
from filtering.graph.artifacts import read_origins
from filtering.manifests.verify import problems
from filtering.pipeline import incremental
from filtering.pipeline.retention import retire
from filtering.runtime.finished_run import read_base
from filtering.storage.store import Store

CONCEPTS = {"clusters": 12, "partition_rows": 100}


class Stopped(Exception):
    pass


def stop():
    raise Stopped


def night(pool, root, name, reporter=None, **sections):
    """Run a night under a root; return its run.json and what it said."""
    told = reporter or Told()
    config = metadata_config(pool, f"{root}/{name}", concepts=CONCEPTS, **{"base": "latest", **sections})
    record, lines = incremental.run(parse_config(config), told), getattr(told, "lines", [])
    # A run begins with its steps in full.
    return record, [line for line in lines if not line.startswith("selection: ")]


def found(root, name):
    return list(problems(Store(f"{root}/{name}")))


def some_uid(root, name):
    return pq.read_table(next(Path(root, name).glob("manifest/kept/*.parquet")))["uid"][0].as_py()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The pool of a third night, and a root of two that is no longer where they wrote it."""
    folder = tmp_path_factory.mktemp("moved")
    pool = write_metadata(folder / "pool", [400, 300])
    night(pool, folder / "old", "a")
    write_metadata(pool, [8], groups=[2], name="b")
    assert night(pool, folder / "old", "b")[0]["graph"]["carried_partitions"] > 0
    write_metadata(pool, [8], groups=[3], name="c")
    (folder / "old").rename(folder / "aside")
    return pool, folder / "aside"


@pytest.fixture
def moved(written, tmp_path):
    return written[0], shutil.copytree(written[1], tmp_path / "new")


@pytest.mark.slow
def test_a_moved_run_is_read_as_before(moved, tmp_path):
    _, root = moved
    for name in "ab":
        assert found(root, name) == []
        assert filtering.explain(f"{root}/{name}", some_uid(root, name))["outcome"] == "kept"
        for form, options in (("parquet", Options()), ("datacomp", Options(embeddings=True))):
            assert export(Store(f"{root}/{name}"), form, str(tmp_path / f"{name}-{form}"), options)["kept"] > 0


@pytest.mark.slow
def test_the_next_run_under_a_moved_root_reuses_what_the_last_ones_have(moved):
    pool, root = moved
    record, lines = night(pool, root, "c", retention={"keep_runs": 2})
    assert lines == ["deleted 1 older run: a"]
    assert record["base"]["embedded_shards"] == 1
    assert record["graph"]["carried_partitions"] > 0
    # Those of the night before last are in its folder, which the retention of the root has left.
    origins = read_origins(read_base(Store(f"{root}/c")).store("graph"))
    assert any(origin.url.startswith(f"{root}/a/") for origin in origins.stores)
    for name in "bc":
        assert found(root, name) == []
    root.rename(root.parent / "again")
    for name in "bc":
        assert found(root.parent / "again", name) == []


@pytest.mark.slow
def test_a_moved_run_is_made_whole_by_its_own_command(moved):
    pool, root = moved
    next((root / "b").glob("stages/graph-*/*.graph.npz")).unlink()
    (line,) = found(root, "b")
    assert night(pool, root, "b")[1] == [f"{root}/b/{line}; it is made again"]
    assert found(root, "b") == []


@pytest.mark.slow
def test_a_run_that_was_stopped_and_moved_is_resumed_with_its_base(moved):
    pool, root = moved
    with pytest.raises(Stopped):
        night(pool, root, "c", Meanwhile("selection", stop), base=f"{root}/b")
    there = root.rename(root.parent / "again")
    record, lines = night(pool, there, "c", base=f"{there}/b")
    assert lines == []
    assert record["base"]["embedded_shards"] == 1
    assert [cost["name"] for cost in record["stages"] if cost.get("reused")][:4] == [
        "inventory",
        "embedding",
        "filters",
        "concepts",
    ]
    assert found(there, "c") == []


@pytest.mark.parametrize("older", [False, True], ids=["as written", "by an older version"])
def test_retention_under_another_path_leaves_what_retained_runs_refer_to(written, moved, older):
    _, root = moved
    if older:
        forget_places(root)
    assert retire(Store(str(root)), 1, "b", Silent().say) == ["a"]
    # Where they were written, as another machine sees them: there the URLs of every version hold.
    there = written[1].with_name("old")
    try:
        root.rename(there)
        assert found(there, "b") == []
    finally:
        shutil.rmtree(there)


def forget_places(root):
    """Let the records of a root's runs be those of older versions, which did not say where their run was."""
    for path in root.glob("*/stages/embedding-*/*.where.json"):
        store = Store(str(path.parent))
        store.write_record(path.name, without_run(store.read_record(path.name)))
    for path in root.glob("*/stages/graph-*/origins.npz"):
        store = Store(str(path.parent))
        store.write_arrays(path.name, without_run(store.read_arrays(path.name)))


def without_run(known):
    return {key: value for key, value in known.items() if key != "run"}


@pytest.mark.slow
def test_a_run_that_was_copied_without_its_base_finds_it_where_it_is(moved, tmp_path):
    pool, root = moved
    night(pool, root, "c")
    shutil.copytree(root / "c", tmp_path / "backup" / "c")
    (tmp_path / "current").symlink_to(root / "c")
    assert found(tmp_path / "backup", "c") == found(tmp_path, "current") == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_runs_that_were_copied_to_s3_are_found_and_kept_there(moved, proxy, s3):
    _, disk = moved
    root = Store(f"s3://{s3.bucket}/{uuid.uuid4().hex}")
    for path in filter(Path.is_file, disk.rglob("*")):
        root.write(str(path.relative_to(disk)), path.read_bytes())
    shutil.rmtree(disk)
    assert retire(root, 1, "b", Silent().say) == ["a"]
    assert found(root.url, "b") == []
    places = {place.store.url for place in shard_locations(read_base(root.child("b"))).values()}
    assert {url.rpartition("/stages/")[0] for url in places} == {root.path("a"), root.path("b")}


@pytest.mark.slow
def test_a_run_with_an_incremental_base_under_another_root_says_that_the_base_may_go(moved, tmp_path):
    pool, root = moved
    assert night(pool, tmp_path / "compare", "x", base=f"{root}/b")[1] == [
        f"base: {root}/b is an incremental run under another root, whose retention does not keep what this run takes "
        "from it; keep that run as long as this one, or start from one that has no base"
    ]
    (tmp_path / "link").symlink_to(root)
    assert night(pool, root, "y", base=f"{tmp_path}/link/b")[1] == []
