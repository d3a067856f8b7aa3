import io
import json
import zipfile

import fsspec
import numpy as np
import pytest
from web_server import WebServer, unknown_name

from filtering.core.errors import InputError, RunError
from filtering.storage import http
from filtering.storage.retries import taken
from filtering.storage.store import (
    filesystem_of,
    open_object,
    read_object,
    read_range,
    stream_object,
    write_chunks,
    write_object,
)
from filtering.storage.streams import offers_ranges
from filtering.storage.versions import mark_of

DATA = np.random.default_rng(0).bytes(700_000)
HABITS = {
    "ranges": {},
    "no ranges": {"ranges": False},
    "no sizes": {"ranges": False, "habits": {"chunked"}},
    "packed": {"ranges": False, "habits": {"gzip"}},
    "packed, no sizes": {"ranges": False, "habits": {"gzip", "chunked"}},
    "redirects": {"habits": {"redirect"}},
    "redirects, no ranges": {"ranges": False, "habits": {"redirect"}},
    "no version": {"habits": {"no version"}},
    "HEAD is denied": {"habits": {"no head"}},
}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(http, "BLOCK_BYTES", 100_000)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "x.tar").write_bytes(DATA)
    (tmp_path / "empty.tar").write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize("habits", HABITS.values(), ids=HABITS)
@pytest.mark.parametrize("name", ["x.tar", "x.tar?download=true&a=%2F"])
def test_an_object_is_read_in_every_way(folder, habits, name):
    with WebServer(folder, **habits) as server:
        url = server.url(name)
        assert offers_ranges(url) == habits.get("ranges", True)
        taken()
        assert read_object(url) == DATA
        assert taken()["read_bytes"] == len(DATA)
        assert read_range(url, 300_000, 300_010) == DATA[300_000:300_010]
        assert read_range(url, len(DATA) - 5, len(DATA) + 5) == DATA[-5:]
        with stream_object(url) as stream:
            assert stream.read(1000) + stream.read() == DATA
        with open_object(url) as file:
            file.seek(-100, io.SEEK_END)
            assert file.read() == DATA[-100:]
            file.seek(250_000)
            assert file.read(4) == DATA[250_000:250_004]
        assert not server.requests["HEAD"]


@pytest.mark.parametrize("ranges", [True, False])
def test_an_object_without_bytes(folder, ranges):
    with WebServer(folder, ranges) as server:
        assert read_object(server.url("empty.tar")) == b""
        with stream_object(server.url("empty.tar")) as stream:
            assert stream.read() == b""


def test_what_a_server_says_of_an_object(folder):
    with WebServer(folder) as server:
        filesystem, path = filesystem_of(server.url("x.tar"))
        entry = filesystem.info(path)
        assert (entry["size"], entry["type"], entry["ranges"]) == (len(DATA), "file", True)
        assert len(entry["ETag"]) == 34 and entry["LastModified"].startswith("Wed")
    with WebServer(folder, False, {"chunked", "no version"}) as server:
        filesystem, path = filesystem_of(server.url("x.tar"))
        assert filesystem.info(path) == {"name": path, "type": "file", "size": 0, "ranges": False}


@pytest.mark.parametrize("habits", [HABITS["ranges"], HABITS["no ranges"], HABITS["no sizes"]])
@pytest.mark.parametrize("fault", [503, 429, 408, "cut"])
def test_an_answer_that_fails_is_asked_for_again(folder, habits, fault):
    with (
        WebServer(folder, **habits, faults=[None, fault, fault, None]) as server,
        stream_object(server.url("x.tar")) as stream,
    ):
        taken()
        assert stream.read() == DATA
        assert taken()["retries"] == 2


# How an object is read, and how many requests come before the one for its bytes.
READS = {
    "whole": (read_object, 0),
    "stream": (lambda url: stream_object(url).read(), 1),
    "file": (lambda url: open_object(url).read(), 1),
}


@pytest.mark.parametrize("habits", [HABITS["ranges"], HABITS["no ranges"], HABITS["no sizes"]])
@pytest.mark.parametrize(("read", "before"), READS.values(), ids=READS)
@pytest.mark.parametrize("fault", ["drip", "drip head"])
def test_an_answer_that_comes_byte_by_byte_is_given_up_and_asked_for_again(
    folder, monkeypatch, habits, read, before, fault
):
    monkeypatch.setattr(http.http_answers, "PATIENCE_SECONDS", 0.5)
    with WebServer(folder, **habits, faults=[*[None] * before, fault]) as server:
        taken()
        assert read(server.url("x.tar")) == DATA
        # On a busy machine the next answer may be late, too.
        assert taken()["retries"] >= 1


def test_the_pause_that_a_server_asks_for_is_kept(folder, monkeypatch):
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    monkeypatch.setattr(http.asyncio, "sleep", sleep)
    with WebServer(folder, faults=[429, 503], headers={"Retry-After": "7"}) as server:
        assert read_object(server.url("x.tar")) == DATA
    assert slept == [7, 7]


@pytest.mark.parametrize(("ranges", "opened"), [(True, open_object), (False, stream_object)])
def test_an_object_that_is_replaced_while_it_is_read_is_refused(folder, ranges, opened):
    with WebServer(folder, ranges, faults=[None, None, None if ranges else "cut"]) as server:
        url = server.url("x.tar")
        filesystem, path = filesystem_of(url)
        version = mark_of(filesystem.info(path))
        with opened(url) as stream:
            assert stream.read(10) == DATA[:10]
            (folder / "x.tar").write_bytes(DATA[::-1])
            with pytest.raises(RunError, match=r"x\.tar: was replaced while it was read$"):
                while stream.read(1 << 16):
                    pass
        with pytest.raises(RunError, match=r"x\.tar: was replaced while it was read$"):
            read_range(url, 0, 10, version)


@pytest.mark.parametrize(
    ("status", "kind", "line"),
    [
        (401, InputError, "the credentials are missing or refused (HTTP 401); they come from ~/.netrc or FSSPEC_HTTPS"),
        (403, InputError, "access is denied (HTTP 403)"),
        (404, FileNotFoundError, "is not there"),
        (410, FileNotFoundError, "is not there"),
        (451, InputError, "the server refuses (HTTP 451)"),
        (500, RunError, "kept failing, last with HTTP 500"),
    ],
)
def test_a_refusal_is_one_line_that_names_the_url(folder, monkeypatch, status, kind, line):
    async def sleep(seconds):
        pass

    monkeypatch.setattr(http.asyncio, "sleep", sleep)
    with WebServer(folder, faults=[status] * 40) as server:
        for read in (read_object, stream_object, open_object):
            with pytest.raises(kind) as raised:
                read(server.url("x.tar"))
            assert str(raised.value) == f"{server.url('x.tar')}: {line}"


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("http://127.0.0.1:1/x.tar", "kept failing, last with ClientConnectorError: "),
        ("http://127.0.0.1:99999/x.tar", "is not a URL ("),
        ("https://no-such-host.invalid/x.tar", "no server of that name is known; check the address"),
    ],
)
def test_a_server_that_is_not_there_is_one_line_that_names_the_url(monkeypatch, url, line):
    async def sleep(seconds):
        pass

    monkeypatch.setattr(http.asyncio, "sleep", sleep)
    monkeypatch.setattr("socket.getaddrinfo", unknown_name)
    for ask in (read_object, lambda url: filesystem_of(url)[0].exists(url), lambda url: filesystem_of(url)[0].ls(url)):
        with pytest.raises((RunError, InputError)) as raised:
            ask(url)
        assert str(raised.value).startswith(f"{url}: {line}")
        assert "\n" not in str(raised.value)


def test_credentials_come_from_netrc_and_from_the_configuration_of_fsspec(folder, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login user password word\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with WebServer(folder) as server:
        http.Web(skip_instance_cache=True).cat_file(server.url("x.tar"))
        assert server.authorization[-1] == "Basic dXNlcjp3b3Jk"
        monkeypatch.delenv("NETRC")
        headers = json.loads('{"headers": {"Authorization": "Bearer abc"}}')
        monkeypatch.setitem(fsspec.config.conf, "https", headers)
        http.Web(skip_instance_cache=True).cat_file(server.url("x.tar"))
        assert server.authorization[-1] == "Bearer abc"


@pytest.mark.parametrize("ranges", [True, False])
def test_a_zip_is_read_from_its_end(folder, ranges):
    with zipfile.ZipFile(folder / "x.zip", "w") as archive:
        archive.writestr("a", DATA)
    with WebServer(folder, ranges) as server, open_object(server.url("x.zip")) as file:
        assert zipfile.ZipFile(file).read("a") == DATA


def test_an_index_is_a_listing_and_other_objects_are_none(folder):
    with WebServer(folder) as server:
        filesystem, path = filesystem_of(server.url())
        assert {name for name in filesystem.ls(path, detail=False) if name.endswith(".tar")} == {
            server.url("x.tar"),
            server.url("empty.tar"),
        }
        assert filesystem.glob(server.url("x*.tar")) == [server.url("x.tar")]
        with pytest.raises(NotADirectoryError):
            filesystem.ls(server.url("x.tar"))


def test_nothing_is_written(folder):
    with WebServer(folder) as server:
        for write in (write_object, lambda url, data: write_chunks(url, [data])):
            with pytest.raises(InputError, match=r"^http://\S*/new: nothing can be written to a web server; "):
                write(server.url("new"), b"x")
