import json
from pathlib import Path

import numpy as np
import pytest
import webdataset
from finished_runs import write_sums
from kept_runs import uid, write_run

from filtering.core.errors import DamagedError, InputError
from filtering.core.uids import subset_array
from filtering.samplers.infobatch import InfoBatch
from filtering.samplers.samples import kept_samples
from filtering.storage.store import Store


def test_kept_samples_are_those_of_all_tables_in_the_order_of_uids(tmp_path):
    shards = {
        "a.tar": [(uid(3), "k3"), (uid(1), "k1")],
        "empty.tar": [],
        "b.tar": [(uid(2), "k2"), (uid(7), "k7"), (uid(5), "k5")],
    }
    kept = kept_samples(write_run(tmp_path, shards))
    rows = [(name, key, url) for url, pairs in shards.items() for name, key in pairs]
    expected = sorted((name, key, url, number) for number, (name, key, url) in enumerate(rows))
    assert kept.shard_urls == ("a.tar", "b.tar")
    assert [name.decode() for name in kept.uids] == [name for name, _, _, _ in expected]
    assert kept.keys.to_pylist() == [key for _, key, _, _ in expected]
    assert [kept.shard_urls[at] for at in kept.shards] == [url for _, _, url, _ in expected]
    assert kept.ranks.tolist() == [number for _, _, _, number in expected]
    assert kept.scores.tolist() == [number / 8 for _, _, _, number in expected]
    assert kept.concepts.tolist() == [number % 3 for _, _, _, number in expected]
    assert kept.index.find([uid(5)])[0] == [name for name, _, _, _ in expected].index(uid(5))


def test_a_run_that_kept_nothing_gives_no_samples(tmp_path):
    kept = kept_samples(write_run(tmp_path, {"a.tar": []}))
    assert (len(kept), kept.shard_urls, len(kept.keys)) == (0, (), 0)
    assert kept.scores.dtype == np.float32


def test_an_unfinished_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no finished run"):
        kept_samples(str(tmp_path))


@pytest.mark.parametrize("keys", ["", "manifest", "../other", "manifest/kept/00000001.parquet"])
def test_a_line_that_names_no_table_of_its_shard_is_refused(tmp_path, keys):
    path = Path(write_run(tmp_path, {"a.tar": [(uid(1), "k1")], "b.tar": []})) / "manifest/shards.jsonl"
    first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([json.dumps(json.loads(first) | {"keys": keys}), *rest]) + "\n")
    # As a forger would.
    write_sums(Store(str(tmp_path)))
    with pytest.raises(DamagedError, match=r"shards\.jsonl: line 1: is damaged: keys must be manifest/kept/00000000\."):
        kept_samples(str(tmp_path))


def test_a_real_runs_shards_show_exactly_what_it_kept(tar_run):
    kept = kept_samples(str(tar_run))
    assert np.array_equal(subset_array(kept.uids), np.load(tar_run / "manifest/subset.npy"))
    lines = [json.loads(line) for line in (tar_run / "manifest/shards.jsonl").read_text().splitlines()]
    assert len(kept) == sum(line["kept"] for line in lines) > 0
    pipeline = webdataset.WebDataset(list(kept.shard_urls), shardshuffle=False)
    shown = list(pipeline.compose(InfoBatch(kept, epochs=3).stage(0)))
    assert sorted(sample["__position__"] for sample in shown) == list(range(len(kept)))
    assert all(sample["__key__"] == kept.keys[sample["__position__"]].as_py() for sample in shown)
