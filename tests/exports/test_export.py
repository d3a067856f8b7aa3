import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from in_process import export
from pools import metadata_config

from filtering.core.errors import InputError
from filtering.storage.store import Store


@pytest.fixture
def finished(run, metadata_pool, tmp_path):
    run(metadata_config(metadata_pool, tmp_path / "run"))
    return Store(str(tmp_path / "run"))


def test_datacomp_is_the_subset_file(finished, tmp_path):
    export(finished, "datacomp", str(tmp_path / "out"))
    export(finished, "datacomp", str(tmp_path / "named.npy"))
    subset = np.load(tmp_path / "out/subset.npy")
    assert np.array_equal(subset, np.load(tmp_path / "run/manifest/subset.npy"))
    assert np.array_equal(subset, np.load(tmp_path / "named.npy"))


def test_shards_agree_with_the_kept_tables(finished, tmp_path):
    found = export(finished, "shards", str(tmp_path / "out"))
    out = tmp_path / "out"
    sizes = json.loads((out / "sizes.json").read_text())
    lines = [json.loads(line) for line in (out / "shards.jsonl").read_text().splitlines()]
    assert sum(sizes.values()) == found["kept"] == json.loads((out / "manifest.json").read_text())["kept"]
    assert (out / "shards.txt").read_text().splitlines() == [line["url"] for line in lines]
    for at, line in enumerate(lines):
        kept = pq.read_table(tmp_path / f"run/manifest/kept/{at:08d}.parquet")["key"].to_pylist()
        assert json.loads((out / line["keys"]).read_text()) == kept
        assert sizes[line["url"].rsplit("/", 1)[-1]] == len(kept)


def test_an_unknown_format_is_refused(finished, tmp_path):
    with pytest.raises(InputError, match="did you mean shards"):
        export(finished, "shard", str(tmp_path))


def test_the_subset_file_goes_neither_into_the_pool_nor_into_another_run(
    finished, metadata_run, metadata_pool, tmp_path
):
    with pytest.raises(InputError, match="is where the input has"):
        export(finished, "datacomp", str(metadata_pool / "mine.npy"))
    with pytest.raises(InputError, match=f"is inside the run's directory {metadata_run};"):
        export(finished, "datacomp", str(metadata_run / "manifest/mine.npy"))
    assert not list(metadata_pool.glob("*.npy"))
    assert not (metadata_run / "manifest/mine.npy").exists()


def test_a_column_of_whole_numbers_comes_out_as_it_was(run, metadata_pool, tmp_path):
    uids = [uid for path in metadata_pool.glob("*.parquet") for uid in pq.read_table(path)["uid"].to_pylist()]
    values = {uid: 1_700_000_000 + at for at, uid in enumerate(uids)}
    pq.write_table(pa.table({"uid": uids, "time": pa.array(values.values(), pa.int64())}), tmp_path / "times.parquet")
    score = {"table": str(tmp_path / "times.parquet"), "column": "time"}
    run(metadata_config(metadata_pool, tmp_path / "run", selection={"method": "top", "keep": 0.1, "score": score}))
    export(Store(str(tmp_path / "run")), "parquet", str(tmp_path / "out"))
    table = pq.read_table(tmp_path / "out/00000000.parquet")
    assert table["table"].to_pylist() == [values[uid] for uid in table["uid"].to_pylist()]
    assert (table.schema.field("table").type, table.schema.field("clip_score").type) == (pa.float64(), pa.float32())
