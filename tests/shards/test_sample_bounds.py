"""Samples of too many bytes, members or names: bounded in memory and time, each with a reason."""

import io
import time
import tracemalloc
from collections import Counter

import pytest
from sample_tars import SHARD, expected_samples, many, only_fault, pair, read, sample, tar_of

from filtering.shards.samples import MAX_CAPTION_BYTES, MAX_JSON_BYTES, read_samples


@pytest.mark.parametrize(
    ("extension", "size", "reason"),
    [("txt", MAX_CAPTION_BYTES + 1, "caption_too_long"), ("json", MAX_JSON_BYTES + 1, "json_too_large")],
)
def test_text_above_its_limit_is_not_read(extension, size, reason):
    parts = {"jpg": b"image", "json": b"{}", "txt": b"a cat"} | {extension: b" " * size}
    entry = only_fault(*((f"a.{name}", data) for name, data in parts.items()))
    assert (entry.member, entry.key, entry.fault.reason) == (f"a.{extension}", "a", reason)


def test_an_image_above_the_limit_of_the_caller_is_not_read():
    samples, quarantined = read(tar_of(*pair("a", image=b"x" * 101), *pair("b")), max_image_bytes=100)
    assert [one.key for one in samples] == ["b"]
    assert [(entry.key, entry.fault.reason) for entry in quarantined] == [("a", "member_too_large")]


def test_a_shards_text_is_bounded():
    captions = [(f"{n}", f"{n} " + "x" * 1000) for n in range(10)]
    data = tar_of(*(part for key, caption in captions for part in pair(key, caption=caption.encode())))
    samples, quarantined = read(data, max_text_bytes=5100)
    assert [one.key for one in samples] == list("01234")
    assert [(entry.key, entry.fault.reason) for entry in quarantined] == [(n, "shard_text_too_large") for n in "56789"]


def test_entries_stay_short_where_a_shards_text_is_too_large():
    data = tar_of(*((f"{n}{'k' * 3000}.jpg", b"x") for n in range(10)))
    _, quarantined = read(data, max_text_bytes=3000)
    assert [entry.fault.reason for entry in quarantined] == ["missing_caption"] * 10
    assert sum(len(entry.key) for entry in quarantined) < 1000 + 3001
    assert len({entry.key for entry in quarantined}) == 10


def test_what_follows_too_many_members_is_one_entry():
    samples, quarantined = read(many(8), max_members=12)
    assert samples == expected_samples(4)
    assert [(entry.key, entry.fault.reason) for entry in quarantined] == [(None, "shard_too_long")]
    samples, quarantined = read(many(8), max_members=11)
    assert samples == expected_samples(3)
    assert [(entry.key, entry.fault.reason) for entry in quarantined] == [("000003", "shard_too_long")]


@pytest.mark.parametrize("long", ["k" * 5000, "k" * 100_000, "folder/" * 2000 + "k"])
def test_a_name_that_is_too_long_is_quarantined_under_a_short_one(long):
    samples, quarantined = read(tar_of(*pair(long), *pair(long[:-1] + "j"), *pair("b")))
    assert [one.key for one in samples] == ["b"]
    assert [entry.fault.reason for entry in quarantined] == ["name_too_long"] * 2
    assert all(len(entry.member) + len(entry.key) + len(entry.fault.detail) < 500 for entry in quarantined)
    assert len({entry.key for entry in quarantined}) == 2


def test_a_long_name_within_the_limit_is_a_key():
    key = "folder/" * 500 + "k" * 300
    samples, quarantined = read(tar_of(*sample(0), *pair(key)))
    assert [one.key for one in samples] == ["000000", key]
    assert quarantined == []


def test_a_long_extension_is_no_reason():
    samples, quarantined = read(tar_of(*pair("a"), ("a." + "x" * 5000, b"x"), ("a." + "y" * 300 + ".cls", b"1")))
    assert [one.key for one in samples] == ["a"]
    assert quarantined == []


def test_samples_that_wait_in_vain_take_no_more_than_the_window():
    parts = [(f"{n}.jpg", b"") for n in range(3000)]
    samples, quarantined = read(tar_of(*parts, *((f"{n}.txt", b"x") for n in range(3000))), window_bytes=100_000)
    keys = Counter(one.key for one in [*samples, *quarantined])
    assert keys == {f"{n}": 1 for n in range(3000)}
    assert 0 < len(samples) < 300


def test_a_key_of_many_images_waits_with_few_of_them():
    data = tar_of(*((f"a.{n}.jpg", b"x" * 10_000) for n in range(500)), *pair("a"))
    peaks = []
    # What other threads of the process allocate meanwhile counts, too: the least of a few tries is this reader's.
    for _ in range(3):
        stream = io.BytesIO(data)
        tracemalloc.start()
        found = list(read_samples(stream, SHARD, window_bytes=50_000))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert [one.fault.reason for one in found] == ["member_too_large"]
    assert min(peaks) < 2_000_000


@pytest.mark.slow
@pytest.mark.parametrize("names", [("a.{}.cls", "b.{}.cls"), ("{}.cls", "b.txt"), ("a.jpg", "a.{}.cls")])
def test_time_grows_with_the_number_of_members_alone(names):
    data = tar_of(*((name.format(n), b"") for n in range(10_000) for name in names), kind="ustar")
    started = time.process_time()
    read(data, window_bytes=200_000)
    assert time.process_time() - started < 4
