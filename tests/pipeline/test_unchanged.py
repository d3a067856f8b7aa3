"""Runs over a pool that is still that of their base: what the base computed is copied, and checked as it is."""

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from damages import choices_for, damage
from kills import undisturbed
from mortal import mortal_storage
from pools import Silent, Told, metadata_config, write_metadata
from sampling import some_of

from filtering.config.run import parse_config
from filtering.core.errors import DamagedError
from filtering.manifests.verify import problems
from filtering.pipeline import incremental, unchanged
from filtering.runtime.in_process import InProcessExecutor
from filtering.runtime.shuffle import read_groups, write_groups
from filtering.runtime.stage_objects import copy_object
from filtering.storage.store import Store

COPIED = ("filters", "scores", "selection", "measures")
DROPPED = {"clip_score": {"keep": 0.8}}


def night(config, progress=None):
    return incremental.run(parse_config(config), progress or Silent())


def refused(*_arguments, **_options):
    raise AssertionError("a task was to run")


def tasks(record):
    """How many tasks the stages ran that copy, by their names."""
    counts = dict.fromkeys(COPIED, 0)
    for stage in record["stages"]:
        if stage["name"] in counts:
            counts[stage["name"]] += stage["tasks"]
    return counts


def kept(folder):
    return [path.read_bytes() for path in sorted((folder / "manifest").rglob("*.parquet"))]


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A run over a pool, and its configuration; some samples do not pass a filter by fraction."""
    folder = tmp_path_factory.mktemp("unchanged")
    pool = write_metadata(folder / "pool", [200, 150])
    config = metadata_config(pool, folder / "1", base="latest", filters=[DROPPED], selection={"keep": 0.3})
    return folder, config, night(config)


@pytest.fixture
def base(first, tmp_path):
    """The first run in a place of its own, where it may be damaged."""
    folder, config, record = first
    for name in ("1", "latest.json"):
        source = folder / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    return tmp_path, config, record


def test_what_a_base_computed_over_the_same_pool_is_copied(base):
    folder, config, before = base
    for name in "23":
        # Not even a worker is started.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(InProcessExecutor, "run", refused)
            record = night(config | {"output": str(folder / name)})
        assert record["manifest_hash"] == before["manifest_hash"]
        assert record["base"]["concepts"] == {"all": record["base"]["concepts"]["all"], "searched": 0, "selected": 0}
        assert tasks(record) == dict.fromkeys(COPIED, 0)
        assert kept(folder / name) == kept(folder / "1")
        assert (record["measures"], record["recall"]) == (before["measures"], before["recall"])
        assert record["graph"]["components"] == before["graph"]["components"]
        assert list(problems(Store(str(folder / name)))) == []
        ours, theirs = (json.loads((folder / one / "report/page.json").read_text())["page"] for one in (name, "1"))
        differing = {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)}
        assert differing <= {"output", "created", "stages", "base", "config_yaml", "commands"}
    # The copies serve when the first is gone, but for its graph and its embeddings.
    for path in (folder / "1" / "stages").iterdir():
        if path.name.startswith(COPIED):
            shutil.rmtree(path)
    assert list(problems(Store(str(folder / "2")))) == []


def test_another_selection_over_the_same_pool_takes_the_scores(base):
    folder, config, _ = base
    other = config | {"output": str(folder / "2"), "selection": {"keep": 0.5}}
    record = night(other)
    assert {name for name, count in tasks(record).items() if count} == {"selection", "measures"}
    alone = {key: value for key, value in other.items() if key != "base"}
    whole = night(alone | {"output": str(folder / "whole" / "2"), "concepts": {"centroids": str(folder / "1")}})
    assert record["manifest_hash"] == whole["manifest_hash"]


def test_what_follows_from_other_samples_is_computed(base):
    folder, config, before = base
    record = night(config | {"output": str(folder / "2"), "filters": [{"clip_score": {"keep": 0.7}}]})
    assert record["manifest_hash"] != before["manifest_hash"]
    assert all(tasks(record).values())


@pytest.mark.parametrize("how", ["flipped", "deleted"])
@pytest.mark.parametrize(
    "pattern", ["filters-*/*.parquet", "concepts-*/*.visits.npz", "scores-*/*.scores.npz", "selection-*/*.picks"]
)
def test_a_damaged_object_of_the_base_is_named_and_its_stage_computed(base, pattern, how):
    folder, config, before = base
    path = sorted((folder / "1").glob(f"stages/{pattern}"))[0]
    name = path.relative_to(folder)
    damage(folder, name, how, choices_for(0, name, how))
    told = Told()
    record = night(config | {"output": str(folder / "2")}, told)
    assert any(line.startswith(f"{path}: is ") for line in told.lines)
    assert record["manifest_hash"] == before["manifest_hash"]
    (stage,) = {path.parent.name.rpartition("-")[0]}
    assert max(one["tasks"] for one in record["stages"] if one["name"] == stage) > 0
    assert list(problems(Store(str(folder / "2")))) == []


def test_damaged_concepts_of_a_shard_that_goes_are_not_missed(base, tmp_path):
    folder, config, _ = base
    pool = shutil.copytree(Path(config["input"]["metadata"]).parent, tmp_path / "pool")
    config = config | {"input": config["input"] | {"metadata": f"{pool}/*.parquet"}}
    first = night(config | {"output": str(folder / "first"), "base": None})
    gone = sorted(pool.glob("*.parquet"))[0]
    for suffix in (".parquet", ".npz"):
        gone.with_suffix(suffix).unlink()
    concepts = folder / "first" / first["objects"]["concepts"]
    for path in concepts.glob("*.visits.npz"):
        path.write_bytes(path.read_bytes()[:-1])
    changed = config | {"output": str(folder / "2"), "base": str(folder / "first")}
    record = night(changed)
    alone = {key: value for key, value in changed.items() if key != "base"}
    given = {"output": str(folder / "whole" / "2"), "concepts": {"centroids": str(folder / "first")}}
    assert record["manifest_hash"] == night(alone | given)["manifest_hash"]


@pytest.mark.parametrize("pattern", ["manifest/kept/*.parquet", "manifest/subset.npy", "stages/report-*/*.npz"])
def test_damaged_manifests_and_reports_of_the_base_are_made_again(base, pattern):
    folder, config, before = base
    path = sorted((folder / "1").glob(pattern))[0]
    name = path.relative_to(folder)
    damage(folder, name, "flipped", choices_for(0, name, "flipped"))
    told = Told()
    record = night(config | {"output": str(folder / "2")}, told)
    assert any(line.startswith(f"{path}: is damaged") for line in told.lines)
    assert record["manifest_hash"] == before["manifest_hash"]
    assert list(problems(Store(str(folder / "2")))) == []


def test_many_bytes_are_copied_by_tasks(base, monkeypatch):
    folder, config, before = base
    monkeypatch.setattr(unchanged, "COPIED_HERE", 0)
    monkeypatch.setattr(unchanged, "AT_ONCE", 3)
    record = night(config | {"output": str(folder / "2")})
    assert record["manifest_hash"] == before["manifest_hash"]
    assert all(tasks(record).values())
    assert list(problems(Store(str(folder / "2")))) == []


@pytest.mark.slow
def test_a_run_killed_while_it_copies_ends_the_same(tmp_path):
    storage = mortal_storage()
    pool, root = write_metadata(tmp_path / "pool", [60, 50]), Store("mortal://runs")
    small = {"concepts": {"clusters": 4, "partition_rows": 60}, "graph": {"k": 2}}
    config = metadata_config(pool, root.path("1"), base="latest", **small)
    night(config)
    calm = undisturbed(storage, partial(night, config | {"output": root.path("2")}))
    places = calm.places()
    for stage, times in (("filters", 1), ("scores", 3), ("selection", 2), ("measures", 1)):
        for place in some_of(places[stage], times, step=5):
            calm.is_killed(storage, place)
            assert calm.goes_on(storage)["manifest_hash"] == calm.returned["manifest_hash"]
            assert list(problems(root.child("2"))) == []


def test_a_copied_object_is_that_of_its_new_place(tmp_path):
    there, here = Store(str(tmp_path / "there")), Store(str(tmp_path / "here"))
    dtype, groups = np.dtype([("row", "<i8")]), np.array([2, 0, 2, 1])
    write_groups(there, "rows", groups, dtype, lambda at: at.astype(np.int64).view(dtype))
    there.write_arrays("arrays.npz", {"values": np.arange(3)})
    for name in ("rows", "arrays.npz"):
        assert copy_object(here, name, there) == (tmp_path / "here" / name).stat().st_size
    assert read_groups(here, ["rows"], 2)["row"].tolist() == [0, 2]
    assert here.read_arrays("arrays.npz")["values"].tolist() == [0, 1, 2]
    for name in ("rows", "arrays.npz"):
        path = tmp_path / "there" / name
        data = path.read_bytes()
        for damaged in (data[:-1], data[:-1] + bytes([data[-1] ^ 1]), data[:20] + b"?" + data[21:]):
            path.write_bytes(damaged)
            with pytest.raises(DamagedError, match="is damaged"):
                copy_object(here, name, there)
