"""Objects of web servers: by ranged requests where a server offers them, else read from their start.

Servers are asked by GET alone: many refuse HEAD, or answer it with other words. Every request is retried on its own.
"""

import asyncio
import contextlib
import io
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, BinaryIO, TypeVar, cast

import aiohttp
from fsspec.asyn import sync, sync_wrapper
from fsspec.implementations.http import HTTPFileSystem
from fsspec.spec import AbstractBufferedFile

from filtering.core.errors import InputError
from filtering.storage import http_answers
from filtering.storage.http_answers import (
    Entry,
    StatusError,
    body_of,
    entry_of,
    judged,
    part_of,
    passed,
    replaced,
)
from filtering.storage.retries import Backoff, count
from filtering.storage.stalls import CHUNK_BYTES, Steady, bounded
from filtering.storage.urls import NOT_WRITTEN
from filtering.storage.versions import mark_of

BLOCK_BYTES = 8 << 20
TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=http_answers.PATIENCE_SECONDS)

Result = TypeVar("Result")


class Web(HTTPFileSystem):  # type: ignore[misc]
    """The web with retries, versions and errors in one line.

    Credentials come from ~/.netrc and from fsspec's configuration (FSSPEC_HTTPS). Requests raise InputError if access
    is denied or the server refuses, RunError if they kept failing or an object was replaced while it was read,
    FileNotFoundError if it is not there.

    An entry has ``size``, 0 where the server gives none; ``ETag`` and ``LastModified`` as far as they are given; and
    ``ranges``, whether parts can be asked for.
    """

    default_block_size = BLOCK_BYTES

    def __init__(self, *args: Any, client_kwargs: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        client = {"trust_env": True, "timeout": TIMEOUT, **(client_kwargs or {})}
        super().__init__(*args, client_kwargs=client, **kwargs)

    async def _info(self, url: str, **_: object) -> Entry:
        async def described() -> Entry:
            async with self._answer(url, 0, 1) as answer:
                return entry_of(url, answer)

        return await _persistently(url, described)

    async def _exists(self, path: str, **_: object) -> bool:
        try:
            await self._info(path)
        except FileNotFoundError:
            return False
        return True

    async def _ls(self, url: str, detail: bool = True, **_: object) -> Any:
        """Return what an index in HTML links to; NotADirectoryError if there is none."""
        return await _persistently(url, lambda: self._linked(url, detail))

    ls = sync_wrapper(_ls)

    async def _linked(self, url: str, detail: bool) -> Any:
        async with self._answer(url) as answer:
            if answer.content_type != "text/html":
                raise NotADirectoryError(f"{url}: is no page that links to objects")
        return await self._ls_real(url, detail=detail)

    async def _cat_file(self, url: str, start: int | None = None, end: int | None = None, **_: object) -> bytes:
        if end is not None:
            return await self._read_block(url, start or 0, end)
        first, entry = await self._block(url, start or 0, (start or 0) + BLOCK_BYTES, "", rest=True)
        at, size = (start or 0) + len(first), entry["size"] if entry["ranges"] else 0
        parts = [(begin, min(begin + BLOCK_BYTES, size)) for begin in range(at, size, BLOCK_BYTES)]
        rest = [await self._read_block(url, *part, mark_of(entry)) for part in parts]
        return b"".join([first, *rest])

    async def _read_block(self, url: str, start: int, end: int, version: str = "") -> bytes:
        """Return the bytes from `start` to `end`, fewer at the end, if the object still has this version."""
        return (await self._block(url, start, end, version))[0] if end > start else b""

    read_block = sync_wrapper(_read_block)

    def stream(self, url: str) -> BinaryIO:
        """Open an object of a server without ranges, to be read once; errors as in `filtering.storage.streams`."""
        return cast(BinaryIO, io.BufferedReader(_Whole(self, url), CHUNK_BYTES))

    async def _pipe_file(self, path: str, value: bytes, **_: object) -> None:
        raise InputError(f"{path}: {NOT_WRITTEN}")

    async def _put_file(self, lpath: str, rpath: str, **_: object) -> None:
        raise InputError(f"{rpath}: {NOT_WRITTEN}")

    def _open(self, path: str, mode: str = "rb", **_: object) -> Any:
        entry = self.info(path)
        if entry["ranges"]:
            return _Parts(self, path, mode, BLOCK_BYTES, entry=entry)
        # Parquet and zip files are read from their ends.
        file = tempfile.TemporaryFile(prefix="filtering-")  # noqa: SIM115
        with self.stream(path) as stream:
            while chunk := stream.read(CHUNK_BYTES):
                file.write(chunk)
        file.seek(0)
        return file

    async def _block(self, url: str, start: int, end: int, version: str, rest: bool = False) -> tuple[bytes, Entry]:
        """Return some bytes and the entry; with `rest`, all that follows where no ranges are offered."""

        async def attempt() -> tuple[bytes, Entry]:
            async with self._answer(url, start, end) as answer:
                entry = entry_of(url, answer)
                if answer.status != 206 or entry["ranges"]:
                    return await part_of(url, answer, version, start, end, rest), entry
            # A part of packed bytes, or of who knows how many.
            async with self._answer(url) as answer:
                return await part_of(url, answer, version, start, end, rest), entry

        data, entry = await _persistently(url, attempt)
        count("read_bytes", len(data))
        return data, entry

    @contextlib.asynccontextmanager
    async def _answer(self, url: str, start: int | None = None, end: int = 0) -> AsyncIterator[aiohttp.ClientResponse]:
        answer = await self.ask(url, start, end)
        async with answer:
            yield answer

    async def ask(self, url: str, start: int | None = None, end: int = 0) -> aiohttp.ClientResponse:
        """Return the answer to a request for an object, or for the bytes [start, end) of it; its body is not read."""
        session = await self.set_session()
        # Of packed bytes no part can be asked for.
        headers = {"Accept-Encoding": "identity", **self.kwargs.get("headers", {})}
        if start is not None:
            headers["Range"] = f"bytes={start}-{end - 1}"
        asked, given = self.encode_url(url), {**self.kwargs, "headers": headers}
        async with bounded(http_answers.PATIENCE_SECONDS):
            answer: aiohttp.ClientResponse = await session.get(asked, **given)
        if answer.status >= 400 and not (answer.status == 416 and start is not None):
            answer.close()
            raise StatusError(answer.status, answer.headers.get("Retry-After"))
        return answer


class _Parts(AbstractBufferedFile):  # type: ignore[misc]
    """An object of a server with ranges, read here and there."""

    def __init__(self, *args: Any, entry: Entry, **kwargs: Any) -> None:
        super().__init__(*args, size=entry["size"], **kwargs)
        self.details, self.version = entry, mark_of(entry)

    def _fetch_range(self, start: int, end: int) -> bytes:
        data: bytes = self.fs.read_block(self.path, start, end, self.version)
        return data


class _Whole(io.RawIOBase):
    """The body of one answer. Where it breaks off, it is asked for again, and what was read already is passed."""

    def __init__(self, web: Web, url: str) -> None:
        self._web, self._url = web, url
        self._answer: aiohttp.ClientResponse | None = None
        self._body: Steady | None = None
        self._first: Entry | None = None
        self._at = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data: bytes = sync(self._web.loop, self._next, len(buffer))
        count("read_bytes", len(data))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._drop()
        super().close()

    async def _next(self, size: int) -> bytes:
        async def attempt() -> bytes:
            try:
                body = self._body or await self._opened()
                return await body.read(size)
            except BaseException:
                self._drop()
                raise

        data = await _persistently(self._url, attempt)
        self._at += len(data)
        return data

    async def _opened(self) -> Steady:
        answer = self._answer = await self._web.ask(self._url)
        entry = entry_of(self._url, answer)
        first = self._first = self._first or entry
        if (entry["size"], mark_of(entry)) != (first["size"], mark_of(first)):
            raise replaced(self._url)
        body = self._body = body_of(answer)
        await passed(body, self._at)
        return body

    def _drop(self) -> None:
        if self._answer is not None:
            self._web.loop.call_soon_threadsafe(self._answer.close)
        self._answer = self._body = None


async def _persistently(url: str, attempt: Callable[[], Awaitable[Result]]) -> Result:
    backoff = Backoff(lambda error: judged(error, url))
    while True:
        try:
            return await attempt()
        except Exception as error:
            pause = backoff.pause(error)
        await asyncio.sleep(pause)
