"""Which runs can be read, and what is done with shards that are no longer what the run read."""

import os
from pathlib import Path

import pytest
import webdataset
from finished_runs import run_record, write_sums
from training_reader_runs import by_webdataset, even, keys, numbered, place, write_kept

from filtering.core.errors import InputError, RunError
from filtering.loaders import ChangedShardError, kept_pipeline
from filtering.samplers.infobatch import InfoBatch
from filtering.samplers.samples import kept_samples
from filtering.shards.inventory import write_inventory
from filtering.storage.store import Store

EMBEDDED = {"embedding": {"model": "demo", "max_image_bytes": 1 << 20}}


@pytest.fixture
def run(tmp_path) -> str:
    """Six shards of ten samples, of which five are kept, but of the fourth none."""
    urls = numbered(tmp_path)
    return write_kept(tmp_path / "run", urls, {url: even(url) for url in urls if url != urls[3]})


def test_a_method_of_training_decides_among_what_was_kept(run):
    sampler = InfoBatch(kept_samples(run), epochs=5)
    sampler.weights(0)
    sampler.observe(range(25), range(25))
    shown = list(kept_pipeline(run, shuffle_shards=True).compose(sampler.stage(1)))
    assert sorted(sample["__position__"] for sample in shown) == sampler.weights(1).nonzero()[0].tolist()
    assert len(shown) < 25


def changed(url: str) -> None:
    Path(url).write_bytes(Path(url).read_bytes() + bytes(512))


def touched(url: str) -> None:
    os.utime(url, (1, 1))


@pytest.mark.parametrize("what", [changed, touched, os.unlink])
def test_a_changed_shard_is_an_error_unless_it_is_skipped_or_read(run, what):
    dataset = kept_pipeline(run)
    url, all_keys = dataset.shard_urls[1], keys(dataset)
    what(url)
    with pytest.raises(ChangedShardError, match=f"{url}: "):
        list(kept_pipeline(run, handler=webdataset.ignore_and_continue))
    with pytest.warns(RuntimeWarning, match="it is skipped"):
        assert keys(kept_pipeline(run, on_changed="skip")) == [key for key in all_keys if not key.startswith("01")]
    if what is os.unlink:
        with pytest.raises(FileNotFoundError):
            list(kept_pipeline(run, on_changed="read"))
    else:
        assert keys(kept_pipeline(run, on_changed="read")) == all_keys


def test_a_shard_that_lost_kept_samples_goes_to_the_handler(run):
    dataset = kept_pipeline(run)
    url, all_keys = dataset.shard_urls[1], keys(dataset)
    Path(url).write_bytes(Path(url).read_bytes()[: Path(url).stat().st_size // 2])
    with pytest.raises(RunError, match=r"kept samples are not there, 0100\d for one; ends at byte"):
        list(kept_pipeline(run, on_changed="read"))
    found = keys(kept_pipeline(run, on_changed="read", handler=webdataset.ignore_and_continue))
    assert len(all_keys) - 5 < len(found) < len(all_keys)
    stopped = keys(kept_pipeline(run, on_changed="read", handler=webdataset.ignore_and_stop))
    assert stopped == found[: len(stopped)]
    assert not any(key.startswith("02") for key in stopped)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (None, "holds no finished run"),
        (
            run_record(config=EMBEDDED | {"input": {"metadata": "m"}}, objects={"inventory": "here"}),
            "DataComp metadata, so it has no tars",
        ),
        (run_record(config=EMBEDDED | {"input": {"shards": "s"}}, objects={}), r"its inventory, .* is gone"),
    ],
)
def test_runs_that_cannot_be_read_are_refused(tmp_path, record, message):
    if record is not None:
        Store(str(tmp_path)).write_json("run.json", record)
        Store(str(tmp_path)).write("manifest/shards.jsonl", b"")
        write_sums(Store(str(tmp_path)))
        write_inventory(Store(str(tmp_path / "here")), [])
    with pytest.raises(InputError, match=message):
        kept_pipeline(str(tmp_path))


def test_an_unknown_answer_to_changes_is_refused(run):
    with pytest.raises(InputError, match="on_changed: skp is unknown; did you mean skip"):
        kept_pipeline(run, on_changed="skp")


def test_a_folder_of_offsets_that_is_not_utf_8_is_refused(run):
    with pytest.raises(InputError, match=r"offsets: .* is not UTF-8"):
        kept_pipeline(run, offsets="s3://offsets/\udcff")


def test_a_folder_of_offsets_that_holds_credentials_is_refused(run):
    with pytest.raises(InputError, match=r"offsets: .* holds credentials") as refused:
        kept_pipeline(run, offsets="s3://KEY:SECRET@bucket/x")
    assert "SECRET" not in str(refused.value)


def test_a_real_run_gives_exactly_what_it_kept(tar_run):
    kept = kept_samples(str(tar_run))
    dataset = kept_pipeline(str(tar_run), shuffle_shards=True, shuffle=9)
    found = list(dataset)
    assert sorted(keys(found)) == sorted(kept.keys.to_pylist())
    assert dataset.samples == len(kept) == len(found)
    whole = [sample for url in kept.shard_urls for sample in by_webdataset(url)]
    assert sorted(found, key=place) == sorted((one for one in whole if one["__key__"] in keys(found)), key=place)
