"""Uids of samples that bring none, in whole runs: one for each sample of a pool, whatever its shards are called."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pools import Silent, member, members, metadata_config, tar_config, write_metadata, write_tar

from filtering.config.run import parse_config
from filtering.core.errors import InputError
from filtering.core.uids import derived_uid
from filtering.loaders import kept_pipeline
from filtering.manifests.diff import diff
from filtering.pipeline import incremental
from filtering.runtime.run_record import read_run
from filtering.samplers.samples import kept_samples
from filtering.samplers.stream import Shown
from filtering.storage.store import Store

ALL = {"concepts": {"clusters": 1}, "selection": {"method": "random", "keep": 1.0}}
NAMES = ("cc3m", "cc12m")


@pytest.fixture
def night():
    """Run a configuration as `filtering run` does and return its run.json."""
    return lambda config: incremental.run(parse_config(config), Silent())


def datasets(folder: Path) -> list[str]:
    """Two datasets as img2dataset leaves them: the same names of shards and the same keys."""
    for number, name in enumerate(NAMES):
        (folder / name).mkdir(parents=True)
        samples = [member(f"{at:09d}", 100 * number + at) for at in range(5)]
        write_tar(folder / name / "00000.tar", [part for sample in samples for part in sample])
    return [f"{folder}/{name}" for name in NAMES]


def kept(run: Path) -> dict[tuple[str, str], str]:
    """The uids of a run's kept samples, by shard and key."""
    rows = pq.read_table(run / "manifest/kept").to_pylist()
    return {(row["shard"], row["key"]): row["uid"] for row in rows}


def quarantined(run: Path) -> list[tuple[str, str, str]]:
    rows = pq.read_table(run / "manifest/quarantined").to_pylist()
    return [(Path(row["shard"]).name, row["key"], row["reason"]) for row in rows]


@pytest.mark.slow
def test_two_datasets_of_the_same_file_names_are_kept_apart(run, tmp_path):
    pool = datasets(tmp_path)
    record = run(tar_config(pool, tmp_path / "run", **ALL))
    assert record["totals"] == {"input": 10, "kept": 10, "dropped": 0, "quarantined": 0}
    assert kept(tmp_path / "run") == {
        (shard, f"{at:09d}"): derived_uid(shard, f"{at:09d}")
        for shard in (f"{folder}/00000.tar" for folder in pool)
        for at in range(5)
    }


@pytest.mark.slow
def test_below_a_root_uids_do_not_depend_on_where_the_pool_is(run, tmp_path):
    hashes = set()
    for place in ("here", "there"):
        config = tar_config(datasets(tmp_path / place), tmp_path / f"run-{place}", **ALL)
        config["input"]["root"] = f"file://{tmp_path}/{place}/"
        hashes.add(run(config)["manifest_hash"])
    assert len(hashes) == 1
    uids = kept(tmp_path / "run-there")
    assert uids[f"{tmp_path}/there/cc3m/00000.tar", "000000001"] == derived_uid("cc3m/00000.tar", "000000001")


def test_by_name_uids_are_the_former_ones_and_ambiguous_names_are_refused(run, tmp_path):
    pool = datasets(tmp_path)
    config = tar_config(pool[:1], tmp_path / "run", **ALL)
    config["input"]["uids"] = "name"
    run(config)
    shard = f"{pool[0]}/00000.tar"
    assert kept(tmp_path / "run")[shard, "000000001"] == derived_uid("00000.tar", "000000001")
    config["input"]["shards"] = pool
    with pytest.raises(InputError, match=rf"^input\.uids: {shard} and {pool[1]}/00000\.tar have one name"):
        run(config | {"output": str(tmp_path / "two")})
    assert not (tmp_path / "two").exists()


@pytest.mark.parametrize("root", [None, "pool"])
def test_a_training_loop_derives_the_uids_of_the_run(run, tmp_path, root):
    config = tar_config(datasets(tmp_path / "pool"), tmp_path / "run", **ALL)
    config["input"]["root"] = root and str(tmp_path / root)
    run(config)
    samples = kept_samples(str(tmp_path / "run"))
    stage = Shown(samples.index, np.ones(len(samples), np.float32))
    assert len(list(stage(kept_pipeline(str(tmp_path / "run"), shuffle=0)))) == 10


@pytest.mark.slow
def test_a_loop_over_a_copy_of_the_pool_is_told_its_root(run, tmp_path):
    pool = datasets(tmp_path / "pool")
    config = tar_config(pool, tmp_path / "run", **ALL)
    config["input"]["root"] = str(tmp_path / "pool")
    run(config)
    samples = kept_samples(str(tmp_path / "run"), root=str(tmp_path / "copy"))
    stage = Shown(samples.index, np.ones(len(samples), np.float32))
    there = [{"__key__": "000000001", "__url__": f"{tmp_path}/copy/{name}/00000.tar"} for name in NAMES]
    assert len(list(stage(there))) == 2
    run(tar_config(pool, tmp_path / "no-root", **ALL))
    with pytest.raises(InputError, match=r"^root: the run had no input\.root \(input\.uids: url\)"):
        kept_samples(str(tmp_path / "no-root"), root=str(tmp_path / "copy"))


def older(run: Path) -> None:
    """Let a run's record look as one of a version that had no rule, and wrote no checksum."""
    record = read_run(Store(str(run)))
    del record["config"]["input"]["uids"], record["config"]["input"]["root"]
    Store(str(run)).write_json("run.json", record)


@pytest.mark.slow
def test_a_base_of_the_former_rule_is_refused_with_the_key_that_goes_on_with_it(night, tmp_path):
    pool = datasets(tmp_path)[:1]
    by_name = tar_config(pool, tmp_path / "runs/1", base="latest", **ALL)
    by_name["input"]["uids"] = "name"
    night(by_name)
    older(tmp_path / "runs/1")
    write_tar(tmp_path / "cc3m/00001.tar", members(7, 3))
    by_url = tar_config(pool, tmp_path / "runs/2", base="latest", **ALL)
    line = r"^base: .*/runs/1 was made with input\.uids: name; .* set input\.uids: name, "
    with pytest.raises(InputError, match=line):
        night(by_url)
    second = night(by_name | {"output": str(tmp_path / "runs/2")})
    assert second["base"]["embedded_shards"] == 1
    assert set(kept(tmp_path / "runs/1").items()) < set(kept(tmp_path / "runs/2").items())
    with pytest.raises(InputError, match=r"was made with input\.uids: name"):
        night(by_url | {"output": str(tmp_path / "runs/3")})


@pytest.mark.slow
def test_a_base_of_another_root_is_refused_unless_the_pool_moved(night, tmp_path):
    pool = datasets(tmp_path / "here")
    config = tar_config(pool, tmp_path / "runs/1", base="latest", **ALL)
    config["input"]["root"] = f"{tmp_path}/here"
    first = night(config)
    other = config | {"output": str(tmp_path / "runs/2"), "input": {"shards": pool, "root": str(tmp_path)}}
    with pytest.raises(InputError, match=rf"/runs/1 was made with input\.uids: url, input\.root: {tmp_path}/here; "):
        night(other)
    shutil.move(tmp_path / "here", tmp_path / "there")
    moved = {"shards": [f"{tmp_path}/there/{name}" for name in NAMES], "root": f"{tmp_path}/there"}
    second = night(config | {"output": str(tmp_path / "runs/2"), "input": moved})
    assert second["manifest_hash"] == first["manifest_hash"]
    assert second["base"]["embedded_shards"] == 2


@pytest.mark.slow
def test_another_rule_in_the_same_output_embeds_again(run, tmp_path):
    config = tar_config(datasets(tmp_path)[:1], tmp_path / "run", **ALL)
    for rule, place in (({}, f"{tmp_path}/cc3m/00000.tar"), ({"root": str(tmp_path)}, "cc3m/00000.tar")):
        run(config | {"input": config["input"] | rule})
        assert derived_uid(place, "000000001") in kept(tmp_path / "run").values()


@pytest.mark.parametrize("rule", [{"uids": "name"}, {"root": "/"}])
def test_a_score_that_reads_tars_again_knows_their_samples_by_the_same_rule(run, tmp_path, rule):
    selection = {"method": "flexrand", "score": {"dlc": {"masks": 2}}, "keep": 1.0}
    config = tar_config(datasets(tmp_path)[:1], tmp_path / "run", **ALL | {"selection": selection})
    assert run(config | {"input": config["input"] | rule})["totals"]["kept"] == 5


@pytest.mark.slow
def test_runs_of_two_rules_are_compared_by_shard_and_key(run, tmp_path):
    config = tar_config(datasets(tmp_path)[:1], tmp_path / "a", **ALL)
    run(config)
    run(config | {"output": str(tmp_path / "b"), "input": config["input"] | {"uids": "name"}})
    found = diff(str(tmp_path / "a"), str(tmp_path / "b"))
    assert (found["kept_in_both"], found["became_kept"], found["became_dropped"]) == (5, {}, {})


def test_metadata_without_uids_get_them_of_their_shard_and_key(run, tmp_path):
    """Files of the same name in two folders, one with keys, one without."""
    for number, (name, keyed) in enumerate(zip(NAMES, (True, False), strict=True)):
        folder = write_metadata(tmp_path / name, [20], seed=number)
        (path,) = folder.glob("*.parquet")
        table = pq.read_table(path).drop_columns(["uid"])
        table = table.append_column("key", pa.array(range(20))) if keyed else table
        pq.write_table(table, folder / "0.parquet")
        path.with_suffix(".npz").rename(folder / "0.npz")
        path.unlink()
    files = [f"{tmp_path}/{name}/0.parquet" for name in NAMES]
    record = run(metadata_config(tmp_path, tmp_path / "run", **ALL, input={"metadata": files}))
    assert record["totals"]["kept"] == 40
    assert kept(tmp_path / "run") == {(file, str(at)): derived_uid(file, str(at)) for file in files for at in range(20)}


def test_a_base_of_another_version_is_named_by_its_rule_first(night, tmp_path):
    """Its run.json says nothing of uids, and its embeddings lie where this version looks for none."""
    pool = write_metadata(tmp_path / "pool", [60])
    config = metadata_config(pool, tmp_path / "runs/1", base="latest")
    night(config)
    older(tmp_path / "runs/1")
    again = config | {"output": str(tmp_path / "runs/2")}
    line = r"^base: .*/runs/1 was made with input\.uids: name; .* set input\.uids: name to keep them, and give no base"
    with pytest.raises(InputError, match=line):
        night(again)
    by_name = again | {"input": config["input"] | {"uids": "name"}}
    with pytest.raises(InputError, match=r"^base: .* or by another version; "):
        night(by_name)
    assert night(by_name | {"base": None})["totals"]["input"] == 60


def with_uid(parts: list[tuple[str, bytes]], uid: str) -> list[tuple[str, bytes]]:
    return [(name, json.dumps({"uid": uid}).encode() if name.endswith(".json") else data) for name, data in parts]


@pytest.mark.slow
def test_another_sample_of_a_uid_is_told_from_the_same_one(night, tmp_path):
    """In three shards: the sample that stays, it once more under another key, its picture with another caption."""
    pool = tmp_path / "pool"
    pool.mkdir()
    same = [(name.replace("a.", "b."), data) for name, data in member("a", 1, b"a dog")]
    whole = {
        0: members(0, 4) + with_uid(member("a", 1, b"a dog"), "A" * 32),
        1: members(1, 4) + with_uid(same, "a" * 32) + with_uid(member("c", 2, b"a dog"), "a" * 32),
        2: members(2, 4) + with_uid(member("d", 1, b"a cat"), "a" * 32),
    }
    for shard, parts in whole.items():
        write_tar(pool / f"{shard}.tar", parts)
    first = night(tar_config(pool, tmp_path / "1", base="latest", **ALL))
    assert quarantined(tmp_path / "1") == [
        ("1.tar", "b", "duplicate_uid"),
        ("1.tar", "c", "uid_conflict"),
        ("2.tar", "d", "uid_conflict"),
    ]
    assert first["reasons"]["quarantined"] == {"duplicate_uid": 1, "uid_conflict": 2}
    (pool / "0.tar").unlink()
    second = night(tar_config(pool, tmp_path / "2", base="latest", **ALL))
    assert second["base"]["embedded_shards"] == 0
    assert quarantined(tmp_path / "2") == [("1.tar", "c", "uid_conflict"), ("2.tar", "d", "uid_conflict")]
    details = pq.read_table(tmp_path / "2/manifest/quarantined")["detail"].to_pylist()
    assert details[0] == f"uid {'a' * 32} is that of an earlier sample of the pool, whose caption or image is another"
    write_tar(pool / "0.tar", with_uid(member("d", 1, b"a cat"), "a" * 32))
    night(tar_config(pool, tmp_path / "3", base="latest", **ALL))
    assert quarantined(tmp_path / "3") == [
        ("1.tar", "b", "uid_conflict"),
        ("1.tar", "c", "uid_conflict"),
        ("2.tar", "d", "duplicate_uid"),
    ]


def test_rows_of_metadata_conflict_by_caption_and_vector(run, tmp_path):
    pool = write_metadata(tmp_path / "pool", [30])
    (path,) = pool.glob("*.parquet")
    rows, arrays = pq.read_table(path).to_pydict(), dict(np.load(path.with_suffix(".npz")))
    for row in (1, 2, 3):
        rows["uid"][row], rows["text"][row] = rows["uid"][0].upper(), rows["text"][0]
        for array in arrays.values():
            array[row] = array[0]
    rows["text"][2] = "another caption"
    arrays["l14_img"][3] = arrays["l14_img"][9]
    pq.write_table(pa.table(rows), path)
    np.savez(path.with_suffix(".npz"), **arrays)
    record = run(metadata_config(pool, tmp_path / "run", **ALL))
    assert record["reasons"]["quarantined"] == {"duplicate_uid": 1, "uid_conflict": 2}
    assert Store(str(tmp_path / "run")).exists("manifest/subset.npy")
