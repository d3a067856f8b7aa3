"""The part of S3 that a reader needs, in memory, so that timings do not measure the store.

    python -m benchmarks.lib.memory_s3          # prints its port and serves buckets of any name until it is killed

It puts whole objects, gets them whole or by range and etag, and lists a bucket by prefix and delimiter.
"""

import asyncio
import contextlib
import hashlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

from aiohttp import web

ROOT = Path(__file__).parents[2]
LAST_MODIFIED = "Wed, 01 Jan 2025 00:00:00 GMT"


class MemoryS3:
    """The store: objects by bucket/key."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, str]] = {}

    async def serve(self) -> None:
        """Serve until cancelled; prints the port."""
        app = web.Application(client_max_size=1 << 40)
        app.router.add_route("*", "/{path:.*}", self.handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()

    async def handle(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        if request.method == "PUT":
            data = await request.read()
            etag = f'"{hashlib.md5(data).hexdigest()}"'
            self.objects[path] = data, etag
            return web.Response(headers={"ETag": etag})
        if "list-type" in request.query:
            return self.listed(path.strip("/"), request.query.get("prefix", ""), request.query.get("delimiter", ""))
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

    def listed(self, bucket: str, prefix: str, delimiter: str) -> web.Response:
        contents, folders = [], set()
        for path, (data, etag) in sorted(self.objects.items()):
            key = path.removeprefix(f"{bucket}/")
            if path.startswith(f"{bucket}/{prefix}"):
                rest = key[len(prefix) :]
                if delimiter and delimiter in rest:
                    folders.add(prefix + rest.partition(delimiter)[0] + delimiter)
                else:
                    contents.append(
                        f"<Contents><Key>{escape(key)}</Key><Size>{len(data)}</Size><ETag>{escape(etag)}</ETag>"
                        "<LastModified>2025-01-01T00:00:00.000Z</LastModified></Contents>"
                    )
        common = "".join(f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>" for one in sorted(folders))
        body = f"<IsTruncated>false</IsTruncated>{''.join(contents)}{common}"
        return web.Response(text=f"<ListBucketResult>{body}</ListBucketResult>", content_type="application/xml")

    def refusal(self, status: int, code: str) -> web.Response:
        text = f"<Error><Code>{code}</Code></Error>"
        return web.Response(status=status, text=text, content_type="application/xml")


@contextlib.contextmanager
def memory_s3() -> Iterator[str]:
    """Serve from a process of its own; yields the endpoint."""
    command = [sys.executable, "-m", "benchmarks.lib.memory_s3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


if __name__ == "__main__":
    asyncio.run(MemoryS3().serve())
