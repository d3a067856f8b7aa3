"""Runs whose base has damaged objects: `verify` names them, and the next run goes on without them, and says so."""

import shutil

import pytest
from damages import choices_for, damage
from pools import Told, members, metadata_config, tar_config, write_metadata, write_tar

from filtering.config.run import parse_config
from filtering.core.errors import InputError
from filtering.manifests.verify import problems
from filtering.pipeline import incremental
from filtering.storage.store import Store

HERE = "this run computes it in its own folder"


def night(config):
    told = Told()
    return incremental.run(parse_config(config), told), beside_steps(told)


def beside_steps(told):
    """What a run says, but for its steps in full."""
    return [line for line in told.lines if not line.startswith("selection: ")]


def full_run(config, folder):
    """A run over the whole pool as it is now, with the concepts of the first night and no base."""
    plain = {key: value for key, value in config.items() if key != "base"}
    concepts = config.get("concepts", {}) | {"centroids": str(folder / "1")}
    return night(plain | {"concepts": concepts, "output": str(folder / "full" / "3")})[0]["manifest_hash"]


def found(folder, name):
    return list(problems(Store(str(folder / name))))


@pytest.fixture(scope="module")
def two_nights(tmp_path_factory):
    """Two nights over metadata, the pool of the third, the configuration, and the hash that the third must have."""
    folder = tmp_path_factory.mktemp("base")
    pool = write_metadata(folder / "pool", [400, 300])
    config = metadata_config(pool, folder / "1", base="latest")
    config["concepts"]["partition_rows"] = 100
    night(config)
    write_metadata(pool, [8], seed=0, groups=[2], name="night 2")
    assert night(config | {"output": str(folder / "2")})[0]["graph"]["carried_partitions"] > 0
    write_metadata(pool, [8], seed=0, groups=[3], name="night 3")
    for name in ("1", "2", "latest.json"):
        copied(folder / name, folder / "whole" / name)
    return folder, config, full_run(config, folder)


def copied(source, target):
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(exist_ok=True)
    shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)


@pytest.fixture
def fresh(two_nights):
    folder = two_nights[0]
    for name in ("1", "2", "latest.json"):
        copied(folder / "whole" / name, folder / name)
    shutil.rmtree(folder / "3", ignore_errors=True)
    return two_nights


def referred(folder, pattern):
    """An object of the first night that the second refers to."""
    own = {path.name for path in (folder / "2").glob(f"stages/{pattern}")}
    return next(path for path in sorted((folder / "1").glob(f"stages/{pattern}")) if path.name not in own)


def damaged(folder, path, how):
    damage(folder, path.relative_to(folder), how, choices_for(0, path.relative_to(folder), how))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["flipped", "deleted"])
@pytest.mark.parametrize("pattern", ["embedding-*/*.rows.parquet", "graph-*/*.graph.npz"])
def test_an_object_of_the_base_is_named_and_computed_by_the_next_run(fresh, pattern, how):
    folder, config, whole = fresh
    path = referred(folder, pattern)
    damaged(folder, path, how)
    (line,) = found(folder, "2")
    assert line.startswith(f"{path}: is ")
    record, lines = night(config | {"output": str(folder / "3")})
    assert lines == [f"{line}; {HERE}"]
    assert record["manifest_hash"] == whole
    assert record["base"]["embedded_shards"] == 1 + pattern.startswith("embedding")
    assert found(folder, "3") == []


@pytest.mark.slow
@pytest.mark.parametrize("pattern", ["embedding-*/*.rows.parquet", "graph-*/*.graph.npz"])
def test_the_command_of_the_run_that_refers_to_it_computes_it_although_the_pool_has_grown(fresh, pattern):
    folder, config, _ = fresh
    with pytest.raises(InputError, match="finished run of another pool"):
        night(config | {"output": str(folder / "2")})
    damaged(folder, referred(folder, pattern), "flipped")
    (line,) = found(folder, "2")
    assert night(config | {"output": str(folder / "2")})[1] == [f"{line}; {HERE}"]
    assert found(folder, "2") == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "pattern",
    [
        "filters-*/*.reasons.parquet",
        "filters-*/*.stage.json",
        "concepts-*/concepts.parquet",
        "concepts-*/exact.npz",
        "graph-*/origins.npz",
        "graph-*/parts.json",
        "graph-*/adjacent.json",
        "selection-*/*.stage.json",
    ],
)
def test_what_a_run_compares_itself_with_may_be_damaged(fresh, pattern):
    folder, config, whole = fresh
    path = sorted((folder / "2").glob(f"stages/{pattern}"))[0]
    damaged(folder, path, "flipped")
    record, lines = night(config | {"output": str(folder / "3")})
    assert [line for line in lines if line.startswith(f"{path}: is damaged") and line.endswith(HERE)] == lines != []
    assert record["manifest_hash"] == whole
    assert found(folder, "3") == []


@pytest.mark.slow
@pytest.mark.parametrize("pattern", ["embedding-*/*.where.json", "concepts-*/centroids.npz", "concepts-*/*.stage.json"])
def test_what_no_run_can_do_without_is_made_again_by_the_command_that_the_line_names(fresh, pattern):
    folder, config, whole = fresh
    damaged(folder, next((folder / "2").glob(f"stages/{pattern}")), "flipped")
    with pytest.raises(Exception, match=r"is damaged .*; give the command of that run again, which makes it anew"):
        night(config | {"output": str(folder / "3")})
    _, lines = night(config | {"output": str(folder / "2")})
    assert len(lines) == 1
    assert found(folder, "2") == []
    assert night(config | {"output": str(folder / "3")})[0]["manifest_hash"] == whole


@pytest.mark.slow
def test_damaged_picks_of_the_base_count_for_an_increment_and_are_not_reused(tmp_path):
    pool = write_metadata(tmp_path / "pool", [400])
    config = metadata_config(
        pool, tmp_path / "1", base="latest", selection={"variant": "paper", "keep": 0.25, "per": "increment"}
    )
    night(config)
    write_metadata(pool, [200], seed=1)
    for path in (tmp_path / "1").glob("stages/selection-*/*.npz"):
        path.write_bytes(bytes(path.stat().st_size))
    record, lines = night(config | {"output": str(tmp_path / "2")})
    assert record["totals"]["kept"] == 150
    assert all(line.endswith(HERE) for line in lines)


@pytest.mark.slow
def test_vectors_of_the_base_are_computed_by_the_next_run(tmp_path):
    pool = tmp_path / "pool"
    pool.mkdir()
    for shard in (0, 1):
        write_tar(pool / f"{shard}.tar", members(shard, 8))
    config = tar_config(pool, tmp_path / "1", base="latest")
    night(config)
    write_tar(pool / "2.tar", members(2, 8))
    night(config | {"output": str(tmp_path / "2")})
    write_tar(pool / "3.tar", members(3, 8))
    whole = full_run(config, tmp_path)
    first, second = sorted((tmp_path / "1").glob("stages/embedding-*/*.image.npy"))
    damaged(tmp_path, first, "flipped")
    damaged(tmp_path, second, "deleted")
    assert [line.partition(": ")[0] for line in found(tmp_path, "2")] == [str(first), str(second)]
    record, lines = night(config | {"output": str(tmp_path / "3")})
    assert record["manifest_hash"] == whole
    print(lines, found(tmp_path, "3"))
    assert {line.partition(": ")[0] for line in lines} == {str(first), str(second)}
    assert all(line.endswith(HERE) for line in lines)
    assert record["base"]["embedded_shards"] == 3
    assert found(tmp_path, "3") == []


class Listening(Told):
    """A reporter that keeps, besides, what stages found, by their names."""

    def __init__(self):
        super().__init__()
        self.stages, self.stage = [], ""

    def start(self, stage, total, unit):
        self.stage = stage

    def finish(self, summary):
        self.stages.append((self.stage, summary))


@pytest.mark.parametrize("pattern", ["embedding-*/*.rows.parquet", "filters-*/*.reasons.parquet", "graph-*/parts.json"])
def test_one_object_is_said_once_and_the_stages_are_gone_through_once(fresh, pattern):
    folder, config, _ = fresh
    path = next((folder / "2").glob(f"stages/{pattern}"))
    damaged(folder, path, "flipped")
    listening = Listening()
    incremental.run(parse_config(config | {"output": str(folder / "2")}), listening)
    (line,) = beside_steps(listening)
    assert str(path) in line
    assert listening.stages[0] == ("check", "1 object is damaged")
    stages = [stage for stage, _ in listening.stages if stage != "check"]
    assert len(stages) == len(set(stages))
