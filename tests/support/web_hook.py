"""A webhook on this machine: it answers as it is told, and keeps what it got."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class Hook:
    """What a webhook got, and the answers that it still has to give: a status, headers, seconds before it answers."""

    port: int
    answers: list[tuple[int, dict[str, str], float]] = field(default_factory=list)
    got: list[tuple[str, dict[str, str], dict]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook/secret-of-the-address"

    @property
    def payloads(self) -> list[dict]:
        return [payload for _, _, payload in self.got]

    def answer(self, status: int, seconds: float = 0, **headers: str) -> None:
        self.answers.append((status, {name.replace("_", "-"): value for name, value in headers.items()}, seconds))


class _Handler(BaseHTTPRequestHandler):
    hook: Hook

    def do_POST(self):
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.hook.got.append((self.path, dict(self.headers), json.loads(data)))
        status, headers, seconds = self.hook.answers.pop(0) if self.hook.answers else (200, {}, 0)
        time.sleep(seconds)
        self.send_response(status)
        for name, value in (headers | {"Content-Length": "0"}).items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *arguments):
        pass


@contextmanager
def web_hook() -> Iterator[Hook]:
    handler = type("Handler", (_Handler,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        handler.hook = Hook(server.server_port)
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield handler.hook
        server.shutdown()
