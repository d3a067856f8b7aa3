"""Connections of an S3 that bring next to nothing."""

import time

import pytest
from test_s3 import MIB, noise

from filtering.storage.retries import taken
from filtering.storage.s3 import RetryingS3
from filtering.storage.store import Store, open_object, read_range, stream_object

pytestmark = pytest.mark.slow


def test_a_hung_connection_is_given_up(store, proxy, monkeypatch):
    store.write("x", b"1")
    monkeypatch.setattr(RetryingS3, "read_timeout", 1)
    RetryingS3.clear_instance_cache()
    proxy.set(hang_next=1)
    began = time.monotonic()
    assert store.read("x") == b"1"
    assert 1 <= time.monotonic() - began < 30
    assert taken()["retries"] == 1


@pytest.fixture
def impatient(monkeypatch):
    """Give up what brings too few bytes in a second."""
    monkeypatch.setattr(RetryingS3, "read_timeout", 1)
    monkeypatch.setattr("filtering.storage.stalls.SLOWEST_BYTES_PER_SECOND", 16 * MIB)
    RetryingS3.clear_instance_cache()


READS = {
    "whole": Store.read,
    "part": lambda store, name: read_range(store.path(name), 0, 100),
    "stream": lambda store, name: stream_object(store.path(name)).read(),
    "file": lambda store, name: open_object(store.path(name)).read(),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_body_that_comes_byte_by_byte_is_given_up_and_asked_for_again(store, proxy, impatient, read):
    data = noise(100)
    store.write("x", data)
    proxy.set(drip_next=1)
    began = time.monotonic()
    assert read(store, "x") == data
    assert 1 <= time.monotonic() - began < 30
    assert (proxy.counts()["dripped"], taken()["retries"] > 0) == (1, True)


@pytest.mark.parametrize("operation", [Store.read, Store.exists, Store.names, lambda s, name: s.write(name, b"1")])
def test_headers_that_come_byte_by_byte_are_given_up_too(store, proxy, impatient, operation):
    store.write("x", b"1")
    proxy.set(drip_head_next=1)
    began = time.monotonic()
    operation(*(store, "x")[: 1 if operation is Store.names else 2])
    assert 1 <= time.monotonic() - began < 30
    assert proxy.counts()["dripped"] == 1


def test_an_upload_that_nobody_takes_is_given_up_and_sent_again(store, proxy, impatient):
    # More than the sockets on the way hold.
    data = noise(24 * MIB)
    proxy.set(hang_next=1)
    began = time.monotonic()
    store.write("x", data)
    assert 1 <= time.monotonic() - began < 60
    assert proxy.counts()["hung"] == 1
    assert store.read("x") == data


def test_a_slow_connection_that_goes_on_is_not_given_up(store, proxy, monkeypatch):
    monkeypatch.setattr(RetryingS3, "read_timeout", 1)
    RetryingS3.clear_instance_cache()
    data = noise(640 << 10)
    store.write("x", data)
    # 64 KiB each fifth of a second, for longer than may pass without a byte.
    proxy.set(bytes_per_second=320 << 10)
    began = time.monotonic()
    assert store.read("x") == data
    assert time.monotonic() - began > 1.5
    assert taken()["retries"] == 0
