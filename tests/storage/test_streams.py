import random
import threading
import uuid

import fsspec
import pytest
from clocks import Time

from filtering.core.errors import RunError
from filtering.storage import retries
from filtering.storage.store import stream_object, write_object
from filtering.storage.streams import BLOCK_BYTES, BlockStream

DATA = random.Random(0).randbytes(1000)


@pytest.fixture(autouse=True)
def nothing_counted():
    retries.taken()


class Source:
    """Serves slices of DATA, and what went wrong with each request that failed."""

    def __init__(self, *troubles):
        self.troubles = list(troubles)
        self.asked = []

    def __call__(self, start, end):
        self.asked.append((start, end))
        trouble = self.troubles.pop(0) if self.troubles else None
        if isinstance(trouble, Exception):
            raise trouble
        return DATA[start:end][:trouble]


def block_stream(url, size, fetch, block):
    return BlockStream(url, size, fetch, block, Time().clock())


def threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("stream")]


def drained(stream, size):
    parts = []
    while part := stream.read(size):
        parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize("size", [1, 7, 100, 101, 5000])
def test_bytes_come_in_order_whatever_is_asked_for(size):
    with block_stream("x", len(DATA), Source(), block=100) as stream:
        assert drained(stream, size) == DATA


@pytest.mark.parametrize("size", [0, 1, 99, 100, 101, 200])
def test_objects_of_every_size_around_the_block_are_read(size):
    source = Source()
    with block_stream("x", size, source, block=100) as stream:
        assert stream.read() == DATA[:size]
    assert source.asked == [(start, min(start + 100, size)) for start in range(0, size, 100)]


def test_a_broken_connection_asks_for_its_block_again_and_no_other():
    source = Source(None, ConnectionResetError(), 30, None)
    with block_stream("x", 300, source, block=100) as stream:
        assert stream.read() == DATA[:300]
    assert source.asked == [(0, 100), (100, 200), (100, 200), (100, 200), (200, 300)]
    assert retries.taken()["retries"] == 2


def test_a_body_that_stays_short_is_an_error():
    with (
        block_stream("s3://a/b", 300, Source(*[40] * 50), block=100) as stream,
        pytest.raises(RunError, match=r"s3://a/b: 40 bytes came where 100 were asked for"),
    ):
        stream.read()


def test_one_block_is_fetched_ahead_and_no_more():
    source, arrived = Source(), threading.Event()

    def fetch(start, end):
        if start == 200:
            arrived.set()
        return source(start, end)

    with block_stream("x", 1000, fetch, block=100) as stream:
        stream.read(1)
        stream.read(99)
        assert not arrived.wait(0.05)
        stream.read(1)
        assert arrived.wait(10)
        assert source.asked[-1] == (200, 300)


def test_closing_stops_the_thread_before_the_end():
    stream = block_stream("x", 1000, Source(), block=100)
    assert stream.read(1) == DATA[:1]
    assert threads()
    stream.close()
    stream.close()
    assert not threads()
    with pytest.raises(ValueError, match="closed"):
        stream.read(1)


def test_an_error_of_a_block_comes_when_it_is_read_and_the_thread_still_ends():
    stream = block_stream("x", 300, Source(None, PermissionError("no")), block=100)
    assert stream.read(100) == DATA[:100]
    with pytest.raises(PermissionError):
        stream.read(1)
    stream.close()
    assert not threads()


@pytest.fixture(params=["disk", "memory"])
def url(request, tmp_path):
    return str(tmp_path / "x") if request.param == "disk" else f"memory://{uuid.uuid4().hex}/x"


def test_streams_of_every_filesystem_give_the_same_bytes_and_count_them(url):
    data = random.Random(1).randbytes(BLOCK_BYTES + 5)
    write_object(url, data)
    retries.taken()
    with stream_object(url) as stream:
        assert stream.read(3) + stream.read() == data
    assert retries.taken() == {"retries": 0, "read_bytes": len(data), "written_bytes": 0}


def test_what_is_not_there_is_told_when_it_is_opened(url):
    with pytest.raises(FileNotFoundError, match="x"):
        stream_object(url)


@pytest.mark.parametrize("size", [BLOCK_BYTES * 3, 10])
def test_a_replaced_object_is_noticed(size):
    url = f"memory://{uuid.uuid4().hex}/x"
    write_object(url, bytes(BLOCK_BYTES * 3))
    with stream_object(url) as stream:
        stream.read(1)
        write_object(url, bytes(size))
        with pytest.raises(RunError, match="was replaced while it was read"):
            stream.read()


def test_a_deleted_object_is_noticed():
    url = f"memory://{uuid.uuid4().hex}/x"
    write_object(url, bytes(BLOCK_BYTES * 3))
    with stream_object(url) as stream:
        stream.read(1)
        fsspec.filesystem("memory").rm_file(url)
        with pytest.raises(RunError, match="was deleted while it was read"):
            stream.read()
