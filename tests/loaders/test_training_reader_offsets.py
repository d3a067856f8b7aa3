"""Reading kept samples from their places, once these are known, on a disk and from S3."""

import gzip
import random

import pytest
import torch
import webdataset
from training_reader_runs import tar_of, write_kept

from filtering.core.errors import InputError, RunError
from filtering.loaders import ChangedShardError, kept_pipeline
from filtering.storage.retries import taken
from filtering.storage.store import Store, write_object

SHARDS, SAMPLES, EVERY = 3, 200, 10


def samples_of(shard: int) -> list[tuple[str, dict[str, bytes]]]:
    noise = random.Random(shard)
    keys = [f"{shard:02d}{at:04d}" for at in range(SAMPLES)]
    return [(key, {"jpg": noise.randbytes(noise.randint(20_000, 60_000)), "txt": key.encode()}) for key in keys]


def write_pool(folder: str, every: int = EVERY, pack=bytes) -> tuple[str, int]:
    """Write shards and a run that kept every tenth sample; return the run's URL and the bytes of all shards."""
    kept, size = {}, 0
    for shard in range(SHARDS):
        samples, url = samples_of(shard), f"{folder}/{shard:08d}.tar"
        data = pack(tar_of(samples))
        write_object(url, data)
        size += len(data)
        kept[url] = [key for key, _ in samples[::every]]
    return write_kept(f"{folder}/run", list(kept), kept), size


def read(dataset) -> tuple[list[dict], int]:
    """Return samples and how many bytes were read for them."""
    taken()
    return list(dataset), taken()["read_bytes"]


def test_a_disk_is_read_at_the_kept_places_alone(tmp_path):
    run, size = write_pool(str(tmp_path))
    plain, passed = read(kept_pipeline(run))
    first, _ = read(kept_pipeline(run, offsets=str(tmp_path / "places")))
    again, placed = read(kept_pipeline(run, offsets=str(tmp_path / "places")))
    assert plain == first == again
    kept = sum(len(sample["jpg"]) + len(sample["txt"]) for sample in plain)
    assert kept < placed < 1.15 * kept
    assert placed < passed < 0.4 * size


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_s3_is_read_whole_once_and_at_the_kept_places_from_then_on(proxy, s3, workers):
    folder = f"s3://{s3.bucket}/reader-{workers}"
    run, size = write_pool(folder)
    dataset = kept_pipeline(run, offsets=f"{folder}/places").to_tuple("__key__", "jpg").batched(8)
    loader = torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=workers)
    found, read_bytes = [], []
    for _ in range(2):
        proxy.set()
        found.append(sorted((key, data) for keys, images in loader for key, data in zip(keys, images, strict=True)))
        read_bytes.append(proxy.counts()["bytes_out"])
    expected = [(key, parts["jpg"]) for shard in range(SHARDS) for key, parts in samples_of(shard)[::EVERY]]
    assert found == [expected, expected]
    assert 0.9 * size < read_bytes[0] < 1.05 * size
    assert read_bytes[1] < 0.25 * size


@pytest.mark.slow
def test_a_store_that_fails_now_and_then_costs_nothing(proxy, s3):
    folder = f"s3://{s3.bucket}/reader-faults"
    run, _ = write_pool(folder)
    expected = list(kept_pipeline(run))
    proxy.set(error_rate=0.1, cut_rate=0.05)
    for _ in range(2):
        assert list(kept_pipeline(run, offsets=f"{folder}/places")) == expected


@pytest.mark.slow
def test_a_shard_that_is_replaced_while_it_is_read_is_an_error(proxy, s3):
    folder = f"s3://{s3.bucket}/reader-replaced"
    run, _ = write_pool(folder)
    dataset = kept_pipeline(run, offsets=f"{folder}/places")
    list(dataset)
    stream = iter(kept_pipeline(run, offsets=f"{folder}/places"))
    next(stream)
    url = dataset.shard_urls[0]
    write_object(url, tar_of(samples_of(7)))
    with pytest.raises(RunError, match=f"{url}: was replaced while it was read"):
        list(stream)
    with pytest.raises(ChangedShardError, match=url):
        list(kept_pipeline(run, offsets=f"{folder}/places"))
    rest = kept_pipeline(run, on_changed="skip", handler=webdataset.ignore_and_continue)
    with pytest.warns(RuntimeWarning, match=url):
        assert {sample["__url__"] for sample in rest} == set(dataset.shard_urls[1:])


@pytest.mark.slow
@pytest.mark.parametrize(("every", "pack"), [(1, bytes), (EVERY, gzip.compress)])
def test_a_shard_that_is_kept_for_the_most_part_or_compressed_is_read_whole(tmp_path, every, pack):
    run, _ = write_pool(str(tmp_path), every, pack)
    expected, _ = read(kept_pipeline(run))
    for _ in range(2):
        assert read(kept_pipeline(run, offsets=str(tmp_path / "places")))[0] == expected
    assert len(Store(str(tmp_path / "places")).names()) == (SHARDS if pack is bytes else 0)


def test_no_offsets_are_written_into_a_run_or_a_pool(tmp_path):
    run, _ = write_pool(str(tmp_path / "pool"))
    for folder, told in (
        (f"{run}/places", "is inside the run's directory"),
        (tmp_path / "pool", "is where the input has"),
    ):
        with pytest.raises(InputError, match=rf"^offsets: {folder} {told} .*; choose a folder"):
            kept_pipeline(run, offsets=folder)
