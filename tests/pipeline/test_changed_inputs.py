"""Every byte that a run reads belongs to what its results are named by: whatever is written again is noticed."""

import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from in_process import export
from pools import Silent, members, metadata_config, picture, tar_config, write_metadata, write_tar

from filtering.config.run import parse_config
from filtering.core.errors import InputError, RunError
from filtering.embedding import tars
from filtering.embedding.demo_clip import CHECKPOINT, MODEL_CONFIG
from filtering.exports.options import Options
from filtering.pipeline import incremental, selection_steps
from filtering.pipeline import run as pipeline
from filtering.scores import tasks
from filtering.storage.store import Store

SMALL = {"concepts": {"clusters": 3}, "graph": {"k": 3}}


@pytest.fixture
def pool(tmp_path):
    write_metadata(tmp_path / "pool", [80, 60])
    return tmp_path / "pool"


def kept(folder):
    tables = [pq.read_table(path) for path in sorted((folder / "manifest/kept").glob("*.parquet"))]
    return sorted(uid for table in tables for uid in table["uid"].to_pylist())


def npz(pool, number=0):
    return sorted(pool.glob("*.npz"))[number]


@pytest.mark.slow
def test_an_npz_that_comes_later_is_read(run, pool, tmp_path):
    late, rows = npz(pool), pq.read_metadata(npz(pool).with_suffix(".parquet")).num_rows
    late.rename(tmp_path / "later.npz")
    config = metadata_config(pool, tmp_path / "run", **SMALL)
    assert run(config)["totals"]["quarantined"] == rows
    (tmp_path / "later.npz").rename(late)
    assert run(config)["totals"]["quarantined"] == 0


@pytest.mark.slow
def test_an_npz_that_is_written_again_is_read_again(run, pool, tmp_path):
    config = metadata_config(pool, tmp_path / "run", **SMALL)
    run(config)
    arrays = dict(np.load(npz(pool)))
    np.savez(npz(pool), **{name: array[::-1] for name, array in arrays.items()})
    os.utime(npz(pool), (5, 5))
    run(config)
    fresh = tmp_path / "fresh"
    run(metadata_config(pool, fresh, **SMALL))
    assert kept(tmp_path / "run") == kept(fresh)


@pytest.mark.slow
def test_an_npz_that_is_written_again_is_a_changed_shard_of_an_increment(run, pool, tmp_path):
    run(metadata_config(pool, tmp_path / "first", **SMALL))
    os.utime(npz(pool), (5, 5))
    config = metadata_config(pool, tmp_path / "second", base=str(tmp_path / "first"), **SMALL)
    record = incremental.run(parse_config(config), Silent())
    assert record["base"]["shards"] == {"new": 0, "changed": 1, "removed": 0, "same": 1}


@pytest.mark.slow
@pytest.mark.parametrize("links", [False, True])
def test_a_table_that_is_written_again_is_another_score(run, pool, tmp_path, links):
    uids = [uid for path in sorted(pool.glob("*.parquet")) for uid in pq.read_table(path)["uid"].to_pylist()]
    table = tmp_path / "blob" if links else tmp_path / "table.parquet"
    if links:
        (tmp_path / "table.parquet").symlink_to(table)
    score = {"table": str(tmp_path / "table.parquet"), "column": "s"}
    selection = {"method": "top", "budget": "pool", "score": score, "keep": 70}
    config = metadata_config(pool, tmp_path / "run", selection=selection, **SMALL)
    for order in (range(140), range(140)[::-1]):
        pq.write_table(pa.table({"uid": uids, "s": pa.array(order, pa.int64())}), table)
        os.utime(table, (order[0] + 1, order[0] + 1))
        run(config)
        assert kept(tmp_path / "run") == sorted(uid for uid, value in zip(uids, order, strict=True) if value >= 70)


@pytest.mark.slow
def test_targets_that_are_written_again_are_another_score(run, pool, tmp_path):
    for at, seed in enumerate((1, 2)):
        np.save(tmp_path / "t.npy", np.random.default_rng(seed).normal(size=(4, 32)).astype(np.float32))
        os.utime(tmp_path / "t.npy", (at + 1, at + 1))
        score = {"norm_sim": {"targets": str(tmp_path / "t.npy")}}
        for folder in ("run", f"fresh{seed}"):
            run(metadata_config(pool, tmp_path / folder, selection={"method": "top", "score": score}, **SMALL))
        assert kept(tmp_path / "run") == kept(tmp_path / f"fresh{seed}")
    assert kept(tmp_path / "fresh1") != kept(tmp_path / "fresh2")


def test_a_table_that_is_written_while_it_is_read_is_named_and_not_mixed(run, pool, tmp_path, monkeypatch):
    uids = [uid for path in sorted(pool.glob("*.parquet")) for uid in pq.read_table(path)["uid"].to_pylist()]
    table = tmp_path / "table.parquet"

    def write(values, time):
        pq.write_table(pa.table({"uid": uids, "s": pa.array(values, pa.int64())}), table)
        os.utime(table, (time, time))

    score = {"table": str(table), "column": "s"}
    selection = {"method": "top", "budget": "pool", "score": score, "keep": 70}
    config = metadata_config(pool, tmp_path / "run", selection=selection, **SMALL)
    write(range(140), 1)
    score_rows = tasks.score_rows

    def interrupted(*given):
        write(range(140)[::-1], 2)
        return score_rows(*given)

    with monkeypatch.context() as patch:
        patch.setattr(tasks, "score_rows", interrupted)
        with pytest.raises(RunError, match=r"table\.parquet: .* while the run read it; give the same command"):
            run(config)
    write(range(140), 1)
    run(config)
    assert kept(tmp_path / "run") == sorted(uids[70:])


@pytest.mark.slow
def test_a_table_that_is_deleted_between_its_listing_and_its_reading_is_named(run, pool, tmp_path, monkeypatch):
    uids = [uid for path in sorted(pool.glob("*.parquet")) for uid in pq.read_table(path)["uid"].to_pylist()]
    table = tmp_path / "table.parquet"
    pq.write_table(pa.table({"uid": uids, "s": pa.array(range(140), pa.int64())}), table)
    selection = {"method": "top", "budget": "pool", "score": {"table": str(table), "column": "s"}, "keep": 70}
    files_of = selection_steps.files_of

    def interrupted(spec):
        files = files_of(spec)
        table.unlink()
        return files

    monkeypatch.setattr(selection_steps, "files_of", interrupted)
    with pytest.raises(
        RunError, match=r"table\.parquet: it was deleted since the run listed it; give the same command"
    ):
        run(metadata_config(pool, tmp_path / "run", selection=selection, **SMALL))


def test_a_table_that_leads_elsewhere_while_it_is_read_and_back_is_named(run, pool, tmp_path, monkeypatch):
    uids = [uid for path in sorted(pool.glob("*.parquet")) for uid in pq.read_table(path)["uid"].to_pylist()]
    table = tmp_path / "table.parquet"
    for name, values in {"first": range(140), "other": range(140)[::-1]}.items():
        pq.write_table(pa.table({"uid": uids, "s": pa.array(values, pa.int64())}), tmp_path / name)

    def lead_to(name):
        table.unlink(missing_ok=True)
        table.symlink_to(tmp_path / name)

    selection = {"method": "top", "budget": "pool", "score": {"table": str(table), "column": "s"}, "keep": 70}
    config = metadata_config(pool, tmp_path / "run", selection=selection, **SMALL)
    lead_to("first")
    score_rows = tasks.score_rows

    def interrupted(*given):
        lead_to("other")
        try:
            return score_rows(*given)
        finally:
            lead_to("first")

    with monkeypatch.context() as patch:
        patch.setattr(tasks, "score_rows", interrupted)
        with pytest.raises(RunError, match=r"table\.parquet: .* since the run listed it; give the same command again"):
            run(config)
    run(config)
    assert kept(tmp_path / "run") == sorted(uids[70:])


def test_a_list_that_is_written_while_captions_are_matched_and_back_is_named(run, pool, tmp_path, monkeypatch):
    words = tmp_path / "words.txt"

    def write(text, time):
        words.write_text(text)
        os.utime(words, (time, time))

    write("caption", 1)
    selection = {"method": "top", "score": {"metaclip": {"entries": str(words)}}, "keep": 70}
    match_captions = tasks.match_captions

    def interrupted(*given):
        write("another", 2)
        try:
            return match_captions(*given)
        finally:
            write("caption", 1)

    monkeypatch.setattr(tasks, "match_captions", interrupted)
    with pytest.raises(RunError, match=r"words\.txt: it was written again since the run listed it; give"):
        run(metadata_config(pool, tmp_path / "run", selection=selection, **SMALL))


@pytest.mark.slow
def test_images_that_are_added_to_targets_while_they_are_read_are_not_read(run, tmp_path, monkeypatch):
    targets = tmp_path / "targets"
    for folder in (tmp_path / "pool", targets):
        folder.mkdir()
    write_tar(tmp_path / "pool/00000000.tar", members(0, 12))
    (targets / "a.jpg").write_bytes(picture(5))
    selection = {"method": "top", "budget": "pool", "score": {"norm_sim": {"targets": str(targets)}}, "keep": 6}
    config = {**SMALL, "selection": selection}
    write_context = tasks.write_context

    def interrupted(*given):
        for seed in range(6):
            (targets / f"{seed}.jpg").write_bytes(picture(1000 + seed))
        return write_context(*given)

    with monkeypatch.context() as patch:
        patch.setattr(tasks, "write_context", interrupted)
        run(tar_config(tmp_path / "pool", tmp_path / "run", **config))
    for seed in range(6):
        (targets / f"{seed}.jpg").unlink()
    run(tar_config(tmp_path / "pool", tmp_path / "fresh", **config))
    assert kept(tmp_path / "run") == kept(tmp_path / "fresh")


def test_a_tar_that_is_written_while_it_is_embedded_is_named(run, tmp_path, monkeypatch):
    tar = tmp_path / "pool/00000000.tar"
    tar.parent.mkdir()
    write_tar(tar, members(0, 12))
    embed = tars.TarEmbedder.__call__

    def interrupted(self, *given):
        os.utime(tar, (5, 5))
        return embed(self, *given)

    config = tar_config(tmp_path / "pool", tmp_path / "run", **SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(tars.TarEmbedder, "__call__", interrupted)
        with pytest.raises(RunError, match=r"00000000\.tar: it was written again since the run listed it"):
            run(config)
    assert run(config)["totals"]["input"] == 12


@pytest.mark.slow
def test_weights_that_are_written_before_a_worker_loads_them_are_named_and_not_mixed(run, tmp_path, monkeypatch):
    (tmp_path / "pool").mkdir()
    write_tar(tmp_path / "pool/00000000.tar", members(0, 12))
    weights = Path(shutil.copy(CHECKPOINT, tmp_path / "own.safetensors"))
    written = weights.read_bytes()
    again = written[:-1] + bytes([written[-1] ^ 1])
    write_inventory = pipeline.write_inventory

    def interrupted(*given):
        weights.write_bytes(again)
        return write_inventory(*given)

    def config(name):
        made = tar_config(tmp_path / "pool", tmp_path / name, **SMALL)
        model = shutil.copy(MODEL_CONFIG, tmp_path / "own.json")
        return made | {"embedding": made["embedding"] | {"model": str(model), "pretrained": str(weights)}}

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "write_inventory", interrupted)
        with pytest.raises(InputError, match=r"^embedding\.pretrained: .*own\.safetensors on .* is not the file that"):
            run(config("run"))
    assert run(config("run"))["manifest_hash"] == run(config("alone"))["manifest_hash"]


def test_an_npz_that_changed_since_the_run_is_not_exported(run, pool, tmp_path):
    run(metadata_config(pool, tmp_path / "run", **SMALL))
    os.utime(npz(pool), (5, 5))
    with pytest.raises((RunError, InputError), match="its npz has changed: it was written again"):
        export(Store(str(tmp_path / "run")), "datacomp", str(tmp_path / "out"), Options(embeddings=True))
    # The rows that the run wrote hold all that a table of the kept samples needs.
    assert export(Store(str(tmp_path / "run")), "parquet", str(tmp_path / "table"))["kept"]
