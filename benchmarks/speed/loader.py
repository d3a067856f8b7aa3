"""Reading what a run kept from the pool's own tars, against webdataset reading everything and dropping the rest.

    python -m benchmarks.speed.loader [--json OUT] [--keep F] [--shards N] [--samples N] [--rounds N] [--s3]

Writes shards as img2dataset does, and the tables of a run that kept a random share of each. Each reader then reads the
pool in turn, the page cache warm: webdataset and a test of each key; the pipeline; and the pipeline when it knows the
places of the kept samples. Nothing is decoded. With --s3 the shards lie in an S3 in memory, behind a proxy that counts,
delays each answer by 20 ms and sends at most 100 MB/s for a connection; webdataset then reads through fsspec as well.
Prints the median of the rounds.
"""

import argparse
import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import webdataset as wds

from benchmarks.speed.reading import _sample
from filtering.config.run import Input
from filtering.core import schemas
from filtering.loaders import kept_pipeline
from filtering.manifests.artifacts import SHARDS, table_name
from filtering.runtime.run_record import RUN
from filtering.shards.inventory import list_shards
from filtering.shards.writer import write_shard
from filtering.storage.retries import taken
from filtering.storage.store import Store, stream_object

COLUMNS = ("reader", "kept samples/s", "seconds", "MB read", "share of bytes", "requests")
DELAY_SECONDS, BYTES_PER_SECOND = 0.02, 100e6
Counts = Callable[[], dict[str, int]]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="OUT", help="write the figures there, too")
    parser.add_argument("--keep", type=float, default=0.1, help="share of each shard that is kept")
    parser.add_argument("--shards", type=int, default=3)
    parser.add_argument("--samples", type=int, default=2500, help="samples in each shard")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--s3", action="store_true", help="read from S3")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, _place(folder, given.s3) as (place, counts):
        run, keys, size = _written(folder, place, given)
        rows = _rows(_measured(run, keys, f"{place}/places", counts, given.rounds), sum(map(len, keys.values())), size)
    print(f"{size / 1e6:,.0f} MB in {given.shards} shards, {given.keep:.0%} of samples kept")
    print("  ".join(f"{name:>24}" for name in COLUMNS))
    for row in rows:
        print("  ".join(f"{row[name]:>24,}" if name != "reader" else f"{row[name]:>24}" for name in COLUMNS))
    if given.json:
        Path(given.json).write_text(json.dumps(rows, indent=1) + "\n")
    return 0


@contextlib.contextmanager
def _place(folder: str, s3: bool) -> Iterator[tuple[str, Counts]]:
    """Yield where shards are written, and what counts bytes and requests since it was last called."""
    if not s3:
        yield folder, taken
        return
    from tests.support.faulty_proxy import FaultyProxy

    with _memory_s3() as endpoint, FaultyProxy(endpoint) as proxy:
        os.environ.update(AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b", AWS_DEFAULT_REGION="us-east-1")
        os.environ["AWS_ENDPOINT_URL"] = proxy.url

        def counts() -> dict[str, int]:
            found = proxy.counts()
            proxy.set(latency=DELAY_SECONDS, bytes_per_second=BYTES_PER_SECOND)
            return {"read_bytes": found["bytes_out"], "requests": found["requests"]}

        yield "s3://bucket", counts


@contextlib.contextmanager
def _memory_s3() -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.lib.memory_s3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


def _written(folder: str, place: str, given: argparse.Namespace) -> tuple[str, dict[str, set[str]], int]:
    """Write the pool and the tables of a run; return the run, the kept keys by shard, and the bytes of the shards."""
    noise, keys = random.Random(0), {}
    for shard in range(given.shards):
        samples = [_sample(noise, shard * 10_000 + at) for at in range(given.samples)]
        tar = write_shard(Path(folder) / "pool", shard, samples)
        url = f"{place}/pool/{tar.name}"
        if url != str(tar):
            # In one part: the store knows no other way.
            address = f"{os.environ['AWS_ENDPOINT_URL']}/{url.removeprefix('s3://')}"
            urllib.request.urlopen(urllib.request.Request(address, tar.read_bytes(), method="PUT")).close()
        kept = sorted(noise.sample(samples, round(given.keep * len(samples))), key=lambda sample: sample.key)
        keys[url] = {sample.key: sample.metadata["uid"] for sample in kept}
    return _run(f"{place}/run", keys), {url: set(kept) for url, kept in keys.items()}, _size(keys)


def _run(url: str, keys: dict[str, dict[str, str]]) -> str:
    run, lines = Store(url), []
    shards = list_shards(Input(shards=list(keys)))
    for shard in shards:
        rest = {"shard": shard.url, "concept": 0, "score": 0.0, "rank": 0}
        rows = [{"uid": uid, "key": key, **rest} for key, uid in keys[shard.url].items()]
        run.write_table(table_name("kept", shard.index), pa.Table.from_pylist(rows, schema=schemas.KEPT))
        lines.append(json.dumps({"url": shard.url, "kept": len(rows), "keys": table_name("kept", shard.index)}) + "\n")
    run.write(SHARDS, "".join(lines).encode())
    run.write_json("inventory/shards.json", [shard.plain() for shard in shards])
    config = {"input": {"shards": list(keys)}}
    run.write_json(RUN, {"config": config, "objects": {"inventory": "inventory"}, "manifest_hash": "0" * 64})
    return url


def _size(keys: dict[str, Any]) -> int:
    return sum(shard.size for shard in list_shards(Input(shards=list(keys))))


def _dropping(keys: dict[str, set[str]]) -> Iterator[dict[str, Any]]:
    """Read everything by webdataset and drop what is not kept."""
    opened = ({"url": url, "stream": stream_object(url)} for url in keys)
    samples = wds.tariterators.group_by_keys(wds.tariterators.tar_file_expander(opened))
    return (sample for sample in samples if sample["__key__"] in keys[sample["__url__"]])


def _measured(
    run: str, keys: dict[str, set[str]], places: str, counts: Counts, rounds: int
) -> dict[str, list[tuple[float, int, dict[str, int]]]]:
    """Return seconds, samples and counts of every round of each reader; a first round warms the page cache."""
    readers: dict[str, Callable[[], Any]] = {
        "webdataset, dropping": lambda: _dropping(keys),
        "pipeline": lambda: kept_pipeline(run),
        "pipeline, places known": lambda: kept_pipeline(run, offsets=places),
    }
    found: dict[str, list[Any]] = {name: [] for name in readers}
    for number in range(rounds + 1):
        for name, reader in readers.items():
            counts()
            started = time.perf_counter()
            samples = sum(1 for _ in reader())
            seconds = time.perf_counter() - started
            if number:
                found[name].append((seconds, samples, counts()))
    return found


def _rows(found: dict[str, list[Any]], kept: int, size: int) -> list[dict[str, Any]]:
    rows = []
    for name, rounds in found.items():
        if {samples for _, samples, _ in rounds} != {kept}:
            sys.exit(f"{name} did not find the {kept} samples that are kept")
        seconds, counted = statistics.median(one[0] for one in rounds), rounds[-1][2]
        figures = (name, round(kept / seconds), round(seconds, 3), round(counted["read_bytes"] / 1e6, 1))
        rows.append(
            dict(
                zip(
                    COLUMNS, (*figures, round(counted["read_bytes"] / size, 3), counted.get("requests", 0)), strict=True
                )
            )
        )
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
