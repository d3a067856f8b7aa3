"""Storage over a real S3, through a proxy that injects faults: see s3_server.py for how to name another store."""

import random
import threading
import time
import uuid

import pytest

from filtering.core.errors import InputError, RunError
from filtering.shards.inventory import expand
from filtering.storage.retries import taken
from filtering.storage.s3 import BLOCK_BYTES, PART_BYTES, REQUESTS_IN_FLIGHT, RetryingS3
from filtering.storage.store import (
    Store,
    commit_file,
    create_object,
    filesystem_of,
    open_object,
    read_range,
    stream_object,
    write_chunks,
    write_object,
)

MIB = 1 << 20


def noise(size, seed=0):
    return random.Random(seed).randbytes(size)


FAULTS = [{"error_rate": 0.1}, {"cut_rate": 0.1}, {"error_rate": 0.1, "cut_rate": 0.1, "denied_rate": 0.02, "seed": 1}]


@pytest.mark.slow
@pytest.mark.parametrize("faults", FAULTS)
def test_every_function_gives_exact_bytes_under_faults(store, proxy, faults):
    proxy.set(**faults)
    large = noise(3 * BLOCK_BYTES + 7)
    objects = {"empty": b"", "small": b"x", "block": large[:BLOCK_BYTES], "large": large}
    for name, data in objects.items():
        store.write(name, data)
        assert store.read(name) == data
        with stream_object(store.path(name)) as stream:
            assert stream.read() == data
    with open_object(store.path("large")) as stream:
        stream.seek(BLOCK_BYTES - 3)
        assert stream.read(9) == large[BLOCK_BYTES - 3 : BLOCK_BYTES + 6]
    assert store.names() == sorted(objects)
    assert store.exists("small")
    assert not store.exists("none")
    store.delete("small")
    store.delete("small")
    assert not store.exists("small")
    store.write("folder/deep/x.tar", b"1")
    store.write("folder/y.tar", b"2")
    assert expand(store.path("folder/*.tar"), ".tar") == expand(store.path("folder"), ".tar")
    store.delete_folder("folder")
    assert store.names() == ["block", "empty", "large"]


@pytest.mark.slow
def test_many_small_objects_survive_faults(store, proxy):
    proxy.set(error_rate=0.1, cut_rate=0.05, denied_rate=0.05)
    for number in range(60):
        assert create_object(store.path(f"{number}"), b"%d" % number)
        assert store.read(f"{number}") == b"%d" % number
    counts = proxy.counts()
    injected = counts["cut"] + counts["AccessDenied"] + counts["InternalError"] + counts["SlowDown"]
    # The HTTP client repeats some requests by itself when a connection it had used before is cut.
    assert injected - counts["cut"] <= taken()["retries"] <= injected
    assert injected > 10


@pytest.mark.slow
@pytest.mark.parametrize("faults", [{}, {"error_rate": 0.2, "cut_rate": 0.1}], ids=str)
def test_of_many_objects_only_those_that_stay_are_left(store, proxy, monkeypatch, faults):
    monkeypatch.setattr("filtering.storage.store.DELETED_AT_ONCE", 7)
    names = [f"deep/{at:02d}.x" for at in range(20)] + ["a", "b"]
    beside = Store(store.url + "0")
    beside.write("deep/00.x", b"beside")
    for name in names:
        store.write(name, name.encode())
    proxy.set(**faults)
    assert store.delete_but(lambda url: url.endswith(("/07.x", "/b"))) == 2
    proxy.set()
    assert store.names() == ["b", "deep"]
    assert store.child("deep").names() == ["07.x"]
    assert store.read("deep/07.x") == b"deep/07.x"
    proxy.set(**faults)
    store.delete_folder("deep")
    store.delete_folder("deep")
    proxy.set()
    assert store.names() == ["b"]
    assert store.delete_but(lambda url: False) == 0
    assert store.names() == []
    assert beside.read("deep/00.x") == b"beside"


def test_names_on_s3_are_no_patterns(proxy, s3):
    root = Store(f"s3://{s3.bucket}/{uuid.uuid4().hex}")
    store, other = root.child("night[12]"), root.child("night1")
    for one in (store, other):
        one.write("a", b"x")
        one.write("deep/b", b"x")
    assert store.delete_but(lambda url: url.endswith("/b")) == 1
    assert store.names() == ["deep"]
    assert other.names() == ["a", "deep"]
    root.delete_folder("night[12]")
    assert root.names() == ["night1"]
    assert other.names() == ["a", "deep"]


@pytest.mark.slow
def test_a_cut_stream_asks_only_for_what_was_lost(store, proxy):
    data = noise(60 * MIB)
    store.write("tar", data)
    proxy.set(cut_rate=0.3)
    with stream_object(store.path("tar")) as stream:
        read = bytearray()
        while part := stream.read(300_000):
            read += part
    counts = proxy.counts()
    assert read == data
    assert counts["cut"] >= 2
    assert counts["bytes_out"] <= len(data) + counts["cut"] * BLOCK_BYTES
    assert counts["GET"] <= -(-len(data) // BLOCK_BYTES) + counts["cut"]


def test_a_body_that_is_shorter_than_its_range_is_asked_for_again(store, proxy):
    data = noise(BLOCK_BYTES + 1000)
    store.write("object", data)
    proxy.set(shorten_next=2)
    assert store.read("object") == data
    assert proxy.counts()["shortened"] == 2
    proxy.set(shorten_next=1)
    assert read_range(store.path("object"), 10, 2000) == data[10:2000]
    proxy.set(shorten_next=1)
    with stream_object(store.path("object")) as stream:
        assert stream.read() == data
    with open_object(store.path("object")) as stream:
        proxy.set(shorten_next=1)
        assert stream.read(500) == data[:500]


@pytest.mark.slow
def test_an_object_replaced_while_it_is_streamed_is_noticed(store):
    url = store.path("tar")
    write_object(url, noise(3 * BLOCK_BYTES, seed=1))
    with stream_object(url) as stream:
        stream.read(1)
        write_object(url, noise(3 * BLOCK_BYTES, seed=2))
        with pytest.raises(RunError, match=f"{url}: was replaced while it was read"):
            stream.read()


def test_an_object_deleted_while_it_is_streamed_is_noticed(store):
    store.write("tar", noise(3 * BLOCK_BYTES))
    with stream_object(store.path("tar")) as stream:
        stream.read(1)
        store.delete("tar")
        with pytest.raises(RunError, match="was deleted while it was read"):
            stream.read()


@pytest.mark.slow
def test_a_large_file_is_committed_in_parts_of_which_only_the_broken_are_sent_again(store, proxy, tmp_path):
    data = noise(120 * MIB)
    (tmp_path / "made").write_bytes(data)
    proxy.set(error_rate=0.2, cut_rate=0.4)
    commit_file(store.path("large"), str(tmp_path / "made"))
    counts = proxy.counts()
    assert counts["cut"] >= 2
    assert len(data) < counts["bytes_in"] <= len(data) + counts["cut"] * PART_BYTES + MIB
    assert counts["most_in_flight"] <= 4
    assert not (tmp_path / "made").exists()
    assert store.read("large") == data


@pytest.mark.slow
def test_a_completed_upload_whose_answer_was_lost_is_done(store, proxy, tmp_path):
    data = noise(33 * MIB)
    (tmp_path / "made").write_bytes(data)
    proxy.set(lose_completions=1)
    commit_file(store.path("large"), str(tmp_path / "made"))
    assert proxy.counts()["cut"] == taken()["retries"] == 1
    assert store.read("large") == data


@pytest.mark.slow
@pytest.mark.parametrize("faults", [{"fail_parts": 3}, {"fail_completions": 2}])
def test_parts_and_completions_that_fail_are_repeated(store, proxy, tmp_path, faults):
    data = noise(33 * MIB)
    (tmp_path / "made").write_bytes(data)
    proxy.set(**faults)
    commit_file(store.path("large"), str(tmp_path / "made"))
    assert proxy.counts()["InternalError"] == taken()["retries"] > 1
    assert store.read("large") == data


@pytest.mark.slow
@pytest.mark.parametrize("write", [write_object, lambda url, data: write_chunks(url, [data])])
def test_an_upload_that_fails_for_good_leaves_no_parts_that_are_paid_for(store, proxy, s3, write):
    proxy.set(deny_parts=1000)
    with pytest.raises(InputError, match=rf"^{store.path('large')}: access is denied \(AccessDenied, HTTP 403\)$"):
        write(store.path("large"), noise(33 * MIB))
    asked = proxy.counts()["PUT"]
    time.sleep(0.3)
    # The other parts are not sent on behind the back of who was told that the upload failed.
    assert proxy.counts()["PUT"] == asked
    proxy.set()
    left = s3.client().list_multipart_uploads(Bucket=s3.bucket).get("Uploads", [])
    assert [one for one in left if one["Key"] in store.path("large")] == []
    assert store.names() == []


def test_a_listing_comes_page_by_page_and_one_that_repeats_a_page_is_refused(store, proxy):
    for name in "abcde":
        store.write(name, b"1")
    proxy.set(keys_a_page=2, shorten_next=1)
    assert store.names() == [*"abcde"]
    assert proxy.counts()["GET"] == 4
    proxy.set(keys_a_page=2, repeat_pages=1)
    with pytest.raises(RunError, match=rf"^{store.url}/: the store says that its list goes on, but not where$"):
        store.names()


@pytest.mark.slow
@pytest.mark.parametrize("faults", [{}, {"error_rate": 0.2, "cut_rate": 0.2}])
def test_one_of_racing_writers_creates_an_object(store, proxy, faults):
    proxy.set(**faults)
    turns, writers = 6, 8
    won, barrier = [], threading.Barrier(writers)

    def race(writer):
        for turn in range(turns):
            barrier.wait(60)
            if create_object(store.path(f"{turn}"), b"%d" % (writer % 2)):
                won.append((turn, writer % 2))

    in_threads(race, range(writers))
    assert sorted(turn for turn, _ in won) == list(range(turns))
    assert all(store.read(f"{turn}") == b"%d" % writer for turn, writer in won)


def test_requests_in_flight_are_capped(store, proxy):
    store.write("x", b"1")
    proxy.set(latency=0.1)
    in_threads(lambda _: [store.read("x") for _ in range(2)], range(2 * REQUESTS_IN_FLIGHT))
    assert REQUESTS_IN_FLIGHT / 2 < proxy.counts()["most_in_flight"] <= REQUESTS_IN_FLIGHT


def test_small_objects_take_one_request_and_listings_do_not_touch_the_parent(store, proxy):
    store.write("x", b"1")
    store.read("x")
    store.delete("x")
    assert proxy.counts()["requests"] == 3
    filesystem, path = filesystem_of(store.url)
    assert isinstance(filesystem, RetryingS3)
    store.write("folder/x", b"1")
    assert filesystem.ls(f"{path}/folder/x", detail=False) == [f"{path}/folder/x"]
    assert store.child("empty").names() == []


@pytest.mark.slow
def test_a_listing_goes_on_at_the_page_that_failed(store, proxy, s3):
    prefix, client = store.url.rsplit("/", 1)[-1], s3.client()
    in_threads(
        lambda start: [
            client.put_object(Bucket=s3.bucket, Key=f"{prefix}/{number:04d}", Body=b"")
            for number in range(start, 1100, 8)
        ],
        range(8),
    )
    proxy.set(error_rate=0.6)
    listings = failed = 0
    while not failed:
        assert store.names() == [f"{number:04d}" for number in range(1100)]
        counts, listings = proxy.counts(), listings + 1
        failed = counts["InternalError"] + counts["SlowDown"]
    assert counts["GET"] == 2 * listings + failed


def in_threads(function, arguments):
    threads = [threading.Thread(target=function, args=(argument,)) for argument in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
