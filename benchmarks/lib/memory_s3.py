"""The part of S3 that a reader needs, in memory, so that timings do not measure the store.

    python -m benchmarks.lib.memory_s3 [--objects FILE]          # prints its port and serves until it is killed

It puts whole objects in buckets of any name, gets them whole or by range and etag, deletes them, and lists a bucket by
prefix and delimiter in pages. POST /-/latency?seconds=0.02 lets every answer wait. GET /-/counts tells the requests
since, by folder of a run's stage and kind, and the markers that were put. The objects of FILE, as `save` wrote it, are
there from the beginning.
"""

import asyncio
import bisect
import contextlib
import hashlib
import pickle
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote, unquote
from xml.sax.saxutils import escape, unescape

from aiohttp import web

ROOT = Path(__file__).parents[2]
MOST_KEYS = 1_000
# The folder of a stage's objects; and what follows every character of a key.
STAGE = re.compile(r"stages/([a-z_0-9.]+)-[0-9a-f]{16}")
LAST_CHARACTER = "\U0010ffff"
LAST_MODIFIED = "Wed, 01 Jan 2025 00:00:00 GMT"


def etag(data: bytes) -> str:
    """Return the etag of an object, with its quotes."""
    return f'"{hashlib.md5(data).hexdigest()}"'


def folder_of(path: str) -> str:
    """Return the name of the stage that an object is of."""
    found = STAGE.search(path)
    return found[1] if found else "other"


def save(objects: Mapping[str, bytes], file: Path) -> None:
    """Write objects, by bucket/key, for `--objects`."""
    with file.open("wb") as stream:
        pickle.dump(dict(objects), stream)


class MemoryS3:
    """The store: objects by bucket/key."""

    def __init__(self, objects: Mapping[str, bytes] | None = None) -> None:
        self.objects = {path: (data, etag(data)) for path, data in (objects or {}).items()}
        # All keys, as listings go through them.
        self.keys = sorted(self.objects)
        self.latency = 0.0
        self.counts: Counter[str] = Counter()

    async def serve(self) -> None:
        """Serve until cancelled; prints the port."""
        app = web.Application(client_max_size=1 << 40)
        app.router.add_get("/-/counts", self.told)
        app.router.add_post("/-/latency", self.delayed)
        app.router.add_route("*", "/{path:.*}", self.handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()

    async def told(self, _: web.Request) -> web.Response:
        """Answer with the requests so far."""
        return web.json_response(self.counts)

    async def delayed(self, request: web.Request) -> web.Response:
        """Let every answer from now on wait, and count requests anew."""
        self.latency = float(request.query["seconds"])
        self.counts.clear()
        return web.Response()

    async def handle(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        self.count(request, path)
        await asyncio.sleep(self.latency)
        if request.method == "PUT":
            return await self.put(request, path)
        if request.method == "POST" and "delete" in request.query:
            for key in re.findall(r"<Key>(.*?)</Key>", await request.text()):
                self.delete(f"{path.strip('/')}/{unescape(key)}")
            return web.Response(text="<DeleteResult></DeleteResult>", content_type="application/xml")
        if request.method == "DELETE":
            self.delete(path)
            return web.Response(status=204)
        if "list-type" in request.query:
            return self.listed(path.strip("/"), request.query)
        if path not in self.objects:
            return self.refusal(404, "NoSuchKey")
        data, etag = self.objects[path]
        if request.headers.get("If-Match", etag) != etag:
            return self.refusal(412, "PreconditionFailed")
        return self.part(request, data, {"ETag": etag, "Last-Modified": LAST_MODIFIED})

    def part(self, request: web.Request, data: bytes, headers: dict[str, str]) -> web.Response:
        asked = re.match(r"bytes=(\d*)-(\d*)", request.headers.get("Range", ""))
        if request.method == "HEAD":
            return web.Response(headers=headers | {"Content-Length": str(len(data))})
        if asked is None:
            return web.Response(body=data, headers=headers)
        start = int(asked[1]) if asked[1] else max(0, len(data) - int(asked[2]))
        stop = min(len(data), int(asked[2]) + 1) if asked[1] and asked[2] else len(data)
        if start >= len(data):
            return self.refusal(416, "InvalidRange")
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
        return web.Response(status=206, body=memoryview(data)[start:stop], headers=headers)

    def count(self, request: web.Request, path: str) -> None:
        """Count a request by where it goes."""
        listing = "list-type" in request.query
        folder = folder_of(request.query.get("prefix", "") if listing else path)
        self.counts[f"{folder} {'LIST' if listing else request.method}"] += 1
        if request.method == "PUT" and path.endswith(".done"):
            self.counts[f"{folder} done"] += 1

    async def put(self, request: web.Request, path: str) -> web.Response:
        """Put an object, unless it is to be a new one and is there."""
        data = await request.read()
        if path in self.objects and "If-None-Match" in request.headers:
            return self.refusal(412, "PreconditionFailed")
        if path not in self.objects:
            bisect.insort(self.keys, path)
        self.objects[path] = data, etag(data)
        return web.Response(headers={"ETag": etag(data)})

    def delete(self, path: str) -> None:
        """Delete an object, if it is there."""
        if self.objects.pop(path, None) is not None:
            del self.keys[bisect.bisect_left(self.keys, path)]

    def listed(self, bucket: str, query: Mapping[str, str]) -> web.Response:
        """Answer with a page of a listing; it goes on after the key, or folder, that is its token."""
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        most, token = int(query.get("max-keys", MOST_KEYS)), unquote(query.get("continuation-token", ""))
        at = bisect.bisect_left(self.keys, f"{bucket}/{token or prefix}")
        found, last, top = list[str](), "", len(bucket) + 1
        while at < len(self.keys) and self.keys[at].startswith(f"{bucket}/{prefix}") and len(found) < most:
            key = self.keys[at][top:]
            folder, inside, _ = key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            if inside:
                last = f"{prefix}{folder}{delimiter}"
                found.append(f"<CommonPrefixes><Prefix>{escape(last)}</Prefix></CommonPrefixes>")
                at = bisect.bisect_left(self.keys, f"{bucket}/{last}{LAST_CHARACTER}")
                last += LAST_CHARACTER
            else:
                data, etag = self.objects[self.keys[at]]
                found.append(
                    f"<Contents><Key>{escape(key)}</Key><Size>{len(data)}</Size><ETag>{escape(etag)}</ETag>"
                    "<LastModified>2025-01-01T00:00:00.000Z</LastModified></Contents>"
                )
                last, at = f"{key}\x01", at + 1
        more = at < len(self.keys) and self.keys[at].startswith(f"{bucket}/{prefix}")
        following = f"<NextContinuationToken>{quote(last)}</NextContinuationToken>" if more else ""
        body = f"<IsTruncated>{str(more).lower()}</IsTruncated>{following}{''.join(found)}"
        return web.Response(text=f"<ListBucketResult>{body}</ListBucketResult>", content_type="application/xml")

    def refusal(self, status: int, code: str) -> web.Response:
        text = f"<Error><Code>{code}</Code></Error>"
        return web.Response(status=status, text=text, content_type="application/xml")


@contextlib.contextmanager
def memory_s3(objects: Path | None = None) -> Iterator[str]:
    """Serve from a process of its own; yields the endpoint. At the beginning it has what `save` wrote to a file."""
    given = [] if objects is None else ["--objects", str(objects)]
    command = [sys.executable, "-m", "benchmarks.lib.memory_s3", *given]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


if __name__ == "__main__":
    given = sys.argv[1:]
    asyncio.run(MemoryS3(pickle.loads(Path(given[1]).read_bytes()) if given else None).serve())
