"""What web servers answer: the entry of an object, a part of it, or an error and its verdict."""

import re
from typing import Any

import aiohttp

from filtering.core.errors import FilteringError, InputError, RunError, one_line
from filtering.storage.retries import (
    ATTEMPTS,
    DENIED_ATTEMPTS,
    THROTTLED_ATTEMPTS,
    THROTTLING_STATUS,
    ShortBodyError,
    Verdict,
    asked_seconds,
    names_no_server,
    unknown_server,
)
from filtering.storage.retries import judged as judged_anywhere
from filtering.storage.stalls import CHUNK_BYTES, Steady
from filtering.storage.versions import mark_of

# Without a byte, or with next to none, for so long, an answer is given up.
PATIENCE_SECONDS = 60.0
TRANSIENT_STATUS = (408, 425, *THROTTLING_STATUS)
COUNT = re.compile(r"[0-9]{1,18}")

Entry = dict[str, Any]


class StatusError(Exception):
    """A server answered with an error."""

    def __init__(self, status: int, after: str | None) -> None:
        super().__init__(f"HTTP {status}")
        self.status, self.after = status, after


def judged(error: Exception, url: str) -> Verdict:
    """Return the verdict on an error of a request; messages begin with its URL."""
    if isinstance(error, StatusError):
        return _judged_status(error, url)
    if isinstance(error, aiohttp.ClientSSLError):
        line = f"{url}: the server's certificate is not trusted ({one_line(error)}); SSL_CERT_FILE names authorities"
        return Verdict(1, InputError(line))
    if isinstance(error, aiohttp.InvalidURL | ValueError) and not isinstance(error, FilteringError):
        return Verdict(1, InputError(f"{url}: is not a URL ({one_line(error)})"))
    if isinstance(error, aiohttp.TooManyRedirects):
        return Verdict(1, InputError(f"{url}: the server redirects without an end"))
    if names_no_server(error):
        return unknown_server(url)
    if isinstance(error, aiohttp.ClientError | TimeoutError | ConnectionError):
        return Verdict(ATTEMPTS, RunError(f"{url}: kept failing, last with {one_line(error)}"))
    return judged_anywhere(error, url)


def _judged_status(error: StatusError, url: str) -> Verdict:
    status = error.status
    if status in (404, 410):
        return Verdict(1, FileNotFoundError(f"{url}: is not there"))
    if status == 401:
        line = f"{url}: the credentials are missing or refused (HTTP 401); they come from ~/.netrc or FSSPEC_HTTPS"
        return Verdict(1, InputError(line))
    if status == 403:
        return Verdict(DENIED_ATTEMPTS, InputError(f"{url}: access is denied (HTTP 403)"))
    if status in TRANSIENT_STATUS or (status >= 500 and status != 501):
        attempts = THROTTLED_ATTEMPTS if status in THROTTLING_STATUS else ATTEMPTS
        line = f"{url}: kept failing, last with HTTP {status}"
        return Verdict(attempts, RunError(line), asked_seconds(error.after) or 0.0)
    return Verdict(1, InputError(f"{url}: the server refuses (HTTP {status})"))


def entry_of(url: str, answer: aiohttp.ClientResponse) -> Entry:
    """Return the entry that an answer gives of its object; see `filtering.storage.http.Web`."""
    headers = answer.headers
    total = headers.get("Content-Range", "").rpartition("/")[2]
    known = COUNT.fullmatch(total) is not None
    packed = headers.get("Content-Encoding", "identity") != "identity"
    size = total if answer.status in (206, 416) else headers.get("Content-Length", "")
    entry: Entry = {
        "name": url,
        "type": "file",
        "size": int(size) if COUNT.fullmatch(size) else 0,
        "ranges": answer.status == 206 and known and not packed,
    }
    given = {"ETag": headers.get("ETag"), "LastModified": headers.get("Last-Modified")}
    return entry | {name: value for name, value in given.items() if value}


def replaced(url: str) -> RunError:
    """Return the error of an object that is no longer the one that was opened."""
    return RunError(f"{url}: was replaced while it was read")


async def part_of(
    url: str, answer: aiohttp.ClientResponse, version: str, start: int, end: int, rest: bool = False
) -> bytes:
    """Return the bytes [start, end) of an object, fewer where it ends; with `rest`, all from `start` on that came.

    RunError if the object has another version, unless that is empty; ShortBodyError if other bytes came.
    """
    entry = entry_of(url, answer)
    if version and mark_of(entry) != version:
        raise replaced(url)
    if answer.status == 416:
        return b""
    body = body_of(answer)
    if answer.status != 206:
        await passed(body, start)
        return await body.read_all() if rest else await _most(body, end - start)
    data = await body.read_all()
    wanted = f"bytes {start}-{min(end, entry['size']) - 1}/{entry['size']}"
    given = answer.headers.get("Content-Range", "")
    if given != wanted or len(data) != min(end, entry["size"]) - start:
        raise ShortBodyError(f"{url}: {len(data):,} bytes came, called {given}, where {wanted} were asked for")
    return data


def body_of(answer: aiohttp.ClientResponse) -> Steady:
    """Return the body of an answer, of which nothing was read."""
    return Steady(answer.content.read, PATIENCE_SECONDS)


async def passed(body: Steady, size: int) -> None:
    """Read bytes that are not wanted."""
    while size > 0 and (data := await body.read(min(size, CHUNK_BYTES))):
        size -= len(data)


async def _most(body: Steady, size: int) -> bytes:
    parts = list[bytes]()
    while size > 0 and (data := await body.read(min(size, CHUNK_BYTES))):
        parts.append(data)
        size -= len(data)
    return b"".join(parts)
