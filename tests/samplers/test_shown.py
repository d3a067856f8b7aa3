import contextlib
import json
import pickle

import numpy as np
import pytest
import torch
import webdataset
from kept_runs import uid, uids

from filtering.core.uid_rule import UidRule
from filtering.core.uids import derived_uid
from filtering.samplers.index import UidIndex
from filtering.samplers.infobatch import InfoBatch
from filtering.samplers.kakurenbo import Kakurenbo
from filtering.samplers.stream import Shown, sample_uid
from filtering.shards.writer import ShardSample, write_shard


def write_pool(folder, shards: int = 4, rows: int = 10) -> list[str]:
    """Write shards whose samples' captions are the numbers of their uids."""
    paths = []
    for shard in range(shards):
        numbers = range(shard * rows, (shard + 1) * rows)
        samples = [ShardSample(f"{at:09d}", b"image", str(at).encode(), {"uid": uid(at)}) for at in numbers]
        paths.append(str(write_shard(folder, shard, samples)))
    return paths


def reader(paths) -> webdataset.WebDataset:
    return webdataset.WebDataset(paths, shardshuffle=False)


def seen(samples) -> dict[int, tuple[int, float]]:
    return {int(sample["txt"]): (sample["__position__"], sample["__weight__"]) for sample in samples}


@pytest.mark.parametrize("before", [False, True])
def test_a_pipeline_shows_what_an_epoch_does_not_hide_before_decoding_or_after(tmp_path, before):
    index = UidIndex(uids(40))
    sampler = InfoBatch(index, epochs=10)
    sampler.observe(np.arange(40), np.arange(40))
    weights = sampler.weights(1)
    assert 0 < np.count_nonzero(weights == 0) < 40
    pipeline = reader(write_pool(tmp_path))
    stage = sampler.stage(1)
    found = seen(pipeline.compose(stage).decode() if before else pipeline.decode().compose(stage))
    position = dict(enumerate(index.find([uid(at) for at in range(40)]).tolist()))
    assert found == {at: (position[at], weights[position[at]]) for at in range(40) if weights[position[at]]}


@pytest.mark.slow
@pytest.mark.parametrize(("start", "workers"), [("fork", 2), ("spawn", 1)])
def test_workers_show_each_sample_once(tmp_path, start, workers):
    sampler = Kakurenbo(UidIndex(uids(40)))
    sampler.weights(0)
    sampler.observe(np.arange(40), np.arange(40), np.ones(40), np.ones(40))
    pipeline = reader(write_pool(tmp_path)).compose(sampler.stage(1)).to_tuple("__position__", "__weight__").batched(4)
    loader = torch.utils.data.DataLoader(pipeline, batch_size=None, num_workers=workers, multiprocessing_context=start)
    positions, weights = (np.concatenate(column) for column in zip(*loader, strict=True))
    assert sorted(positions.tolist()) == list(range(12, 40))
    assert (weights == 1).all()
    rest = reader(write_pool(tmp_path)).compose(sampler.rescoring_stage(1))
    assert sorted(position for position, _ in seen(rest).values()) == list(range(12))


def test_samples_that_the_run_did_not_keep_are_dropped(tmp_path):
    stage = InfoBatch(UidIndex(uids(7)), epochs=3).stage(0)
    assert sorted(seen(reader(write_pool(tmp_path)).compose(stage))) == list(range(7))


def test_a_stream_without_any_sample_of_the_pool_is_warned_of(tmp_path):
    stage = InfoBatch(5, epochs=3).stage(0)
    with pytest.warns(RuntimeWarning, match="none of 40 samples is one of the pool's 5"):
        assert not list(reader(write_pool(tmp_path)).compose(stage))
    assert not list(stage([]))


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        ({"json": json.dumps({"uid": uid(1).upper()}).encode()}, uid(1)),
        ({"json": {"uid": uid(1)}}, uid(1)),
        ({"json": b"{}"}, derived_uid("s3://pool/00.tar", "dir/7")),
        ({}, derived_uid("s3://pool/00.tar", "dir/7")),
        ({"__url__": "s3a://pool/00.tar"}, derived_uid("s3://pool/00.tar", "dir/7")),
        ({"json": b'{"uid": null}'}, derived_uid("s3://pool/00.tar", "dir/7")),
        ({"json": b'{"uid": 5}'}, None),
        ({"json": b"[]"}, derived_uid("s3://pool/00.tar", "dir/7")),
        ({"json": b"{broken"}, None),
        ({"json": b"\xff"}, None),
    ],
)
def test_a_samples_uid_is_the_runs(sample, expected):
    assert sample_uid({"__key__": "dir/7", "__url__": "s3://pool/00.tar", **sample}) == expected


@pytest.mark.parametrize(
    ("rule", "place"),
    [(UidRule("name"), "00.tar"), (UidRule(root="s3://pool"), "00.tar"), (UidRule(root="s3://x"), None)],
)
def test_a_stage_derives_uids_by_the_rule_of_its_index(rule, place):
    index = UidIndex(np.array([derived_uid("00.tar", "7")], dtype="S32"), rule)
    sample = {"__key__": "7", "__url__": "s3://pool/00.tar"}
    with pytest.warns(RuntimeWarning) if place is None else contextlib.nullcontext():
        assert len(list(Shown(index, np.ones(1, np.float32))([sample]))) == (place is not None)


def test_a_sample_may_be_named_by_its_key_or_by_a_function():
    index = UidIndex(uids(3))
    sample = {"__key__": uid(2), "__url__": "new.tar"}
    (found,) = Shown(index, np.ones(3, np.float32))([sample])
    assert found["__position__"] == index.find([uid(2)])[0]
    stage = Shown(index, np.ones(3, np.float32), uid_of=lambda sample: uid(int(sample["__key__"])))
    assert [one["__position__"] for one in stage([{"__key__": "1"}])] == index.find([uid(1)]).tolist()
    assert "__position__" not in sample


def test_a_stage_stays_that_of_its_epoch_and_is_pickled_by_value():
    index = UidIndex(uids(30))
    sampler = Kakurenbo(index)
    stage = sampler.stage(0)
    sampler.observe(np.arange(30), np.arange(30), np.ones(30), np.ones(30))
    later = pickle.loads(pickle.dumps(sampler.stage(1)))
    samples = [{"__key__": name.decode()} for name in index.uids]
    assert (len(list(stage(samples))), len(list(later(samples)))) == (30, 21)
