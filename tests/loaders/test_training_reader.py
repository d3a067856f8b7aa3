"""What a pipeline over the pool's own tars yields: the kept samples, each once, byte for byte."""

import pickle
import tarfile
import warnings
from collections import Counter
from pathlib import Path

import pytest
import torch
from examples import examples
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from pools import members
from training_reader_runs import (
    by_webdataset,
    even,
    keys,
    numbered,
    place,
    pool_of,
    seat,
    tar_of,
    tar_of_members,
    write_kept,
)

from filtering.core.errors import InputError
from filtering.loaders import kept_pipeline
from filtering.storage.retries import taken

FORMS = [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT]
STEMS = st.text("abXY01-_ é", min_size=1, max_size=8)
FOLDERS = st.sampled_from(["", "", "a/", "b.c/", "./", "/", "x/../"])
EXTENSIONS = st.lists(
    st.sampled_from(["jpg", "JPG", "png", "txt", "json", "cls", "a.jpg", "seg.Png", "x.y.z", "ü", "b b", "__key__x"]),
    min_size=1,
    max_size=5,
    unique_by=str.lower,
)
PARTS = st.tuples(EXTENSIONS, st.binary(max_size=2000)).map(
    lambda drawn: {extension: drawn[1][at:] for at, extension in enumerate(drawn[0])}
)
SHARD = st.lists(
    st.tuples(st.builds(str.__add__, FOLDERS, STEMS), PARTS, st.booleans()), max_size=8, unique_by=lambda one: one[0]
)


@pytest.fixture
def run(tmp_path) -> str:
    """Six shards of ten samples, of which five are kept, but of the fourth none."""
    urls = numbered(tmp_path)
    return write_kept(tmp_path / "run", urls, {url: even(url) for url in urls if url != urls[3]})


def each_seat(dataset, nodes: int, workers: int) -> list[list[dict]]:
    """What every worker of every node reads in one epoch, each with its own copy of the pipeline."""
    copies = [pickle.loads(pickle.dumps(dataset)) for _ in range(nodes * max(1, workers))]
    found = []
    for number, copy in enumerate(copies):
        with seat(number // max(1, workers), nodes, number % max(1, workers), workers):
            found.append(list(copy))
    return found


@examples(0.4, suppress=HealthCheck.function_scoped_fixture)
@given(
    shards=st.lists(SHARD, min_size=1, max_size=4),
    form=st.sampled_from(FORMS),
    nodes=st.integers(1, 3),
    workers=st.integers(0, 3),
    shuffled=st.booleans(),
    offsets=st.sampled_from(["none", "noted", "found"]),
)
def test_every_kept_sample_comes_once_with_the_bytes_that_webdataset_reads(
    tmp_path_factory, shards, form, nodes, workers, shuffled, offsets
):
    folder = tmp_path_factory.mktemp("pool")
    urls = pool_of(folder, [tar_of([(key, parts) for key, parts, _ in shard], form) for shard in shards])
    kept = {url: [key for key, _, keep in shard if keep] for url, shard in zip(urls, shards, strict=True)}
    expected = [one for url in urls for one in by_webdataset(url) if one["__key__"] in kept[url]]
    run = write_kept(folder / "run", urls, kept, noted=offsets == "noted")
    if not expected:
        with pytest.raises(InputError, match="kept nothing"):
            kept_pipeline(run)
        return
    places = str(folder / "places") if offsets == "found" else None
    if places:
        assert sorted(kept_pipeline(run, offsets=places), key=place) == sorted(expected, key=place)
    dataset = kept_pipeline(run, shuffle_shards=shuffled, shuffle=5 if shuffled else 0, offsets=places)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [sample for part in each_seat(dataset, nodes, workers) for sample in part]
    assert dataset.samples == len(expected) == sum(dataset.samples_of_node(0, rank, nodes) for rank in range(nodes))
    assert sorted(found, key=place) == sorted(expected, key=place)
    extensions = {place(sample): list(sample) for sample in expected}
    assert all(list(sample) == extensions[place(sample)] for sample in found)


def test_what_is_chained_is_webdatasets(tmp_path):
    urls = pool_of(tmp_path, [tar_of_members(members(shard, 6)) for shard in range(2)])
    kept = {url: keys(by_webdataset(url))[1:4] for url in urls}
    dataset = kept_pipeline(write_kept(tmp_path / "run", urls, kept))
    images, texts = next(iter(dataset.decode("pil").to_tuple("jpg;png;webp", "txt").batched(6, partial=False)))
    assert [text.split()[-1] for text in texts] == [key for url in urls for key in kept[url]]
    assert {image.size for image in images} == {(64, 64)}


def test_epochs_differ_in_order_alone_and_a_seed_repeats_them(run):
    dataset = kept_pipeline(run, shuffle_shards=True, shuffle=7, seed=3)
    epochs = [keys(dataset) for _ in range(3)]
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert {tuple(sorted(epoch)) for epoch in epochs} == {tuple(sorted(epochs[0]))}
    again = kept_pipeline(run, shuffle_shards=True, shuffle=7, seed=3)
    again.set_epoch(1)
    assert keys(again) == epochs[1]
    assert keys(kept_pipeline(run, shuffle_shards=True, shuffle=7, seed=4)) != epochs[0]


def test_nodes_agree_on_the_order_before_they_share_it(run):
    dataset = kept_pipeline(run, shuffle_shards=True)
    for epoch in range(4):
        dataset.set_epoch(epoch)
        parts = each_seat(dataset, nodes=2, workers=2)
        assert Counter(key for part in parts for key in keys(part)) == Counter(keys(kept_pipeline(run)))
        sizes = [sum(map(len, parts[:2])), sum(map(len, parts[2:]))]
        assert sizes == [dataset.samples_of_node(epoch, rank, 2) for rank in (0, 1)]


@pytest.mark.parametrize(
    ("start", "persistent"), [("fork", False), ("fork", True), pytest.param("spawn", True, marks=pytest.mark.slow)]
)
def test_a_loader_shows_each_sample_once_in_every_epoch(run, start, persistent):
    dataset = kept_pipeline(run, shuffle_shards=True, shuffle=4)
    next(iter(dataset))  # A look in the loop itself does not set its workers apart.
    loader = torch.utils.data.DataLoader(
        dataset.to_tuple("__key__").batched(2),
        batch_size=None,
        num_workers=2,
        multiprocessing_context=start,
        persistent_workers=persistent,
    )
    epochs = [[key for (batch,) in loader for key in batch] for _ in range(2)]
    expected = sorted(keys(kept_pipeline(run)))
    assert [sorted(epoch) for epoch in epochs] == [expected, expected]
    assert epochs[0] != epochs[1]


def test_a_worker_that_is_spawned_has_the_node_of_its_loop(run):
    with seat(1, 2):
        sent = pickle.dumps(kept_pipeline(run))
    with seat(1, 2):
        expected = keys(kept_pipeline(run))
    assert 0 < len(expected) < kept_pipeline(run).samples
    assert keys(pickle.loads(sent)) == expected


def test_repeat_and_with_epoch_go_on_with_the_next_pass(run):
    dataset = kept_pipeline(run)
    assert Counter(keys(dataset.compose().repeat(2))) == dict.fromkeys(keys(kept_pipeline(run)), 2)
    assert len(keys(dataset.compose().with_epoch(37))) == 37


@pytest.mark.slow
def test_shards_are_drawn_equally_often_or_as_weighted(tmp_path):
    urls = numbered(tmp_path, shards=2)
    run = write_kept(tmp_path / "run", urls, {urls[0]: ["00001"], urls[1]: [f"01{at:03d}" for at in range(9)]})

    def shares(**options) -> float:
        drawn = Counter(keys(kept_pipeline(run, resampled=True, **options).with_epoch(3000)))
        return drawn["00001"] / drawn["01000"]

    assert 0.8 < shares() < 1.25
    assert 0.07 < shares(weights="kept") < 0.16
    assert shares(weights=(0, 1)) == 0
    streams = []
    for rank in range(2):
        with seat(rank, 2, 0, 1):
            streams.append(keys(kept_pipeline(run, resampled=True).with_epoch(200)))
    assert streams[0] != streams[1]


def test_weights_want_resampling(run):
    with pytest.raises(InputError, match="resampled=True"):
        kept_pipeline(run, weights="kept")


@pytest.mark.parametrize("weights", [(1,), (1, -1), (0, 0), "size", (float("nan"), 1)])
def test_weights_must_fit(tmp_path, weights):
    urls = numbered(tmp_path, shards=2)
    run = write_kept(tmp_path / "run", urls, {url: even(url) for url in urls})
    with pytest.raises(InputError, match="weights"):
        kept_pipeline(run, resampled=True, weights=weights)


def test_more_workers_than_shards_are_warned_of_once(run):
    dataset = kept_pipeline(run)
    with pytest.warns(RuntimeWarning, match="5 shards keep anything, but 3 nodes x 2 workers") as given_:
        each_seat(dataset, nodes=3, workers=2)
    assert len(given_) == 1


def test_shards_of_which_nothing_is_kept_are_not_opened_and_the_rest_is_passed(tmp_path):
    urls = pool_of(tmp_path, [tar_of([(f"{at:03d}", {"jpg": bytes(100_000)}) for at in range(60)])] * 3)
    run = write_kept(tmp_path / "run", urls, {urls[0]: ["005", "030"], urls[2]: ["059"]})
    Path(urls[1]).unlink()
    dataset = kept_pipeline(run)
    taken()
    assert keys(dataset) == ["005", "030", "059"]
    assert taken()["read_bytes"] < 2_000_000 < 2 * 6_000_000
