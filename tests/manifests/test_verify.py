import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pools import metadata_config

from filtering.core.errors import InputError
from filtering.manifests.verify import problems
from filtering.runtime.run_record import read_run, write_run
from filtering.storage.store import Store, checksum


@pytest.fixture(scope="module")
def finished(metadata_pool, tmp_path_factory):
    from pools import Silent

    from filtering.config.run import parse_config
    from filtering.pipeline import run as pipeline

    folder = tmp_path_factory.mktemp("verify") / "run"
    pipeline.run(parse_config(metadata_config(metadata_pool, folder)), Silent())
    return folder


@pytest.fixture
def copy(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("stages"))


def found(folder):
    return list(problems(Store(str(folder))))


def replace(folder, name, data):
    """Overwrite an object and its checksum: what a forger would do."""
    (folder / name).write_bytes(data)
    sums = json.loads((folder / "manifest/checksums.json").read_text())
    sums[name] = checksum(data)
    (folder / "manifest/checksums.json").write_text(json.dumps(sums))


def parquet(table):
    return pq.write_table(table, sink := pa.BufferOutputStream()) or sink.getvalue().to_pybytes()


def test_a_sound_run_has_no_problems(copy):
    assert found(copy) == []


def test_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="no finished run"):
        found(tmp_path)


@pytest.mark.parametrize(
    "name", ["manifest/subset.npy", "manifest/shards.jsonl", "manifest/kept/00000000.parquet", "report/index.html"]
)
def test_a_missing_file_is_found(copy, name):
    (copy / name).unlink()
    assert any(name in problem for problem in found(copy))


@pytest.mark.parametrize("name", ["report/index.html", "report/page.json"])
def test_a_missing_part_of_the_report_is_found(finished, tmp_path, name):
    # With its stages: they know what belongs to it.
    run = shutil.copytree(finished, tmp_path / "run")
    assert found(run) == []
    (run / name).unlink()
    assert found(run) == [f"{name}: is not there"]


@pytest.mark.parametrize("name", ["manifest/subset.npy", "manifest/dropped/00000001.parquet"])
def test_a_flipped_byte_is_found(copy, name):
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(bytes(data))
    assert found(copy) == [f"{name}: its bytes have changed since it was written"]


def test_a_lost_row_is_found_even_with_a_new_checksum(copy):
    name = "manifest/kept/00000000.parquet"
    replace(copy, name, parquet(pq.read_table(copy / name).slice(1)))
    assert any("holds" in problem for problem in found(copy))
    assert any("totals.kept" in problem for problem in found(copy))
    assert any("subset.npy" in problem for problem in found(copy))
    assert any("manifest_hash" in problem for problem in found(copy))


def test_a_wrong_column_is_found(copy):
    name = "manifest/kept/00000000.parquet"
    replace(
        copy, name, parquet(pq.read_table(copy / name).rename_columns(["uid", "key", "shard", "c", "score", "rank"]))
    )
    assert any("its columns are" in problem for problem in found(copy))


def test_an_unsorted_subset_is_found(copy):
    subset = np.load(copy / "manifest/subset.npy")[::-1]
    np.save(copy / "reversed.npy", subset)
    replace(copy, "manifest/subset.npy", (copy / "reversed.npy").read_bytes())
    assert found(copy) == ["manifest/subset.npy: does not hold exactly the kept uids in order"]


def test_wrong_totals_are_found(copy):
    record = read_run(Store(str(copy)))
    record["totals"]["input"] += 1
    write_run(Store(str(copy)), record)
    assert any("totals.input" in problem for problem in found(copy))


def test_a_stray_table_is_found(copy):
    shutil.copy(copy / "manifest/kept/00000000.parquet", copy / "manifest/kept/00000009.parquet")
    assert found(copy) == ["manifest/kept/00000009.parquet: belongs to no shard of this run"]


def test_damage_to_the_checksums_is_not_taken_for_damage_to_what_they_name(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "run")
    sums = folder / "manifest/checksums.json"
    whole = sums.read_bytes()
    for place in range(0, len(whole), 71):
        sums.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert found(folder) == ["manifest/checksums.json: its bytes have changed since it was written"]
