"""What an S3 answers, and what is made of it: another try, or one line."""

import os
import re
import time
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from botocore.exceptions import UnauthorizedSSOTokenError
from botocore.utils import parse_timestamp
from hypothesis import given
from hypothesis import strategies as st
from s3_endpoint import s3_at
from web_server import unknown_name

from filtering.core.errors import InputError, RunError
from filtering.storage.retries import ATTEMPTS, DENIED_ATTEMPTS, taken
from filtering.storage.s3_answers import judged, time_of
from filtering.storage.store import Store, stream_object


def test_denials_that_pass_are_throttling(store, proxy):
    store.write("x", b"1")
    proxy.set(deny_next=3)
    assert store.read("x") == b"1"
    assert proxy.counts()["AccessDenied"] == taken()["retries"] == 3


@pytest.mark.parametrize("operation", [Store.read, Store.exists, Store.delete, lambda s, name: s.write(name, b"1")])
def test_a_denial_that_stays_is_one_line_within_seconds(store, proxy, operation):
    proxy.set(denied_rate=1)
    began = time.monotonic()
    with pytest.raises(InputError, match=rf"^{store.path('x')}: access is denied.* \(.*HTTP 403\)$"):
        operation(store, "x")
    assert time.monotonic() - began < 10


def test_an_unknown_key_is_refused_at_once_and_not_shown(store, proxy, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAWRONG")
    proxy.set(refused_key="AKIAWRONG")
    with pytest.raises(InputError, match=r"the credentials are refused \(InvalidAccessKeyId, HTTP 403\)$") as raised:
        store.write("x", b"1")
    assert proxy.counts()["requests"] == 1
    assert "AKIAWRONG" not in str(raised.value)
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in str(raised.value)


def test_missing_credentials_are_one_line(store, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(InputError, match="no S3 credentials"):
        store.read("x")


def test_what_is_not_there_is_named_and_not_asked_for_twice(store, proxy, s3):
    with pytest.raises(FileNotFoundError, match=rf"^{store.path('x')}: is not there$"):
        store.read("x")
    with pytest.raises(FileNotFoundError, match=rf"^{store.path('x')}: is not there$"):
        stream_object(store.path("x"))
    missing = Store(f"s3://{s3.bucket}-none/run")
    with pytest.raises(InputError, match=rf"^{missing.path('x')}: there is no such bucket$"):
        missing.write("x", b"1")
    assert missing.names() == []
    assert not missing.exists("x")
    assert taken()["retries"] == 0


def test_a_store_that_is_away_ends_in_one_line(store, s3, monkeypatch):
    monkeypatch.setattr("filtering.storage.s3_answers.ATTEMPTS", 3)
    refused = rf"^{store.path('x')}: kept failing, last with EndpointConnectionError: .*$"
    with s3_at("http://127.0.0.1:9", s3.keys), pytest.raises(RunError, match=refused):
        store.read("x")


@pytest.mark.slow
def test_a_store_that_throttles_for_longer_than_other_errors_are_borne_is_waited_for(store, proxy, monkeypatch):
    monkeypatch.setattr("filtering.storage.retries.LONGEST_CEILING_SECONDS", 0.05)
    store.write("x", b"1")
    proxy.set(throttle_next=ATTEMPTS + 5)
    assert store.read("x") == b"1"
    assert proxy.counts()["SlowDown"] == taken()["retries"] == ATTEMPTS + 5


@pytest.mark.parametrize(
    ("operation", "shown"),
    [
        (Store.read, "expired (ExpiredToken, HTTP 400)"),
        (lambda s, name: s.write(name, b"1"), "expired (ExpiredToken, HTTP 400)"),
        # The answer to a HEAD request has no body.
        (Store.exists, "expired, or the region is wrong (HTTP 400)"),
    ],
)
def test_credentials_that_have_expired_are_one_line_at_once(store, proxy, operation, shown):
    proxy.set(expire_after=0)
    with pytest.raises(InputError) as raised:
        operation(store, "x")
    renew = "renew them, then give the same command again"
    assert str(raised.value) == f"{store.path('x')}: the credentials have {shown}; {renew}"
    assert taken()["retries"] == 0


def test_a_sign_in_that_has_expired_is_one_line():
    verdict = judged(UnauthorizedSSOTokenError(), "get_object", "s3://pool/x")
    assert isinstance(verdict.error, InputError)
    assert re.match(r"s3://pool/x: the credentials have expired \(Unauthorized.*sso login.*\)$", str(verdict.error))


def test_an_endpoint_whose_name_is_not_known_is_refused_soon(s3, monkeypatch):
    monkeypatch.setattr("filtering.storage.retries.FIRST_CEILING_SECONDS", 0.01)
    monkeypatch.setattr("socket.getaddrinfo", unknown_name)
    taken()
    with (
        s3_at("http://no-such-host.invalid", s3.keys),
        pytest.raises(InputError, match="s3://bucket/x: no server of that name is known; check"),
    ):
        Store("s3://bucket").read("x")
    assert taken()["retries"] == DENIED_ATTEMPTS - 1


@given(st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC)))
def test_times_are_read_as_botocore_reads_them(moment):
    whole = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    iso = whole.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    texts = [iso, whole.isoformat(timespec="seconds"), format_datetime(whole, usegmt=True), str(int(whole.timestamp()))]
    for text in [*texts, whole.strftime("%Y%m%dT%H%M%SZ"), "20250101", whole.timestamp()]:
        assert time_of(text) == parse_timestamp(text)


def test_what_is_no_time_is_refused():
    with pytest.raises(ValueError, match="Invalid timestamp"):
        time_of("no time")
