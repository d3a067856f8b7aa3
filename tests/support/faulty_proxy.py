"""A reverse proxy that does to S3 requests what networks and busy stores do; from tests or a benchmark:

    python tests/support/faulty_proxy.py --target http://127.0.0.1:9000 --port 9001 --error-rate 0.1 --cut-rate 0.05

What happens to a request depends on the seed, on what is asked for and on how often it was asked for before, not on
the order in which requests arrive. GET /-/counts tells what was done; POST /-/faults changes the faults.
"""

import argparse
import asyncio
import contextlib
import json
import random
import re
import subprocess
import sys
import urllib.request
from collections import Counter
from dataclasses import asdict, dataclass, fields, replace
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web

CHUNK = 64 << 10
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "expect"}


@dataclass(frozen=True)
class Faults:
    """What is done to requests; rates are of requests, in [0, 1].

    Attributes
    ----------
    error_rate : answered by InternalError (500) or SlowDown (503).
    denied_rate : answered by AccessDenied (403).
    cut_rate : connection cut in the middle of the body; for writes, half of them after the store did its work.
    latency : seconds before each answer.
    bytes_per_second : of each body; 0 is unlimited.
    deny_next, hang_next : so many of the requests that come next.
    shorten_next : bodies of so many GET requests that come next, halved, with the length of the half.
    flip_next : bodies of so many GET requests that come next, with one bit changed in their middle.
    drip_next : bodies of so many GET requests that come next, a byte every half second.
    drip_head_next : so many of the requests that come next, answered by headers of a byte every half second.
    throttle_next : so many of the requests that come next, answered by SlowDown (503).
    expire_after : all requests after so many are answered by ExpiredToken (400); below 0 none is.
    fail_parts : so many UploadPart that come next, InternalError (500); deny_parts : AccessDenied (403).
    refuse_copies : so many copies that come next, NotImplemented (501).
    keys_a_page : of each page of a listing, if not 0; with `repeat_pages` each page is the first one.
    fail_completions : so many CompleteMultipartUpload that come next, 200 with an error for a body.
    lose_completions : answers of so many CompleteMultipartUpload that come next, after the store did its work.
    refused_key : access key that the store does not know.
    """

    seed: int = 0
    error_rate: float = 0.0
    denied_rate: float = 0.0
    cut_rate: float = 0.0
    latency: float = 0.0
    bytes_per_second: float = 0.0
    deny_next: int = 0
    hang_next: int = 0
    shorten_next: int = 0
    flip_next: int = 0
    drip_next: int = 0
    drip_head_next: int = 0
    throttle_next: int = 0
    expire_after: int = -1
    fail_parts: int = 0
    deny_parts: int = 0
    refuse_copies: int = 0
    fail_completions: int = 0
    keys_a_page: int = 0
    repeat_pages: int = 0
    lose_completions: int = 0
    refused_key: str = ""


class Proxy:
    """The server: one handler for every request."""

    def __init__(self, target: str, faults: Faults) -> None:
        self.target, self.faults = target, faults
        self.counts: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        # What earlier tests have left under way counts no more.
        self.under_way = set[int]()
        self.session: aiohttp.ClientSession
        # moto looks whether an object is there, and writes it then: two at once would both succeed.
        self.conditional = asyncio.Lock()

    async def serve(self, port: int) -> None:
        """Serve until cancelled; prints the port."""
        app = web.Application(client_max_size=1 << 40)
        app.router.add_get("/-/counts", self.told)
        app.router.add_post("/-/faults", self.changed)
        app.router.add_route("*", "/{path:.*}", self.handle)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as self.session:
            runner = web.AppRunner(app, access_log=None, auto_decompress=False, handler_cancellation=True)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", port)
            await site.start()
            print(site._server.sockets[0].getsockname()[1], flush=True)
            await asyncio.Event().wait()

    async def told(self, _: web.Request) -> web.Response:
        return web.json_response(self.counts)

    async def changed(self, request: web.Request) -> web.Response:
        self.faults = replace(self.faults, **await request.json())
        self.counts.clear()
        self.seen.clear()
        self.under_way.clear()
        return web.json_response(asdict(self.faults))

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.under_way.add(id(request))
        self.counts["most_in_flight"] = max(self.counts["most_in_flight"], len(self.under_way))
        self.counts["requests"] += 1
        self.counts[request.method] += 1
        try:
            await asyncio.sleep(self.faults.latency)
            return await self.answer(request)
        finally:
            self.under_way.discard(id(request))

    async def answer(self, request: web.Request) -> web.StreamResponse:
        draw = self.draw_of(request)
        if self.faults.refused_key and f"={self.faults.refused_key}/" in request.headers.get("Authorization", ""):
            return self.refusal(403, "InvalidAccessKeyId")
        if self.next("deny_next") or draw.random() < self.faults.denied_rate:
            return self.refusal(403, "AccessDenied")
        if (refusal := self.refused(request)) is not None:
            return refusal
        if self.next("drip_head_next"):
            return await self.dripped_head(request)
        if self.next("hang_next"):
            self.counts["hung"] += 1
            # Who has gone while nobody reads what they send is not noticed.
            self.under_way.discard(id(request))
            await asyncio.sleep(3600)
        if draw.random() < self.faults.error_rate:
            return self.refusal(*draw.choice([(500, "InternalError"), (503, "SlowDown")]))
        cut = draw.random() < self.faults.cut_rate
        body = b"".join([chunk async for chunk in self.chunks(request.content)])
        self.counts["bytes_in"] += len(body)
        if cut and body and draw.random() < 0.5:
            return self.cut(request)
        completes = request.method == "POST" and "uploadId" in request.query
        cut = cut or (completes and self.next("lose_completions"))
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        alone = self.conditional if "If-None-Match" in request.headers else contextlib.nullcontext()
        url, given = self.target + self.path_of(request), {"headers": headers, "data": body or None}
        async with alone, self.session.request(request.method, url, allow_redirects=False, **given) as answer:
            return await self.forward(request, answer, draw.random() if cut else None)

    def path_of(self, request: web.Request) -> str:
        if "list-type" not in request.query or not self.faults.keys_a_page:
            return request.raw_path
        path = (
            re.sub("&continuation-token=[^&]*", "", request.raw_path) if self.faults.repeat_pages else request.raw_path
        )
        return f"{path}&max-keys={self.faults.keys_a_page}"

    def refused(self, request: web.Request) -> web.Response | None:
        faults, part = self.faults, "partNumber" in request.query
        if self.next("throttle_next"):
            return self.refusal(503, "SlowDown")
        if 0 <= faults.expire_after < self.counts["requests"]:
            return self.refusal(400, "ExpiredToken")
        if "x-amz-copy-source" in request.headers and self.next("refuse_copies"):
            return self.refusal(501, "NotImplemented")
        if part and self.next("fail_parts"):
            return self.refusal(500, "InternalError")
        if part and self.next("deny_parts"):
            return self.refusal(403, "AccessDenied")
        if request.method == "POST" and "uploadId" in request.query and self.next("fail_completions"):
            return self.refusal(200, "InternalError")
        return None

    async def dripped_head(self, request: web.Request) -> web.Response:
        self.counts["dripped"] += 1
        for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + 7200 * b"x":
            if request.transport is None or request.transport.is_closing():
                break
            request.transport.write(bytes([byte]))
            await asyncio.sleep(0.5)
        return self.cut(request)

    async def forward(
        self, request: web.Request, answer: aiohttp.ClientResponse, cut_at: float | None
    ) -> web.StreamResponse:
        headers = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
        response = web.StreamResponse(status=answer.status, headers=headers)
        size = int(answer.headers.get("Content-Length", 0)) if request.method == "GET" else 0
        if cut_at is not None and not size:
            return self.cut(request)
        if size and self.next("shorten_next"):
            return await self.shortened(request, answer, headers)
        if size and self.next("flip_next"):
            return await self.flipped(request, answer, headers)
        if size and self.next("drip_next"):
            return await self.dripped(request, answer, headers)
        await response.prepare(request)
        sent = 0
        async for chunk in self.chunks(answer.content):
            if cut_at is not None and sent + len(chunk) > cut_at * size:
                return self.cut(request)
            await response.write(chunk)
            sent += len(chunk)
            self.counts["bytes_out"] += len(chunk)
        await response.write_eof()
        return response

    async def shortened(
        self, request: web.Request, answer: aiohttp.ClientResponse, headers: dict[str, str]
    ) -> web.StreamResponse:
        body = await answer.read()
        self.counts["shortened"] += 1
        kept = body[: len(body) // 2]
        response = web.StreamResponse(status=answer.status, headers={**headers, "Content-Length": str(len(kept))})
        await response.prepare(request)
        await response.write(kept)
        await response.write_eof()
        return response

    async def flipped(
        self, request: web.Request, answer: aiohttp.ClientResponse, headers: dict[str, str]
    ) -> web.StreamResponse:
        body = bytearray(await answer.read())
        self.counts["flipped"] += 1
        body[len(body) // 2] ^= 16
        return web.Response(status=answer.status, headers=headers, body=bytes(body))

    async def dripped(
        self, request: web.Request, answer: aiohttp.ClientResponse, headers: dict[str, str]
    ) -> web.StreamResponse:
        body = await answer.read()
        self.counts["dripped"] += 1
        response = web.StreamResponse(status=answer.status, headers=headers)
        await response.prepare(request)
        for byte in body:
            await response.write(bytes([byte]))
            await asyncio.sleep(0.5)
        await response.write_eof()
        return response

    async def chunks(self, stream: aiohttp.StreamReader) -> Any:
        while chunk := await stream.read(CHUNK):
            if self.faults.bytes_per_second:
                await asyncio.sleep(len(chunk) / self.faults.bytes_per_second)
            yield chunk

    def draw_of(self, request: web.Request) -> random.Random:
        # Without what differs from run to run: the identity of an upload, the folder of a test.
        path = re.sub("[0-9a-f]{32}", "", request.path)
        query = {name: value for name, value in request.query.items() if name != "uploadId"}
        asked = f"{request.method} {path} {sorted(query.items())} {request.headers.get('Range')}"
        self.seen[asked] += 1
        return random.Random(f"{self.faults.seed} {asked} {self.seen[asked]}")

    def next(self, name: str) -> bool:
        left = getattr(self.faults, name)
        self.faults = replace(self.faults, **{name: max(0, left - 1)})
        return left > 0

    def refusal(self, status: int, code: str) -> web.Response:
        self.counts[code] += 1
        text = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>injected</Message></Error>'
        return web.Response(status=status, text=text, content_type="application/xml")

    def cut(self, request: web.Request) -> web.Response:
        self.counts["cut"] += 1
        if request.transport is not None:
            request.transport.abort()
        return web.Response()


class FaultyProxy:
    """The proxy in a process of its own, as a context manager.

    Attributes
    ----------
    url : where it listens.
    """

    def __init__(self, target: str, **faults: Any) -> None:
        given = [f"--{name.replace('_', '-')}={value}" for name, value in faults.items()]
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--target", target, *given], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"

    def counts(self) -> Counter[str]:
        """Return what was injected and what went through since the faults were last set."""
        return Counter(self._asked("counts"))

    def set(self, **faults: Any) -> None:
        """Replace all faults and begin to count anew."""
        self._asked("faults", json.dumps(asdict(Faults(**faults))).encode())

    def _asked(self, name: str, data: bytes | None = None) -> Any:
        with urllib.request.urlopen(f"{self.url}/-/{name}", data, timeout=10) as answer:
            return json.load(answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def main() -> None:
    """Run the proxy as the command line says."""
    parser = argparse.ArgumentParser(description="A reverse proxy in front of S3 that injects faults.")
    parser.add_argument("--target", required=True, help="URL of the store")
    parser.add_argument("--port", type=int, default=0)
    for field in fields(Faults):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default)
    given = vars(parser.parse_args())
    target, port = given.pop("target"), given.pop("port")
    asyncio.run(Proxy(target.rstrip("/"), Faults(**given)).serve(port))


if __name__ == "__main__":
    main()
