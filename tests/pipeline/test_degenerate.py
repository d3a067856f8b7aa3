"""Pools that clustering and search find hard: each ends with a sound run, nothing lost, nothing stuck."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pools import metadata_config, unit

from filtering.manifests.verify import problems
from filtering.storage.store import Store


def write_vectors(folder, images, texts=None):
    """Write one file of metadata with given image vectors."""
    folder.mkdir()
    uids = [f"{row:032x}" for row in np.random.default_rng(9).permutation(len(images))]
    pq.write_table(
        pa.table({"uid": uids, "text": [f"caption {row}" for row in range(len(images))]}), folder / "a.parquet"
    )
    vectors = images.astype(np.float16)
    np.savez(folder / "a.npz", l14_img=vectors, l14_txt=vectors if texts is None else texts.astype(np.float16))
    return folder


def filtered(run, folder, tmp_path, **sections):
    """Run with everything automatic and return run.json, checked."""
    config = metadata_config(folder, tmp_path / "run", concepts={}, **sections)
    record = run(config)
    assert list(problems(Store(str(tmp_path / "run")))) == []
    totals = record["totals"]
    assert totals["input"] == totals["kept"] + totals["dropped"] + totals["quarantined"]
    return record


def points(rows, dimension, seed=0):
    return unit(np.random.default_rng(seed).normal(size=(rows, dimension)))


def test_all_rows_equal(run, tmp_path):
    pool = write_vectors(tmp_path / "pool", np.repeat(points(1, 32), 6_000, axis=0))
    record = filtered(run, pool, tmp_path)
    assert record["totals"]["kept"] == 1_800
    # One vector cannot be split: its copies have sections of their own.
    assert record["graph"]["partitions"] > 1
    assert record["recall"] == 1.0


@pytest.mark.slow
def test_one_cluster_holds_half_the_pool(run, tmp_path):
    twins = np.repeat(points(1, 32), 4_000, axis=0) + 1e-3 * np.random.default_rng(1).normal(size=(4_000, 32))
    pool = write_vectors(tmp_path / "pool", np.concatenate([unit(twins), points(4_000, 32, 2)]))
    record = filtered(run, pool, tmp_path)
    assert record["totals"]["kept"] == 2_400
    assert record["graph"]["isolated"] == 0


@pytest.mark.parametrize(("rows", "dimension"), [(100, 16), (3, 16), (1, 16), (300, 1024)])
def test_few_rows_and_long_vectors(run, tmp_path, rows, dimension):
    record = filtered(
        run,
        write_vectors(tmp_path / "pool", points(rows, dimension)),
        tmp_path,
        selection={"variant": "paper", "keep": 0.5},
    )
    assert record["totals"]["kept"] == rows // 2
    assert record["recall"] > 0.9


def test_zero_and_broken_rows_are_quarantined(run, tmp_path):
    images, texts = points(400, 16), points(400, 16, 1)
    images[:5], texts[5:8] = 0, 0
    images[10, 3], images[11, 4], texts[12, 0] = np.nan, np.inf, -np.inf
    record = filtered(run, write_vectors(tmp_path / "pool", images, texts), tmp_path)
    assert record["reasons"]["quarantined"] == {"embedding_not_finite": 3, "embedding_zero": 8}


def test_nothing_but_broken_rows(run, tmp_path):
    record = filtered(run, write_vectors(tmp_path / "pool", np.zeros((50, 16))), tmp_path)
    assert (record["totals"]["kept"], record["totals"]["quarantined"]) == (0, 50)
    assert record["warnings"] == ["no sample reached selection, so nothing is kept; the reasons below say why"]


@pytest.mark.slow
def test_a_selection_that_keeps_nothing_says_so(run, tmp_path):
    pool = write_vectors(tmp_path / "pool", points(100, 16))
    parts = {"one": {"method": "threshold", "threshold": 5}, "two": {"method": "top"}}
    less = "selection.keep: {} of {} that reached top is less than one, so nothing is kept; raise keep"
    for selection, line in (
        ({"method": "top", "keep": 0.0001}, less.format("0.0001", "100 samples")),
        ({"steps": [{"method": "top", "keep": one} for one in (1, 0.5)]}, less.format("0.5", "1 sample")),
        (
            {"steps": [{"method": "top", "keep": one} for one in (1, 0.5, 0.7)]},
            less.format("0.5", "1 sample"),
        ),
        (
            {"method": "threshold", "threshold": 5},
            "threshold keeps none of 100 samples that reached it, so nothing is kept",
        ),
        ({"steps": [{"any": ["one"]}]}, "threshold keeps none of 100 samples that reached it, so nothing is kept"),
        ({"steps": [{"any": ["one", "two"]}]}, ""),
    ):
        record = filtered(run, pool, tmp_path, selection=selection, selections=parts)
        assert [one for one in record["warnings"] if "nothing is kept" in one] == ([line] if line else [])
        assert (record["totals"]["kept"] == 0) == bool(line)
    apart = {"one": {"method": "top", "budget": "pool", "keep": 5}, "two": {"method": "threshold", "threshold": 0}}
    apart["two"]["score"] = {"combine": {"of": [{"score": "clip_score", "weight": -1}], "by": "zscore"}}
    record = filtered(run, pool, tmp_path, selection={"steps": [{"all": ["one", "two"]}]}, selections=apart)
    assert record["warnings"] == ["no sample is in all of 2 selections, so nothing is kept"]
