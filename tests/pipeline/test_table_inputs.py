"""Pools of rows that come with vectors, in each form, from the configuration to the exports."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pools import Silent, metadata_config, write_metadata

from filtering.config.run import parse_config
from filtering.exports.export import export
from filtering.exports.options import Options
from filtering.pipeline.run import check, run
from filtering.planning.costs import Speed
from filtering.planning.plan import plan
from filtering.runtime.in_process import InProcessExecutor
from filtering.storage.store import Store

SELECTION = {"selection": {"keep": 0.3}}
COLUMNS = {"image": "image_embedding", "text": "text_embedding", "caption": "alt", "url": "link"}


@pytest.fixture(scope="module")
def datacomp(tmp_path_factory):
    """A pool as DataComp publishes it, of vectors that are halves of length 1."""
    return write_metadata(tmp_path_factory.mktemp("forms") / "datacomp", [400, 300])


@pytest.fixture(scope="module")
def clip_retrieval(datacomp):
    """The same rows as clip-retrieval's writer lays them out."""
    folder = datacomp.parent / "laion"
    for number, path in enumerate(sorted(datacomp.glob("*.parquet"))):
        arrays = np.load(path.with_suffix(".npz"))
        for side, stem in (("l14_img", "img_emb"), ("l14_txt", "text_emb")):
            (folder / stem).mkdir(parents=True, exist_ok=True)
            np.save(folder / stem / f"{stem}_{number}.npy", arrays[side])
        (folder / "metadata").mkdir(exist_ok=True)
        pq.write_table(pq.read_table(path), folder / "metadata" / f"metadata_{number}.parquet")
    return folder


@pytest.fixture(scope="module")
def tables(datacomp):
    """The same rows in tables with columns of vectors."""
    folder = datacomp.parent / "tables"
    folder.mkdir()
    for path in datacomp.glob("*.parquet"):
        arrays, found = np.load(path.with_suffix(".npz")), pq.read_table(path)
        vectors = {
            name: pa.array(list(arrays[side].astype(np.float32)), pa.list_(pa.float32()))
            for name, side in (("image_embedding", "l14_img"), ("text_embedding", "l14_txt"))
        }
        renamed = {"text": "alt", "url": "link"}
        columns = {renamed.get(name, name): found[name] for name in found.column_names}
        pq.write_table(pa.table({**columns, **vectors}), folder / path.name)
    return folder


def config_of(pool, output, **source):
    return parse_config({**metadata_config(pool, output), "input": source, **SELECTION})


@pytest.fixture(scope="module")
def runs(datacomp, clip_retrieval, tables):
    """A run over each form, by the name of its key."""
    sources = {
        "metadata": {"metadata": str(datacomp)},
        "clip_retrieval": {"clip_retrieval": str(clip_retrieval)},
        "tables": {"tables": str(tables), "columns": COLUMNS},
    }
    outputs = {key: datacomp.parent / f"run-{key}" for key in sources}
    return {key: (outputs[key], run(config_of("", outputs[key], **sources[key]), Silent())) for key in sources}


def test_every_form_of_a_pool_gives_the_same_manifest(runs):
    assert len({record["manifest_hash"] for _, record in runs.values()}) == 1
    for _, record in runs.values():
        assert record["totals"]["kept"] == 210
        assert record["totals"]["quarantined"] == 0


@pytest.mark.parametrize("key", ["clip_retrieval", "tables"])
def test_the_kept_rows_are_exported_with_their_urls_and_vectors(runs, key, datacomp, tmp_path):
    output, _ = runs[key]
    export(Store(str(output)), "parquet", str(tmp_path / "table"), progress=Silent(), executor=InProcessExecutor())
    (path,) = (tmp_path / "table").glob("*.parquet")
    assert pq.read_table(path)["url"].null_count == 0
    options = Options(embeddings=True)
    export(Store(str(output)), "datacomp", str(tmp_path / "subset"), options, Silent(), InProcessExecutor())
    found = dict[str, np.ndarray]()
    for one in (tmp_path / "subset").glob("*.npz"):
        found |= zip(pq.read_table(one.with_suffix(".parquet"))["uid"].to_pylist(), np.load(one)["img"], strict=True)
    assert len(found) == 210
    for one in datacomp.glob("*.parquet"):
        vectors = np.load(one.with_suffix(".npz"))["l14_img"]
        for uid, vector in zip(pq.read_table(one)["uid"].to_pylist(), vectors, strict=True):
            assert uid not in found or np.allclose(found[uid], vector, atol=1e-3)


def test_a_plan_counts_rows_and_the_copies_of_columns(clip_retrieval, tables, tmp_path, monkeypatch):
    monkeypatch.setattr("filtering.planning.plan.speed", lambda dimension, cpus: Speed(1e-9))
    sources = ({"clip_retrieval": str(clip_retrieval)}, {"tables": str(tables), "columns": COLUMNS})
    configs = [config_of("", tmp_path / "out", **source) for source in sources]
    mapped, copied = (plan(config, check(config)) for config in configs)
    assert mapped["rows"] == copied["rows"] == 700
    disks = [planned["stages"][0]["disk_bytes"] for planned in (mapped, copied)]
    assert disks[1] - disks[0] == 700 * 4 * 32


def test_an_array_of_clip_retrieval_that_changes_after_the_run_is_noticed(clip_retrieval, tmp_path):
    run(config_of("", tmp_path / "run", clip_retrieval=str(clip_retrieval)), Silent())
    path = clip_retrieval / "text_emb" / "text_emb_0.npy"
    whole = path.read_bytes()
    np.save(path, np.load(path)[::-1])
    record = run(config_of("", tmp_path / "run", clip_retrieval=str(clip_retrieval)), Silent())
    # The shard is embedded again; its other rows' vectors lie elsewhere.
    assert json.loads((tmp_path / "run" / "run.json").read_text())["manifest_hash"] == record["manifest_hash"]
    assert any(stage["name"] == "embedding" and not stage.get("reused") for stage in record["stages"])
    path.write_bytes(whole)
