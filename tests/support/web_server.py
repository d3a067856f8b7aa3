"""A web server of this machine, with the habits of those in the field."""

import gzip
import hashlib
import http.server
import socket
import threading
import time
import urllib.parse
from collections import Counter
from pathlib import Path


class WebServer:
    """Serves a folder; use it as a context.

    Parameters
    ----------
    folder : what is served.
    ranges : whether parts are handed out.
    habits : of "no head" (HEAD is answered 403), "chunked" (no sizes), "gzip" (bodies are packed on the way),
        "index" (folders are pages with links), "no version" (neither ETag nor date), "redirect" (through /to/...).
    faults : for each of the next requests of an object a status, "cut" for half a body, "drip" for a body and "drip
        head" for headers of a byte every tenth of a second; None for a good answer.
    headers : of answers that are faults.
    query : what follows the names in an index, such as a signature.
    """

    def __init__(self, folder, ranges=True, habits=("index",), faults=(), headers=None, query=""):
        self.folder, self.ranges, self.habits = Path(folder), ranges, set(habits)
        self.faults, self.headers, self.query = list(faults), headers or {}, query
        self.requests = Counter()
        self.authorization = []
        self.lock = threading.Lock()

    def __enter__(self):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), lambda *given: _Handler(self, *given))
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error):
        self.server.shutdown()
        self.server.server_close()

    def url(self, name=""):
        return f"http://127.0.0.1:{self.server.server_port}/{name}"

    def fault(self):
        with self.lock:
            return self.faults.pop(0) if self.faults else None


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fault = None

    def __init__(self, web, *given):
        self.web = web
        super().__init__(*given)

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.web.requests["HEAD"] += 1
        self.refuse(403 if "no head" in self.web.habits else 405)

    def do_GET(self):
        self.fault = None
        self.web.requests["GET"] += 1
        self.web.authorization.append(self.headers.get("Authorization"))
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        if "redirect" in self.web.habits and not path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", "/to" + self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        file = self.web.folder / path.removeprefix("/to/").lstrip("/")
        if file.is_dir():
            self.index(file)
        elif not file.is_file():
            self.refuse(404)
        elif isinstance(fault := self.web.fault(), int):
            self.refuse(fault)
        elif fault == "drip head":
            self.drip(b"HTTP/1.1 200 OK\r\nX-Slow: " + bytes(1000))
        else:
            self.fault = fault
            self.hand_out(file.read_bytes(), fault == "cut")

    def drip(self, data):
        self.close_connection = True
        for byte in data:
            try:
                self.wfile.write(bytes([byte]))
            except OSError:
                return
            time.sleep(0.1)

    def refuse(self, status):
        self.send_response(status)
        for name, value in self.web.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def index(self, folder):
        if "index" not in self.web.habits:
            self.refuse(403)
            return
        names = [f"{one.name}/" if one.is_dir() else one.name for one in sorted(folder.iterdir())]
        links = "".join(
            f'<a href="{urllib.parse.quote(name)}{self.web.query}">{name}</a>' for name in ["../", "?C=N;O=D", *names]
        )
        self.answer(200, links.encode(), {"Content-Type": "text/html; charset=utf-8"})

    def hand_out(self, data, cut):
        headers = {"Content-Type": "application/octet-stream"}
        if "no version" not in self.web.habits:
            headers |= {"ETag": f'"{hashlib.md5(data).hexdigest()}"', "Last-Modified": "Wed, 01 Jan 2025 00:00:00 GMT"}
        wanted = self.headers.get("Range")
        if wanted and self.web.ranges:
            self.web.requests["ranges"] += 1
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last) + 1, len(data))
            if start >= len(data):
                self.answer(416, b"", headers | {"Content-Range": f"bytes */{len(data)}"})
                return
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
            self.answer(206, data[start:end], headers, cut)
            return
        self.web.requests["whole"] += 1
        if "gzip" in self.web.habits:
            data = gzip.compress(data, 1, mtime=0)
            headers["Content-Encoding"] = "gzip"
        self.answer(200, data, headers, cut)

    def answer(self, status, data, headers, cut=False):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        chunked = "chunked" in self.web.habits and status == 200
        self.send_header(*(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(data)))))
        self.end_headers()
        if self.fault == "drip":
            self.drip(b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data) if chunked else data)
            return
        try:
            if chunked:
                for at in range(0, len(data) // 2 if cut else len(data), 40_000):
                    part = data[at : at + 40_000]
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                self.wfile.write(b"" if cut else b"0\r\n\r\n")
            else:
                self.wfile.write(data[: len(data) // 2] if cut else data)
        except OSError:
            # The client has what it wants.
            self.close_connection = True
        if cut:
            self.close_connection = True


def unknown_name(*_, **__):
    """What a machine's DNS may also say otherwise: that it does not know for now."""
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
