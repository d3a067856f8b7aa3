"""Benchmarks of reading, embedding, exporting and training from tars."""

import json

import pytest
from finished_runs import write_finished
from pools import members, write_tar

from benchmarks.speed import export, loader, memory, reading, training
from benchmarks.speed.embedding.__main__ import main as embedding

# DataComp's resharder, as far as its command line and its files go.
RESHARDER = """
import io, json, sys, tarfile, numpy as np
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
wanted = {f"{high:016x}{low:016x}" for high, low in np.load(given["-s"]).tolist()}
from pathlib import Path
with tarfile.open(Path(given["-o"]) / "00000000.tar", "w") as out:
    for path in sorted(Path(given["-i"]).glob("*.tar")):
        with tarfile.open(path) as tar:
            files = {info.name: tar.extractfile(info).read() for info in tar}
        for name in [name for name in files if name.endswith(".json")]:
            if json.loads(files[name])["uid"] in wanted:
                for extension in ("jpg", "json", "txt"):
                    data = files[name.removesuffix("json") + extension]
                    info = tarfile.TarInfo(f"{json.loads(files[name])['uid']}-0.{extension}")
                    info.size = len(data)
                    out.addfile(info, io.BytesIO(data))
print("processed 20 images in 1.25s", file=sys.stderr)
"""

# Of each shard of benchmarks.speed.memory, at a thousandth.
SAMPLES = {
    "10,000 pictures of 512 x 384": 10,
    "a member of 500 MB": 3,
    "pictures of 64 megapixels, of nine kinds": 9,
    "4,000 captions of 65 kB": 4,
}


def test_every_reader_finds_every_sample(measured):
    rows, printed = measured(reading.main, "--shards", 2, "--samples", 20, "--rounds", 2)
    assert [row["reader"] for row in rows] == ["filtering", "webdataset", "tarfile"]
    assert rows[1]["against webdataset"] == 1
    assert all(row["samples/s"] > 0 and row["seconds"] > 0 for row in rows)
    assert "against webdataset" in printed


def test_the_loader_reads_less_than_everything(measured):
    rows, printed = measured(loader.main, "--shards", 2, "--samples", 60, "--rounds", 2)
    assert [row["reader"] for row in rows] == ["webdataset, dropping", "pipeline, no offsets noted", "pipeline"]
    shares = [row["share of bytes"] for row in rows]
    assert shares[0] == pytest.approx(1, abs=0.01)
    assert shares[2] < shares[1] < shares[0]
    assert 0.05 < shares[2] < 0.3
    assert all(row["kept samples/s"] > 0 for row in rows)
    assert "2 shards, 10% of samples kept" in printed


@pytest.mark.slow
def test_the_loader_reads_from_s3_in_counted_requests(measured):
    rows, _ = measured(loader.main, "--shards", 1, "--samples", 40, "--rounds", 1, "--s3")
    assert rows[0]["share of bytes"] == pytest.approx(1, abs=0.01)
    assert rows[2]["share of bytes"] < 0.3
    assert all(row["requests"] > 0 for row in rows)


@pytest.mark.slow
def test_exports_are_compared_with_a_copy(measured):
    options = ("--shards", 2, "--samples", 20, "--rounds", 2, "--cpus", 1, "--address", "none")
    rows, printed = measured(export.main, *options, "--only", "export", "export, shuffled")
    names = [f"{name}, {end}" for end in ("written", "on the disk") for name in ("copy", "export", "export, shuffled")]
    assert [row[""] for row in rows] == names
    for row in rows:
        assert row["seconds"] <= row["median"]
        assert row["samples/s"] > 0
    assert rows[0]["of the copy"] == 1
    assert printed.startswith("40 samples of 2 MB, ")


@pytest.mark.slow
def test_the_resharder_must_write_the_same_samples(measured, tmp_path):
    (tmp_path / "resharder.py").write_text(RESHARDER)
    options = ("--shards", 1, "--samples", 20, "--rounds", 1, "--cpus", 1, "--address", "none", "--only", "resharder")
    rows, printed = measured(export.main, *options, "--resharder", tmp_path / "resharder.py")
    assert rows[1][""] == "resharder, written"
    assert rows[1]["seconds"] == 1.25
    assert "the same members with the same bytes" in printed
    (tmp_path / "resharder.py").write_text(RESHARDER.replace("if json.loads", "if False and json.loads"))
    with pytest.raises(SystemExit, match="the resharder wrote 0 samples"):
        measured(export.main, *options, "--resharder", tmp_path / "resharder.py")


@pytest.mark.slow
def test_an_embedding_worker_stays_below_its_bound(measured):
    name = "pictures of 64 megapixels, of nine kinds"
    (row,), _ = measured(memory.main, "--scale", 0.01, "--only", name)
    assert (row["shard"], row["samples"], row["rows"]) == (name, 9, 9)
    assert 100 < row["peak MB"] < row["bound MB"]


@pytest.mark.parametrize(("name", "samples"), SAMPLES.items())
def test_a_shard_has_its_samples_at_any_scale(name, samples):
    found = {member.partition(".")[0] for member, size, data in memory.SHARDS[name](0.001) if size == len(data())}
    assert len(found) == samples


def test_a_peak_above_its_bound_fails(measured, monkeypatch):
    row = {"samples": 3, "rows": 2, "seconds": 1.0, "peak MB": 900, "bound MB": 800}
    monkeypatch.setattr("benchmarks.lib.processes.apart", lambda function, folder: row)
    rows, _ = measured(memory.main, "--scale", 0.001, "--only", "a member of 500 MB", status=1)
    assert rows == [{"shard": "a member of 500 MB", **row}]


@pytest.mark.slow
def test_the_embedding_stage_is_compared_with_its_limits(measured, in_process):
    options = ("--model", "demo", "--pictures", "160x120", "--shards", 2, "--samples", 4, "--batch-size", 4)
    figures, printed = measured(embedding, *options, "--address", "none")
    assert figures["pairs"] == 8
    for rate in ("bare_forward", "decoding_alone_exact", "decoding_alone_draft", "stage"):
        assert figures[rate] > 0
    assert figures["draft_cosine"] > 0.99
    assert 0 <= figures["waited_share"] <= 1
    assert figures["of_both_on_the_same_cores"] > figures["of_bare_forward"] > 0
    assert "the stage, of both on the same cores" in printed


@pytest.mark.slow
def test_open_clip_trains_on_the_kept_samples(measured, tmp_path):
    (tmp_path / "pool").mkdir()
    write_tar(tmp_path / "pool/00000000.tar", members(0, 16))
    run = write_finished(tmp_path / "run", tmp_path / "pool", lambda uid: uid[-1] in "02468ace")
    kept = json.loads((tmp_path / "run/run.json").read_text())["totals"]["kept"]
    (row,), _ = measured(training.main, "--run", run.url, "--epochs", 1, "--batch-size", 1, "--workers", 0)
    assert row["keys"] == training.EXACT
    assert (row["kept"], row["steps"]) == (kept, kept)
    assert float(row["losses"]) >= 0
