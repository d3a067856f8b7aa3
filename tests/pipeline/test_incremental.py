"""Runs that start from the one before: equal to a run over the whole pool, at less work."""

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from in_process import export
from pools import Silent, Told, members, metadata_config, tar_config, write_metadata, write_tar
from sampling import some_of

import filtering
from filtering.config.run import parse_config
from filtering.core.errors import InputError, RunError
from filtering.exports.options import Options
from filtering.loaders import kept_pipeline
from filtering.manifests.diff import diff
from filtering.pipeline import incremental
from filtering.runtime.latest import run_url
from filtering.storage.store import Store

SECTIONS = {
    "d2": {},
    "two rounds": {"selection": {"keep": 0.4, "rounds": 2, "scale": "median"}},
    "novelty": {"selection": {"variant": "novelty", "score": "uniform", "keep": 0.4}},
    "complexity": {"selection": {"variant": "paper", "keep": 300, "budget": "complexity"}},
    "strata": {"selection": {"method": "ccs", "keep": 0.5, "strata": 10}},
    "strata in concepts": {"selection": {"method": "d2", "budget": "strata", "scope": "concept", "strata": 4}},
    "pool": {"selection": {"method": "top", "budget": "pool"}},
    "exchanges": {"selection": {"method": "d2", "variant": "paper", "exchanges": 3, "budget": "pool"}},
    "semdedup": {"selection": {"method": "semdedup", "epsilon": 0.3}},
    "flexrand": {"selection": {"method": "flexrand", "keep": 0.4}},
    "distance": {"selection": {"method": "top", "score": "sds", "keep": 0.2}},
    "steps": {
        "selection": {
            "steps": [{"method": "semdedup", "epsilon": 0.2}, {"method": "d2", "variant": "paper", "keep": 0.5}]
        }
    },
    "weights": {"selection": {"variant": "paper", "keep": 0.5}, "weights": {"epoch": 2.5}},
    "filtered": {"filters": [{"clip_score": {"keep": 0.7}}]},
}


@pytest.fixture
def night():
    """Run a configuration as `filtering run` does and return its run.json."""
    return lambda config: incremental.run(parse_config(config), Silent())


def rewritten(pool: Path, number: int, seed: int) -> None:
    """Replace a file of a metadata pool, under its own name, by other samples."""
    other = write_metadata(pool.parent / f"other{seed}", [150], seed=seed)
    (source,) = other.glob("*.parquet")
    target = sorted(pool.glob("*.parquet"))[number]
    for suffix in (".parquet", ".npz"):
        target.with_suffix(suffix).write_bytes(source.with_suffix(suffix).read_bytes())


def removed(pool: Path, number: int) -> None:
    target = sorted(pool.glob("*.parquet"))[number]
    for suffix in (".parquet", ".npz"):
        target.with_suffix(suffix).unlink()


def whole(config: dict, base: Path, output: Path) -> dict:
    """The same configuration over the whole pool, with the concepts of a run but no base."""
    concepts = config.get("concepts", {}) | {"centroids": str(base)}
    return {key: value for key, value in config.items() if key != "base"} | {
        "concepts": concepts,
        "output": str(output),
    }


@pytest.fixture(scope="module")
def states(tmp_path_factory) -> list[Path]:
    """A pool in three nights: the second has a new and a changed shard, the third a shard less."""
    folder = tmp_path_factory.mktemp("states")
    pool = write_metadata(folder / "pool", [300, 250, 200])
    nights = [shutil.copytree(pool, folder / "1")]
    write_metadata(pool, [60], seed=1)
    rewritten(pool, 0, seed=2)
    nights.append(shutil.copytree(pool, folder / "2"))
    removed(pool, 2)
    return [*nights, pool]


@pytest.fixture(scope="module")
def reused(tmp_path_factory) -> Path:
    """Where runs over whole pools are written: each selection takes the place of the one before, and its graph."""
    return tmp_path_factory.mktemp("whole")


@pytest.mark.slow
@pytest.mark.parametrize("name", SECTIONS)
def test_three_nights_end_as_runs_over_the_whole_pool_do(night, states, reused, tmp_path, name):
    sections = SECTIONS[name]
    # Once without anything that runs of other selections left.
    reused = tmp_path / "whole" if "filters" in sections else reused
    pool = reused / "pool"
    config = metadata_config(pool, reused / "1", **sections)

    def becomes(state):
        shutil.rmtree(pool, ignore_errors=True)
        shutil.copytree(state, pool)

    becomes(states[0])
    night(config)
    becomes(states[1])
    second = night(config | {"output": str(tmp_path / "2"), "base": str(reused / "1")})
    full = night(whole(config, reused / "1", reused / "2"))
    assert second["base"]["shards"] == {"new": 1, "changed": 1, "removed": 0, "same": 2}
    assert second["base"]["embedded_shards"] == 2
    assert second["manifest_hash"] == full["manifest_hash"]
    if "weights" in sections:
        kept = [filtering.open_run(run).kept().to_table() for run in (tmp_path / "2", reused / "2")]
        assert kept[0]["repeat"].equals(kept[1]["repeat"]) and kept[0]["uid"].equals(kept[1]["uid"])
    # What a shard that is gone changes does not depend on the selection: some show that it is right.
    if name not in some_of(list(SECTIONS), 2):
        return
    becomes(states[2])
    third = night(config | {"output": str(tmp_path / "3"), "base": str(tmp_path / "2")})
    full = night(whole(config, reused / "1", reused / "3"))
    assert third["base"]["shards"] == {"new": 0, "changed": 0, "removed": 1, "same": 3}
    assert third["base"]["embedded_shards"] == 0
    assert third["manifest_hash"] == full["manifest_hash"]
    assert third["totals"] == full["totals"]
    same = ("nodes", "edges", "isolated", "degrees_by_power_of_2", "components", "largest_component")
    assert [third["graph"][name] for name in same] == [full["graph"][name] for name in same]


@pytest.mark.slow
def test_only_what_a_new_shard_touches_is_searched_and_selected_again(night, tmp_path):
    pool = write_metadata(tmp_path / "pool", [800, 700])
    config = metadata_config(pool, tmp_path / "1", base="latest", graph={"k": 3, "mean_replicas": 0.05})
    config["concepts"]["partition_rows"] = 100
    night(config)
    # After a first run, and after an increment; tests/graph/test_incremental_graphs.py has more nights.
    for number in (2, 3):
        write_metadata(pool, [8], seed=0, groups=[number], name=f"night {number}")
        record = night(config | {"output": str(tmp_path / f"{number}")})
        work = record["base"]["concepts"]
        assert 0 < work["selected"] <= work["searched"] + 2
        assert work["searched"] < work["all"] / 2
        assert record["graph"]["carried_partitions"] >= 4
        full = night(whole(config, tmp_path / "1", tmp_path / "b" / f"{number}"))
        assert record["manifest_hash"] == full["manifest_hash"]
        assert record["graph"]["edges"] == full["graph"]["edges"]
        assert abs(record["recall"] - full["recall"]) < 0.05


@pytest.mark.slow
def test_a_pool_that_is_the_same_takes_no_work_but_another_budget_takes_other_prefixes(night, tmp_path):
    pool = write_metadata(tmp_path / "pool", [400, 300])
    config = metadata_config(pool, tmp_path / "1", base="latest", selection={"variant": "paper", "keep": 0.3})
    night(config)
    for name, keep in (("less", 0.2), ("more", 0.34), ("all", 1.0)):
        again = config | {"output": str(tmp_path / name), "selection": {"variant": "paper", "keep": keep}}
        record = night(again)
        assert record["base"]["embedded_shards"] == record["base"]["concepts"]["searched"] == 0
        assert (record["base"]["concepts"]["selected"] > 0) == (keep == 1.0)
        assert record["manifest_hash"] == night(whole(again, tmp_path / "1", tmp_path / "b" / name))["manifest_hash"]


@pytest.mark.slow
def test_a_uid_whose_first_shard_is_gone_is_kept_from_the_next(night, tmp_path):
    pool = tmp_path / "pool"
    pool.mkdir()
    for shard in (0, 1, 2):
        write_tar(pool / f"{shard}.tar", shared(members(shard, 6), shard))
    first = night(tar_config(pool, tmp_path / "1", base="latest"))
    assert first["reasons"]["quarantined"] == {"uid_conflict": 2}
    (pool / "0.tar").unlink()
    second = night(tar_config(pool, tmp_path / "2", base="latest"))
    assert second["reasons"]["quarantined"] == {"uid_conflict": 1}
    assert second["base"]["embedded_shards"] == 0
    full = night(whole(tar_config(pool, tmp_path / "2"), tmp_path / "1", tmp_path / "b" / "2"))
    assert second["manifest_hash"] == full["manifest_hash"]


def shared(parts, shard):
    """Give the first sample of a shard a uid that the first of every shard has."""
    name, _ = parts[1]
    return [parts[0], (name, json.dumps({"uid": "a" * 32, "shard": shard}).encode()), *parts[2:]]


@pytest.mark.slow
def test_shards_in_another_order_are_not_embedded_again_and_all_else_is_done_again(night, tmp_path):
    pool = write_metadata(tmp_path / "pool", [300, 250])
    first, second = sorted(str(path) for path in pool.glob("*.parquet"))
    config = metadata_config(pool, tmp_path / "1", base="latest")
    night(config | {"input": {"metadata": [first, second]}})
    turned = config | {"input": {"metadata": [second, first]}, "output": str(tmp_path / "2")}
    record = night(turned)
    assert record["base"]["embedded_shards"] == 0
    assert record["base"]["concepts"]["searched"] == record["base"]["concepts"]["all"]
    assert record["manifest_hash"] == night(whole(turned, tmp_path / "1", tmp_path / "b" / "2"))["manifest_hash"]


@pytest.mark.slow
def test_a_budget_per_night_adds_to_what_the_nights_before_could_keep(night, tmp_path):
    pool = write_metadata(tmp_path / "pool", [400])
    config = metadata_config(
        pool, tmp_path / "1", base="latest", selection={"variant": "paper", "keep": 0.25, "per": "increment"}
    )
    assert night(config)["totals"]["kept"] == 100
    write_metadata(pool, [200], seed=6)
    assert night(config | {"output": str(tmp_path / "2")})["totals"]["kept"] == 150
    assert night(config | {"output": str(tmp_path / "3")})["totals"]["kept"] == 150
    with pytest.raises(InputError, match=r"selection\.per: increment needs a base"):
        night({key: value for key, value in config.items() if key != "base"} | {"output": str(tmp_path / "4")})


@pytest.mark.slow
def test_a_night_of_other_pictures_says_that_a_refit_is_due_and_a_refit_embeds_nothing_again(night, tmp_path):
    pool = write_metadata(tmp_path / "pool", [600])
    config = metadata_config(pool, tmp_path / "1", base="latest")
    assert not night(config)["warnings"]
    write_metadata(pool, [120], seed=9)
    drifted = night(config | {"output": str(tmp_path / "2")})
    assert drifted["drift"]["new_rows"] == 120
    assert any("refit of the concepts is due" in warning for warning in drifted["warnings"])
    concepts = config["concepts"] | {"refit": True}
    fitted = night(config | {"output": str(tmp_path / "3"), "concepts": concepts})
    assert fitted["base"]["embedded_shards"] == 0
    alone = metadata_config(pool, tmp_path / "b" / "3")
    assert fitted["manifest_hash"] == night(alone)["manifest_hash"]
    assert night(config | {"output": str(tmp_path / "4")})["manifest_hash"] == fitted["manifest_hash"]


def test_a_base_of_other_embeddings_is_refused_and_so_is_one_that_is_not_there(night, tmp_path):
    pool = write_metadata(tmp_path / "pool", [200])
    config = metadata_config(pool, tmp_path / "1", base="latest")
    night(config)
    other = {"input": {"metadata": str(pool), "arrays": {"image": "b32_img", "text": "b32_img"}}}
    with pytest.raises(InputError, match="was embedded with another model or other settings"):
        night(config | other | {"output": str(tmp_path / "2")})
    with pytest.raises(InputError, match=r"base: .*nowhere holds no finished run"):
        night(config | {"output": str(tmp_path / "2"), "base": str(tmp_path / "nowhere")})
    assert not (tmp_path / "2").exists()


@pytest.mark.slow
def test_latest_moves_only_after_verify(night, tmp_path, monkeypatch):
    pool = write_metadata(tmp_path / "pool", [200])
    config = metadata_config(pool, tmp_path / "1", base="latest")
    first = night(config)
    assert json.loads((tmp_path / "latest.json").read_text())["run"] == "1"
    write_metadata(pool, [50], seed=1)
    kept = tmp_path / "2" / "manifest" / "kept" / "00000000.parquet"
    monkeypatch.setattr(incremental, "problems", lambda store, **_: iter(["manifest/kept: does not hold"]))
    with pytest.raises(
        RunError, match="verify found 1 problem, the first one: manifest/kept: does not hold; latest stays 1"
    ):
        night(config | {"output": str(tmp_path / "2")})
    assert kept.exists()
    assert json.loads((tmp_path / "latest.json").read_text())["manifest_hash"] == first["manifest_hash"]
    monkeypatch.undo()
    # The next night starts from the last one that was verified.
    third = night(config | {"output": str(tmp_path / "3")})
    assert third["base"]["run"].endswith("/1")
    # Said to be sound after all, the second night does not push the third aside.
    night(config | {"output": str(tmp_path / "2")})
    assert json.loads((tmp_path / "latest.json").read_text())["run"] == "3"


@pytest.mark.slow
def test_a_finished_night_is_not_changed(night, tmp_path):
    pool = write_metadata(tmp_path / "pool", [200])
    config = metadata_config(pool, tmp_path / "1", base="latest")
    first = night(config)
    written = (tmp_path / "1" / "run.json").stat().st_mtime_ns
    assert night(config)["manifest_hash"] == first["manifest_hash"]
    assert (tmp_path / "1" / "run.json").stat().st_mtime_ns == written
    with pytest.raises(InputError, match="holds a finished run of another pool or configuration"):
        night(config | {"selection": {"variant": "paper", "keep": 0.5}})
    with pytest.raises(InputError, match="holds an incremental run"):
        night({key: value for key, value in config.items() if key != "base"})
    night(metadata_config(pool, tmp_path / "plain"))
    with pytest.raises(InputError, match="choose another output for an incremental run"):
        night(metadata_config(pool, tmp_path / "plain", base="latest"))


@pytest.mark.slow
def test_a_base_is_the_same_however_it_is_spelled(night, tmp_path):
    pool = write_metadata(tmp_path / "pool", [60])
    config = metadata_config(pool, tmp_path / "1", concepts={"clusters": 2})
    night(config)
    config |= {"output": str(tmp_path / "2"), "base": str(tmp_path / "1")}
    first = night(config)
    (tmp_path / "link").symlink_to(tmp_path / "1")
    (tmp_path / "root").symlink_to(tmp_path)
    for base in ("link", "link/", "root/1", "./1", "/1", "2/../1"):
        assert night(config | {"base": f"{tmp_path}/{base}"})["run_id"] == first["run_id"]
    shutil.copytree(tmp_path / "1", tmp_path / "other")
    with pytest.raises(
        InputError, match=rf"^base: the incremental run in .* started from {tmp_path}/1; set base to that"
    ):
        night(config | {"base": str(tmp_path / "other")})


def test_a_clock_that_was_set_back_makes_no_run_older_than_the_one_before(night, tmp_path, monkeypatch):
    """Else `latest` stays behind, and retention deletes the run that has just finished."""
    pool = write_metadata(tmp_path / "pool", [60])
    sections = {"base": "latest", "retention": {"keep_runs": 1}, "concepts": {"clusters": 2}}
    night(metadata_config(pool, tmp_path / "1", **sections))
    write_metadata(pool, [30], name="more")
    earlier = time.time() - 5 * 3600
    monkeypatch.setattr(incremental.time, "time", lambda: earlier)
    night(metadata_config(pool, tmp_path / "2", **sections))
    assert run_url(str(tmp_path / "latest")) == str(tmp_path / "2")
    assert (tmp_path / "2/run.json").exists()


@pytest.mark.slow
def test_old_nights_go_and_what_is_left_of_them_serves_the_next(night, tmp_path):
    pool = write_metadata(tmp_path / "pool", [300, 250])
    config = metadata_config(pool, tmp_path / "1", base="latest", retention={"keep_runs": 2})
    config["concepts"]["partition_rows"] = 100
    for number in range(1, 5):
        record = night(config | {"output": str(tmp_path / f"{number}")})
        write_metadata(pool, [6], seed=0, groups=[number], name=f"night {number}")
    left = {path.name for path in tmp_path.iterdir() if path.is_dir()}
    assert {"1", "3", "4"} <= left
    assert not (tmp_path / "1" / "run.json").exists()
    assert {path.name.partition("-")[0] for path in (tmp_path / "1" / "stages").iterdir()} == {"embedding", "graph"}
    assert record["base"]["shards"]["same"] == 4
    last = night(config | {"output": str(tmp_path / "5")})
    full = night(whole(config, tmp_path / "5", tmp_path / "b" / "5"))
    assert last["manifest_hash"] == full["manifest_hash"]
    assert np.isfinite(last["recall"])


@pytest.mark.slow
def test_the_first_night_beside_finished_runs_starts_from_the_newest(night, tmp_path):
    pool = write_metadata(tmp_path / "pool", [200])
    for name in ("b", "a"):
        night(metadata_config(pool, tmp_path / name))
    record = night(metadata_config(pool, tmp_path / "1", base="latest"))
    assert record["base"]["run"] == str(tmp_path / "a")
    assert record["base"]["embedded_shards"] == 0


@pytest.mark.slow
def test_samples_that_became_kept_and_dropped_are_told_by_concept_with_the_reason(night, tmp_path):
    pool = write_metadata(tmp_path / "pool", [300, 250])
    config = metadata_config(pool, tmp_path / "1", base="latest")
    before = night(config)
    removed(pool, 0)
    write_metadata(pool, [80], seed=1)
    after = night(config | {"output": str(tmp_path / "2"), "filters": [{"clip_score": {"threshold": 0.5}}]})
    found = diff(str(tmp_path / "1"), str(tmp_path / "2"))
    uids = [kept_of(tmp_path / name, "uid") for name in "12"]
    assert found["kept_before"] == before["totals"]["kept"] == len(uids[0])
    assert found["kept_after"] == after["totals"]["kept"]
    assert found["kept_in_both"] == len(uids[0] & uids[1])
    assert sum(found["became_kept"].values()) == len(uids[1] - uids[0])
    assert sum(found["became_dropped"].values()) == len(uids[0] - uids[1])
    assert found["became_kept"].keys() == {"new shard", "selection:d2"}
    assert found["became_dropped"].keys() == {"removed shard", "filter:clip_score", "selection:d2"}
    assert found["same_concepts"]
    for name in ("became_kept", "became_dropped"):
        assert sum(sum(concept[name].values()) for concept in found["concepts"]) == sum(found[name].values())
    assert diff(str(tmp_path / "2"), str(tmp_path / "2"))["concepts"] == []


def kept_of(run, column):
    tables = [pq.read_table(path, columns=[column]) for path in sorted((run / "manifest" / "kept").glob("*.parquet"))]
    return set(pa.concat_tables(tables)[column].to_pylist())


@pytest.mark.slow
def test_exports_of_a_night_read_the_rows_that_lie_in_an_earlier_one(night, tmp_path):
    pool = tmp_path / "pool"
    pool.mkdir()
    for shard in (0, 1):
        write_tar(pool / f"{shard}.tar", members(shard, 8))
    night(tar_config(pool, tmp_path / "1", base="latest"))
    write_tar(pool / "2.tar", members(2, 8))
    assert night(tar_config(pool, tmp_path / "2", base="latest"))["base"]["embedded_shards"] == 1
    run, kept = Store(run_url(str(tmp_path / "latest"))), kept_of(tmp_path / "2", "uid")
    export(run, "parquet", str(tmp_path / "table"))
    tables = [pq.read_table(path, columns=["uid"]) for path in (tmp_path / "table").glob("*.parquet")]
    assert set(pa.concat_tables(tables)["uid"].to_pylist()) == kept
    export(run, "datacomp", str(tmp_path / "vectors"), Options(embeddings=True))
    tables = [pq.read_table(path) for path in (tmp_path / "vectors").glob("*.parquet")]
    assert set(pa.concat_tables(tables)["uid"].to_pylist()) == kept
    assert {sample["__key__"] for sample in kept_pipeline(str(tmp_path / "latest"))} == kept_of(tmp_path / "2", "key")


@pytest.mark.slow
def test_a_latest_that_was_deleted_is_said_beside_the_runs_that_are_there(tmp_path):
    config = metadata_config(write_metadata(tmp_path / "pool", [150]), "", base="latest")
    said = []
    for name in ("1", "2", "3"):
        told = Told()
        incremental.run(parse_config(config | {"output": str(tmp_path / "runs" / name)}), told)
        said += told.lines
        if name == "2":
            (tmp_path / "runs/latest.json").unlink()
    (first, deleted) = [line for line in said if "has no latest.json" in line]
    assert "this is the first incremental run there" in first
    assert deleted == (
        f"{tmp_path}/runs has no latest.json, but 2 finished incremental runs: this run processes the whole pool; to "
        f"go on from one of them instead, stop it, choose another output, and set base to {tmp_path}/runs/2"
    )
    assert json.loads((tmp_path / "runs/latest.json").read_text())["run"] == "3"


@pytest.mark.slow
def test_without_latest_a_run_without_a_base_is_started_from(tmp_path):
    config = metadata_config(write_metadata(tmp_path / "pool", [150]), "", base="latest")
    said = []
    for name, base in (("0", None), ("1", "latest"), ("2", "latest")):
        told = Told()
        incremental.run(parse_config(config | {"output": str(tmp_path / "runs" / name), "base": base}), told)
        said += told.lines
        (tmp_path / "runs/latest.json").unlink(missing_ok=True)
    assert [line.partition("latest.json: ")[2] for line in said if "latest.json" in line] == [
        f"this first incremental run starts from the newest finished run, {tmp_path}/runs/0",
        f"this run starts from the newest finished run, {tmp_path}/runs/0",
    ]


@pytest.mark.parametrize("older", [False, True])
def test_a_threshold_that_moves_assigns_the_rows_in_between_alone(night, tmp_path, older):
    pool, fraction = tmp_path / "pool", {"filters": [{"clip_score": {"keep": 0.7}}]}
    write_metadata(pool, [300, 250])
    config = metadata_config(pool, tmp_path / "1", base="latest", **fraction)
    record = night(config)
    if older:
        # Of which version the rows' distances are not known.
        base = Store(str(tmp_path / "1")).child(record["objects"]["concepts"])
        for name in base.names(".visits.npz"):
            arrays = dict(base.read_arrays(name))
            del arrays["distance"]
            base.write_arrays(name, arrays)
    # Their scores are those of others: the threshold moves, and some rows of every shard pass otherwise.
    write_metadata(pool, [200], seed=6)
    found = night(config | {"output": str(tmp_path / "2")})
    full = night(whole(config, tmp_path / "1", tmp_path / "whole" / "2"))
    assert found["manifest_hash"] == full["manifest_hash"]
    runs = (tmp_path / "2", found), (tmp_path / "whole" / "2", full)
    ours, theirs = (Store(str(run)).child(record["objects"]["concepts"]) for run, record in runs)
    names = [name for name in theirs.names() if name.endswith((".visits.npz", ".statistics.npz"))]
    assert len(names) == 6
    for name in names:
        mine, other = ours.read_arrays(name), theirs.read_arrays(name)
        assert mine.keys() == other.keys()
        assert all(np.array_equal(mine[key], other[key]) for key in mine)
    assert ours.read_table("concepts.parquet") == theirs.read_table("concepts.parquet")
    compared = [ours.read_record(name)["result"] for name in ours.names(".done") if name.startswith("nearest-")]
    new, old = max(compared), sum(compared) - max(compared)
    assert 0 < old < 40 < 100 < new or older


def test_many_small_shards_are_renewed_together(night, tmp_path, monkeypatch):
    # As of a thousand times as many: tasks have several shards each, and what these send is one object.
    monkeypatch.setattr("filtering.runtime.shard_groups.MOST_TASKS", 3)
    monkeypatch.setattr("filtering.graph.renewal_stage.LEAST_ROWS", 64)
    monkeypatch.setattr("filtering.graph.renewal_stage.BATCH_ROWS", 40)
    pool, fraction = tmp_path / "pool", {"filters": [{"clip_score": {"keep": 0.8}}]}
    write_metadata(pool, [60] * 7)
    config = metadata_config(pool, tmp_path / "1", base="latest", **fraction)
    night(config)
    write_metadata(pool, [30, 40, 20, 10], seed=4)
    removed(pool, 3)
    found = night(config | {"output": str(tmp_path / "2")})
    assert found["manifest_hash"] == night(whole(config, tmp_path / "1", tmp_path / "whole" / "2"))["manifest_hash"]
    graph = Store(str(tmp_path / "2")).child(found["objects"]["graph"])
    groups = [name for name in graph.names(".done") if "group-" in name]
    assert {name.partition("-")[0] for name in groups} >= {"differing", "losing", "meet"}
