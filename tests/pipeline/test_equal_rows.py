"""Thousands of equal vectors: one of them is kept where duplicates are dropped, in pools of any layout."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from pools import metadata_config, unit
from test_degenerate import points, write_vectors

from filtering.manifests.verify import problems
from filtering.storage.store import Store


@pytest.fixture
def kept(run, tmp_path):
    """Runs a selection over a pool, and returns which rows of the pool were kept."""

    def start(images, selection, output=tmp_path / "run", **concepts):
        folder = output.parent / "pool"
        if not folder.exists():
            write_vectors(folder, images)
        uids = pq.read_table(folder / "a.parquet")["uid"].to_pylist()
        run(metadata_config(folder, output, concepts=concepts, selection=selection))
        assert list(problems(Store(str(output)))) == []
        tables = (output / "manifest/kept").glob("*.parquet")
        found = {uid for table in tables for uid in pq.read_table(table)["uid"].to_pylist()}
        return np.array([uid in found for uid in uids])

    return start


@pytest.mark.parametrize("count", [3_000, 6_000])
def test_semdedup_keeps_one_of_equal_vectors(kept, count):
    images = np.concatenate([np.repeat(points(1, 32), count, axis=0), points(500, 32, 1)])
    found = kept(images, {"method": "semdedup", "epsilon": 0.01})
    assert found[:count].sum() == 1
    assert found[count:].all()


def test_semdedup_keeps_one_of_all_that_the_step_before_left(kept):
    images = np.concatenate([np.repeat(points(1, 32), 3_000, axis=0), points(300, 32, 1)])
    steps = [{"method": "random", "keep": 0.01, "seed": 3}, {"method": "semdedup", "epsilon": 0.01}]
    found = kept(images, {"steps": steps})
    assert found[:3_000].sum() == 1


def test_many_groups_of_equal_vectors(kept):
    images = np.concatenate([np.repeat(points(4, 32), [3_000, 1_500, 800, 5], axis=0), points(500, 32, 1)])
    found = kept(images, {"method": "semdedup", "epsilon": 0.01}, largest=700)
    assert np.add.reduceat(found[:5_305].astype(int), [0, 3_000, 4_500, 5_300]).tolist() == [1, 1, 1, 1]


def test_copies_and_what_is_near_them_are_neighbours(run, tmp_path):
    near = unit(points(1, 32) + 0.01 * np.random.default_rng(2).normal(size=(300, 32)))
    pool = write_vectors(tmp_path / "pool", np.concatenate([np.repeat(points(1, 32), 3_000, axis=0), near]))
    record = run(metadata_config(pool, tmp_path / "run", concepts={}))
    assert record["recall"] > 0.9


@pytest.fixture(scope="module")
def copies(tmp_path_factory) -> Path:
    """One place for the runs of all methods: the graph is built once."""
    return tmp_path_factory.mktemp("copies")


@pytest.mark.slow
@pytest.mark.parametrize("method", [None, "d2", "random", "top", "moderate", "density", "flexrand"])
def test_other_methods_keep_as_many_copies_as_where_nothing_is_cut(kept, copies, method):
    images = np.concatenate([np.repeat(points(1, 32), 3_000, axis=0), points(2_000, 32, 1)])
    selection = {"keep": 0.3} | ({"method": method} if method else {})
    cut = kept(images, selection, copies / "cut")
    whole = kept(images, selection, copies / "whole", largest=5_000)
    assert cut.sum() == whole.sum() == 1_500
    assert abs(int(cut[:3_000].sum()) - int(whole[:3_000].sum())) <= 60
