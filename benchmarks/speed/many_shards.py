"""Many small shards on S3: the requests of each stage, and how long a resumed run takes to its first new task.

    python -m benchmarks.speed.many_shards [--shards 1000 4000] [--rows 4] [--latency 0.02] [--stage measures]

The pool is DataComp metadata. A process runs over it with all objects in its memory, which takes a fraction of the time
that requests would, and ends without a word in the middle of a late stage. Then benchmarks.lib.memory_s3 has these
objects, every request takes `--latency` seconds, and `filtering run` is timed until the marker of its first task.
Requests of the first run are counted where they would be made.
"""

import bisect
import hashlib
import io
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.lib.arguments import add_outputs, parser_of
from benchmarks.lib.memory_s3 import etag, folder_of, memory_s3, save
from benchmarks.lib.processes import watched
from benchmarks.lib.tables import Row, print_table, write_outputs
from filtering.config.run import parse_config
from filtering.pipeline.run import run
from filtering.runtime.progress import LineReporter

DIMENSION = 16
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
CONFIG: Row = {
    "input": {"metadata": "s3://pool/metadata/*.parquet"},
    "selection": {"method": "d2", "variant": "paper", "score": "clip_score", "keep": 0.3},
    "output": "s3://runs/run",
    "ray": {"address": "none"},
}
# Markers of the stage in which the run is killed, when it is.
WORKED = 20
POLL_SECONDS = 0.05


def shard(number: int, rows: int) -> tuple[str, bytes, bytes]:
    """Return the stem of a shard's objects, and its table and arrays."""
    random = np.random.default_rng(number)
    vectors = random.normal(size=(2, rows, DIMENSION))
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    uids = [hashlib.md5(f"{number}-{row}".encode()).hexdigest() for row in range(rows)]
    size = pa.array([256] * rows, pa.int64())
    table = {"uid": uids, "url": uids, "text": [f"picture {one}" for one in uids], "sha256": uids}
    table |= {"original_width": size, "original_height": size}
    parquet, arrays = io.BytesIO(), io.BytesIO()
    pq.write_table(pa.table(table), parquet)
    np.savez(arrays, l14_img=vectors[0].astype(np.float16), l14_txt=vectors[1].astype(np.float16))
    return f"{number:08d}", parquet.getvalue(), arrays.getvalue()


class Bucket(fsspec.AbstractFileSystem):  # type: ignore[misc]
    """The store of the first run: what it describes of an object is what S3 describes of it."""

    protocol = "s3"
    objects: ClassVar[dict[str, bytes]] = {}
    keys: ClassVar[list[str]] = []
    counts: ClassVar[Counter[str]] = Counter()

    def info(self, path: str, **_: Any) -> Row:
        """Describe an object or a folder."""
        path = self._counted(path, "HEAD")
        if path in self.objects:
            return self._described(path)
        if next(self._inside(path), None) is None:
            raise FileNotFoundError(path)
        return {"name": path, "size": 0, "type": "directory"}

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """List a folder."""
        path = self._counted(path, "LIST")
        names = dict.fromkeys(f"{path}/{name[len(path) + 1 :].partition('/')[0]}" for name in self._inside(path))
        found = [self._described(name) for name in names]
        return found if detail else list(names)

    def find(self, path: str, maxdepth: Any = None, withdirs: bool = False, detail: bool = False, **_: Any) -> Any:
        """List all objects inside."""
        path = self._counted(path, "LIST")
        return {name: self._described(name) for name in self._inside(path)} if detail else list(self._inside(path))

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """Return an object, or a range of it."""
        path = self._counted(path, "GET")
        if path not in self.objects:
            raise FileNotFoundError(path)
        return self.objects[path][start:end]

    def read_block(self, path: str, start: int, end: int, version: str = "") -> bytes:
        """Return a range of an object; no object is ever written again here."""
        return self.cat_file(path, start, end)

    def create(self, path: str, data: bytes) -> bool:
        """Put an object that is not there."""
        self.pipe_file(path, data)
        return True

    def _open(self, path: str, mode: str = "rb", **_: Any) -> io.BytesIO:
        stream = _Described(self.cat_file(path))
        stream.details = self.info(path)
        return stream

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        """Put an object."""
        path = self._counted(path, "PUT")
        if path not in self.objects:
            bisect.insort(self.keys, path)
        self.objects[path] = bytes(value)
        if path.endswith(".done"):
            self.counts[f"{folder_of(path)} done"] += 1

    def put_file(self, lpath: str, rpath: str, **_: Any) -> None:
        """Put a file."""
        self.pipe_file(rpath, Path(lpath).read_bytes())

    def rm_file(self, path: str) -> None:
        """Delete an object."""
        path = self._counted(path, "DELETE")
        if self.objects.pop(path, None) is not None:
            del self.keys[bisect.bisect_left(self.keys, path)]

    def rm(self, path: Any, recursive: bool = False, maxdepth: Any = None) -> None:
        """Delete objects, or all of a folder."""
        for one in [path] if isinstance(path, str) else path:
            for name in list(self._inside(self._strip_protocol(one))) if recursive else [one]:
                self.rm_file(name)

    def created(self, path: str) -> Any:
        """Say nothing: objects have etags."""
        raise NotImplementedError

    def _described(self, path: str) -> Row:
        if path not in self.objects:
            return {"name": path, "size": 0, "type": "directory"}
        data = self.objects[path]
        return {"name": path, "size": len(data), "type": "file", "ETag": etag(data)}

    def _inside(self, path: str) -> Iterator[str]:
        at = bisect.bisect_left(self.keys, f"{path}/")
        while at < len(self.keys) and self.keys[at].startswith(f"{path}/"):
            yield self.keys[at]
            at += 1

    def _counted(self, path: str, kind: str) -> str:
        path = self._strip_protocol(path).rstrip("/")
        self.counts[f"{folder_of(path)} {kind}"] += 1
        return path


class _Described(io.BytesIO):
    details: Row


class _Killed(LineReporter):
    """Ends the process, as kill -9 would, once a stage has put some markers; what it has written is saved."""

    def __init__(self, stage: str, file: Path) -> None:
        super().__init__()
        self.last_stage, self.file = stage, file

    def advance(self, done: int, note: str = "") -> None:
        """Look whether it is time."""
        super().advance(done, note)
        if Bucket.counts[f"{self.last_stage} done"] >= WORKED:
            save(Bucket.objects, self.file)
            self.file.with_suffix(".json").write_text(json.dumps(Bucket.counts))
            os._exit(0)


def first_run(shards: int, rows: int, stage: str, file: Path) -> None:
    """Run over a pool of some shards until a stage, in which the process ends; write the objects to a file."""
    fsspec.register_implementation("s3", Bucket, clobber=True)
    for number in range(shards):
        stem, table, arrays = shard(number, rows)
        Bucket.objects |= {f"pool/metadata/{stem}.parquet": table, f"pool/metadata/{stem}.npz": arrays}
    Bucket.keys += sorted(Bucket.objects)
    run(parse_config(CONFIG), _Killed(stage, file))


class Resumed:
    """A killed run on an S3 that takes its time."""

    def __init__(self, endpoint: str, folder: Path) -> None:
        self.endpoint = endpoint
        config = folder / "run.yaml"
        config.write_text(json.dumps(CONFIG))
        self.command = [sys.executable, "-m", "filtering", "run", "--config", str(config)]
        self.env = os.environ | KEYS | {"AWS_ENDPOINT_URL": endpoint, "FSSPEC_S3_ENDPOINT_URL": endpoint}

    def counts(self) -> dict[str, int]:
        """Return the requests so far."""
        with urllib.request.urlopen(f"{self.endpoint}/-/counts") as answer:
            found: dict[str, int] = json.load(answer)
        return found

    def measure(self, latency: float) -> Row:
        """Start the run; return its seconds until its first marker, those of its CPU, peak memory and requests."""
        urllib.request.urlopen(urllib.request.Request(f"{self.endpoint}/-/latency?seconds={latency}", b"")).close()
        begun = time.monotonic()
        process = subprocess.Popen(self.command, env=self.env, stdout=subprocess.DEVNULL, text=True)
        with watched(process) as peak:
            while not any(name.endswith(" done") for name in self.counts()):
                if process.poll() is not None:
                    sys.exit("the resumed run ended before it did anything")
                time.sleep(POLL_SECONDS)
            seconds, cpu = time.monotonic() - begun, cpu_seconds(process.pid)
            process.kill()
            process.wait()
        found = {"seconds": round(seconds, 1), "CPU s": round(cpu, 1), "GB": round(peak.bytes / 1e9, 2)}
        return found | {"requests": requests_in(self.counts())}


def cpu_seconds(process: int) -> float:
    """Return the seconds that a process has worked so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measured(shards: int, rows: int, latency: float, stage: str) -> tuple[Row, list[Row]]:
    """Return what a resumed run over some shards takes, and the requests of each stage before and after the kill."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "objects.pickle"
        first = multiprocessing.get_context("spawn").Process(target=first_run, args=(shards, rows, stage, file))
        first.start()
        first.join()
        if not file.exists():
            sys.exit(f"the run ended before {WORKED} tasks of {stage}")
        before = json.loads(file.with_suffix(".json").read_text())
        with memory_s3(file) as endpoint:
            resumed = Resumed(endpoint, Path(folder))
            found: Row = {"shards": shards} | resumed.measure(latency)
            after = resumed.counts()
    found["requests of the first run a shard"] = round(requests_in(before) / shards, 1)
    asked = {"first": before, "resumed": after}
    return found, [
        {"run": name, "shards": shards, **row} for name, counts in asked.items() for row in _by_stage(counts)
    ]


def requests_in(counts: dict[str, int]) -> int:
    """Return all requests of some counts."""
    return sum(count for name, count in counts.items() if not name.endswith(" done"))


def _by_stage(counts: dict[str, int]) -> list[Row]:
    rows: dict[str, Row] = {}
    for name, count in counts.items():
        stage, _, kind = name.rpartition(" ")
        rows.setdefault(stage, {"stage": stage})[kind] = count
    return list(rows.values())


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--shards", type=int, nargs="+", default=[1_000, 4_000])
    parser.add_argument("--rows", type=int, default=4, help="rows of each shard")
    parser.add_argument("--latency", type=float, default=0.02, help="seconds of every request of the resumed run")
    parser.add_argument("--stage", default="measures", help="where the first run is killed")
    add_outputs(parser)
    given = parser.parse_args(arguments)
    rows, requests = list[Row](), list[Row]()
    for shards in given.shards:
        found, by_stage = measured(shards, given.rows, given.latency, given.stage)
        rows.append(found)
        requests += by_stage
        print_table(by_stage)
    print_table(rows)
    write_outputs({"runs": rows, "requests": requests} if not given.plot else rows, given.json, given.plot)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
