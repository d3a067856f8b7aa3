"""Where a sample is: a kept one is found by its uid without a look through the shards."""

import json
import shutil

import pyarrow.parquet as pq
import pytest

from filtering.core.errors import DamagedError
from filtering.explanations.find import find
from filtering.manifests.artifacts import table_name
from filtering.manifests.finished import read_finished
from filtering.storage.store import Store


@pytest.fixture
def run(tar_run, tmp_path):
    return shutil.copytree(tar_run, tmp_path / "run")


def test_a_kept_sample_is_found_by_its_uid_alone(run):
    last = max(number for number, line in enumerate(lines(run)) if line["kept"])
    line = pq.read_table(run / table_name("kept", last)).to_pylist()[0]
    # Whoever looks through the shards begins with the first.
    (run / table_name("kept", 0)).unlink()
    found = find(read_finished(Store(str(run))), line["uid"])
    assert (found.kind, found.shard, found.line["key"]) == ("kept", last, line["key"])


def test_any_other_is_looked_for_in_every_shard(run):
    finished = read_finished(Store(str(run)))
    for kind in ("kept", "dropped"):
        for line in pq.read_table(run / "manifest" / kind).to_pylist():
            assert find(finished, line["uid"]).kind == kind
    (run / table_name("kept", 0)).unlink()
    dropped = pq.read_table(run / "manifest/dropped").to_pylist()[-1]
    with pytest.raises(DamagedError, match=r"kept/00000000\.parquet: is missing"):
        find(finished, dropped["uid"])


def lines(run):
    return [json.loads(line) for line in (run / "manifest/shards.jsonl").read_text().splitlines()]
