"""Metadata with cells, columns and arrays that a run cannot use: all rows are counted, and the rest goes on."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pools import Silent, metadata_config, write_metadata

from filtering.config.run import parse_config
from filtering.core.errors import InputError
from filtering.manifests.artifacts import REPORT
from filtering.manifests.verify import problems
from filtering.pipeline import incremental
from filtering.report import stage as report_stage
from filtering.report.rendering import report_page
from filtering.storage.store import Store


def no_text(values):
    """Strings of any bytes: Arrow does not look at them when it is given buffers."""
    data = pa.array([one.encode() if isinstance(one, str) else one for one in values], pa.binary())
    return pa.Array.from_buffers(pa.string(), len(data), data.buffers())


def changed(path, **columns):
    table = pq.read_table(path).to_pydict()
    pq.write_table(pa.table({**table, **{name: edit(table.get(name)) for name, edit in columns.items()}}), path)


def put(at, value):
    def edit(values):
        return no_text([value if row == at else one for row, one in enumerate(values)])

    return edit


def filtered(run, pool, output, **sections):
    record = run(
        metadata_config(pool, output, concepts={"clusters": 3}, selection={"variant": "paper", "keep": 0.5}, **sections)
    )
    assert list(problems(Store(str(output)))) == []
    return record


@pytest.fixture
def pool(tmp_path):
    return write_metadata(tmp_path / "pool", [60, 50, 40])


def files(pool):
    """Return the files of a pool by their rows."""
    return {pq.read_metadata(path).num_rows: path for path in pool.glob("*.parquet")}


def test_bad_cells_cost_their_own_samples(run, pool, tmp_path):
    of = files(pool)
    changed(of[60], original_width=lambda _: ["None", "", *["256"] * 58], text=put(3, b"caf\xe9"))
    sizes = [float("nan"), 1e300, -1.0, 0.5, *[256.0] * 46]
    changed(of[50], original_width=lambda _: sizes, key=lambda _: no_text([b"\xff", *["k"] * 49]))
    changed(of[40], text=lambda values: [["a"] for _ in values])
    record = filtered(run, pool, tmp_path / "run", filters=[{"image": {"min_side": 100}}])
    assert record["totals"]["input"] == 150
    # Sizes that are not known pass.
    assert record["reasons"] == {
        "dropped": {"selection:d2": 54},
        "quarantined": {"caption_not_utf8": 1, "key_not_utf8": 1, "metadata_unreadable": 40},
    }
    assert record["warnings"] == []


@pytest.mark.parametrize("wrong", [60, 50])
def test_a_file_of_another_dimension_costs_its_own_rows_wherever_it_stands(run, pool, tmp_path, wrong):
    path = files(pool)[wrong]
    vectors = np.random.default_rng(0).normal(size=(wrong, 8)).astype(np.float16)
    np.savez(path.with_suffix(".npz"), l14_img=vectors, l14_txt=vectors)
    record = filtered(run, pool, tmp_path / "run")
    assert record["reasons"]["quarantined"] == {"arrays_mismatch": wrong}
    assert record["totals"]["input"] == 150
    found = pa.concat_tables([pq.read_table(one) for one in (tmp_path / "run/manifest/quarantined").glob("*.parquet")])
    assert set(found["shard"].to_pylist()) == {str(path)}
    assert set(found["detail"].to_pylist()) == {"its vectors have 8 dimensions, those of the pool have 32"}


def test_a_base_of_another_dimension_is_refused(run, pool, tmp_path):
    filtered(run, pool, tmp_path / "base")
    write_metadata(pool, [400], dimension=16, seed=5)
    config = metadata_config(pool, tmp_path / "run", concepts={"clusters": 3}, base=str(tmp_path / "base"))
    with pytest.raises(InputError, match=r"base: the vectors of .*/base have 32 dimensions, those of most rows now"):
        incremental.run(parse_config(config), Silent())


@pytest.mark.slow
def test_a_report_that_fails_does_not_fail_the_run(run, pool, tmp_path, monkeypatch):
    def fail(*_):
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")

    whole = run(metadata_config(pool, tmp_path / "whole"))
    with monkeypatch.context() as patch:
        patch.setattr(report_stage, "assembled", fail)
        record = run(metadata_config(pool, tmp_path / "run"))
    assert record["manifest_hash"] == whole["manifest_hash"]
    (warning,) = record["warnings"]
    assert warning.startswith("the report could not be written (UnicodeDecodeError: ")
    assert warning.endswith("the same command tries again")
    assert '"report_failed"' in (tmp_path / "run/events.jsonl").read_text()
    store = Store(str(tmp_path / "run"))
    assert list(problems(store)) == [f"{REPORT}: is not there"]
    with pytest.raises(InputError, match=f"has no {REPORT}; run its configuration again"):
        report_page(store)
    again = run(metadata_config(pool, tmp_path / "run"))
    assert again["warnings"] == []
    assert list(problems(store)) == []
    assert [one["name"] for one in again["stages"] if not one.get("reused")] == ["report"]
