"""A finished run and what it read besides its pool: whatever was written again since is named, and nothing is stale."""

import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pools import Silent, Told, members, metadata_config, tar_config, write_metadata, write_tar

from filtering.config.run import parse_config
from filtering.core.errors import InputError
from filtering.embedding.demo_clip import CHECKPOINT, MODEL_CONFIG
from filtering.manifests.verify import problems
from filtering.pipeline import incremental
from filtering.runtime.run_record import read_run, write_run
from filtering.storage.store import Store

SMALL = {"concepts": {"clusters": 3}, "graph": {"k": 3}}


def run(config, told=None):
    return incremental.run(parse_config(config), told or Silent())


def manifest(folder):
    return {path: path.read_bytes() for path in sorted((folder / "manifest").rglob("*")) if path.is_file()}


def halve(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def changed(path):
    """Write a source again, so that other samples are kept; a table in another order of values."""
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        pq.write_table(table.set_column(1, "worth", table["worth"].take(pa.array(range(len(table)))[::-1])), path)
    elif path.suffix == ".npy":
        np.save(path, -np.load(path))
    else:
        path.write_text("nothing\n")
    os.utime(path, (9, 9))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished incremental run that read a table, targets and a list: its folder and its configuration."""
    folder = tmp_path_factory.mktemp("sources")
    pool = write_metadata(folder / "pool", [30, 30])
    uids = [uid for path in sorted(pool.glob("*.parquet")) for uid in pq.read_table(path)["uid"].to_pylist()]
    pq.write_table(pa.table({"uid": uids, "worth": range(len(uids))}), folder / "table.parquet")
    dimension = np.load(next(pool.glob("*.npz")))["l14_img"].shape[1]
    np.save(folder / "targets.npy", np.eye(2, dimension, dtype=np.float32))
    (folder / "words.txt").write_text("caption\n")
    parts = [
        {"score": {"table": str(folder / "table.parquet"), "column": "worth"}},
        {"score": {"norm_sim": {"targets": str(folder / "targets.npy")}}},
    ]
    config = metadata_config(
        pool,
        folder / "runs/1",
        base="latest",
        selection={"method": "top", "budget": "pool", "score": {"combine": {"of": parts}}, "keep": 0.3},
        filters=[{"words": {"list": str(folder / "words.txt")}}],
        **SMALL,
    )
    (folder / "runs").mkdir()
    assert run(config)["totals"]["kept"] == 18
    return folder, config


@pytest.fixture
def own(finished, tmp_path):
    """A copy of it that may be damaged, with sources that may be written again."""
    folder, config = finished
    whole = shutil.copytree(folder, tmp_path / "whole")
    yield folder, config
    shutil.rmtree(folder)
    shutil.copytree(whole, folder)


@pytest.mark.parametrize("name", ["table.parquet", "targets.npy", "words.txt"])
def test_a_finished_increment_refuses_what_was_written_again(own, name):
    folder, config = own
    before = manifest(folder / "runs/1")
    run(config)
    changed(folder / name)
    with pytest.raises(InputError) as refused:
        run(config)
    assert str(refused.value) == (
        f"output: {folder}/runs/1 holds a finished run from before {folder / name} was written again; finished runs "
        "are not changed; choose another output"
    )
    halve(next((folder / "runs/1").glob("stages/graph-*/*.graph.npz")))
    with pytest.raises(InputError, match="was written again"):
        run(config)
    assert manifest(folder / "runs/1") == before


@pytest.mark.parametrize("how", ["of an older version", "damaged run.json"])
def test_a_repair_changes_no_manifest_although_nothing_says_what_was_read(own, how):
    folder, config = own
    one, before = folder / "runs/1", manifest(folder / "runs/1")
    if how == "of an older version":
        record = read_run(Store(str(one)))
        del record["sources"]
        write_run(Store(str(one)), record)
        changed(folder / "table.parquet")
        # Nothing is known of what it read.
        assert run(config)["manifest_hash"] == record["manifest_hash"]
        next(one.glob("stages/graph-*/*.graph.npz")).unlink()
    else:
        halve(one / "run.json")
        changed(folder / "table.parquet")
    with pytest.raises(InputError, match="from before a file was written again; finished runs are not changed; choose"):
        run(config)
    assert manifest(one) == before
    assert (one / "run.json").exists()


def test_a_damaged_record_is_made_again_with_the_same_manifest(own):
    folder, config = own
    one, before = folder / "runs/1", manifest(folder / "runs/1")
    halve(one / "run.json")
    run(config)
    assert manifest(one) == before
    assert list(problems(Store(str(one)))) == []


@pytest.mark.slow
def test_a_run_without_a_base_says_that_it_replaces_one_from_before_a_table_was_written_again(own):
    folder, config = own
    config = {key: value for key, value in config.items() if key != "base"} | {"output": str(folder / "full")}
    first = run(config)
    changed(folder / "table.parquet")
    told = Told()
    assert run(config, told)["manifest_hash"] != first["manifest_hash"]
    line = f"output: replaces the finished run there, from before {folder}/table.parquet was written again (manifest "
    assert [said for said in told.lines if said.startswith(line)]
    told = Told()
    run(config, told)
    assert not [said for said in told.lines if "replaces" in said]


@pytest.mark.slow
def test_weights_and_given_concepts_that_were_made_again_are_noticed(tmp_path):
    (tmp_path / "pool").mkdir()
    (tmp_path / "runs").mkdir()
    write_tar(tmp_path / "pool/00000000.tar", members(0, 12))
    weights = Path(shutil.copy(CHECKPOINT, tmp_path / f"own{CHECKPOINT.suffix}"))
    model = {"model": str(shutil.copy(MODEL_CONFIG, tmp_path / "own.json")), "pretrained": str(weights)}
    given = tar_config(tmp_path / "pool", tmp_path / "given", embedding=model, **SMALL)
    run(given)
    config = given | {"output": str(tmp_path / "runs/1"), "base": "latest"}
    config["concepts"] = config["concepts"] | {"centroids": str(tmp_path / "given")}
    run(config)
    run(given | {"concepts": {"clusters": 2}})
    with pytest.raises(InputError, match=r"from before concepts\.centroids .*/given was written again; finished"):
        run(config)
    run(given)
    run(config)
    data = weights.read_bytes()
    weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(InputError, match=r"from before a file of embedding\.model .*own\.json was written again; fin"):
        run(config)
