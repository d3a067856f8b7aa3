"""Reading the samples that a run kept from the pool's own tars, against webdataset reading everything.

    python -m benchmarks.speed.loader [--keep F] [--shards N] [--samples N] [--rounds N] [--s3] [--json OUT]

Writes shards as img2dataset does, and the tables of a run that kept a random share of each. Each reader then reads
the pool in turn, with a warm page cache: webdataset and a test of each key; the pipeline over a run of an older
version, which noted no offsets; and the pipeline over a run that noted them. Nothing is decoded. With --s3 the shards
lie in an S3 in memory, behind a proxy that counts, delays each answer by 20 ms and sends at most 100 MB/s over a
connection; webdataset then reads through fsspec as well.
Prints the median of the rounds.
"""

import argparse
import contextlib
import os
import random
import statistics
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import webdataset as wds

from benchmarks.lib.arguments import add_outputs, parser_of
from benchmarks.lib.memory_s3 import memory_s3
from benchmarks.lib.samples import noise_samples
from benchmarks.lib.tables import Row, print_table, write_outputs
from benchmarks.lib.timing import timed
from filtering.config.input import Input
from filtering.loaders import kept_pipeline
from filtering.shards.inventory import list_shards
from filtering.shards.writer import write_shard
from filtering.storage.retries import taken
from filtering.storage.store import stream_object
from tests.support.faulty_proxy import FaultyProxy
from tests.support.finished_runs import write_finished
from tests.support.s3_endpoint import s3_at

KEYS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
DELAY_SECONDS, BYTES_PER_SECOND = 0.02, 100e6

Counts = Callable[[], dict[str, int]]


@dataclass(frozen=True, slots=True)
class Kept:
    """A run over a pool.

    Attributes
    ----------
    run : its URL.
    older : the URL of the same run, without offsets.
    keys : of the kept samples, by the URL of their shard.
    size : of all shards, in bytes.
    """

    run: str
    older: str
    keys: dict[str, set[str]]
    size: int

    @property
    def count(self) -> int:
        """The number of kept samples."""
        return sum(map(len, self.keys.values()))


@dataclass(frozen=True, slots=True)
class Round:
    """One reader's seconds, samples, and bytes and requests."""

    seconds: float
    samples: int
    counts: dict[str, int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--keep", type=float, default=0.1, help="the share of each shard that is kept")
    parser.add_argument("--shards", type=int, default=3)
    parser.add_argument("--samples", type=int, default=2500, help="in each shard, of 20 to 60 kB")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--s3", action="store_true", help="read from S3")
    add_outputs(parser)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, _place(folder, given.s3) as (place, counts):
        kept = _written(Path(folder), place, given)
        rows = _rows(_measured(kept, counts, given.rounds), kept)
    print(f"{kept.size / 1e6:,.0f} MB in {given.shards} shards, {given.keep:.0%} of samples kept")
    print_table(rows)
    write_outputs(rows, given.json, given.plot)
    return 0


@contextlib.contextmanager
def _place(folder: str, s3: bool) -> Iterator[tuple[str, Counts]]:
    """Yield where shards are written, and a function that counts bytes and requests since its last call."""
    if not s3:
        yield folder, taken
        return
    with memory_s3() as endpoint, FaultyProxy(endpoint) as proxy:

        def counts() -> dict[str, int]:
            found = proxy.counts()
            proxy.set(latency=DELAY_SECONDS, bytes_per_second=BYTES_PER_SECOND)
            return {"read_bytes": found["bytes_out"], "requests": found["requests"]}

        with s3_at(proxy.url, KEYS):
            yield "s3://bucket", counts


def _written(folder: Path, place: str, given: argparse.Namespace) -> Kept:
    """Write the pool and the tables of a run."""
    noise, keys, uids = random.Random(0), dict[str, set[str]](), set[str]()
    for shard in range(given.shards):
        samples = noise_samples(noise, shard, given.samples)
        tar = write_shard(folder / "pool", shard, samples)
        url = f"{place}/pool/{tar.name}"
        if url != str(tar):
            _put(url, tar.read_bytes())
        kept = noise.sample(samples, round(given.keep * len(samples)))
        keys[url] = {sample.key for sample in kept}
        uids |= {str(sample.metadata["uid"]) for sample in kept}
    noted, older = (
        write_finished(f"{place}/{name}", tuple(keys), lambda uid: uid in uids, noted=name == "run")
        for name in ("run", "older")
    )
    return Kept(noted.url, older.url, keys, sum(shard.size for shard in list_shards(Input(shards=list(keys)))))


def _put(url: str, data: bytes) -> None:
    # In one part: the store in memory takes no others.
    address = f"{os.environ['AWS_ENDPOINT_URL']}/{url.removeprefix('s3://')}"
    urllib.request.urlopen(urllib.request.Request(address, data, method="PUT")).close()


def _dropping(keys: dict[str, set[str]]) -> Iterator[dict[str, Any]]:
    """Read everything by webdataset and drop the samples that are not kept."""
    opened = ({"url": url, "stream": stream_object(url)} for url in keys)
    samples = wds.tariterators.group_by_keys(wds.tariterators.tar_file_expander(opened))
    return (sample for sample in samples if sample["__key__"] in keys[sample["__url__"]])


def _measured(kept: Kept, counts: Counts, rounds: int) -> dict[str, list[Round]]:
    """Return every round of each reader; a first round warms the page cache."""
    readers: dict[str, Callable[[], Iterable[Any]]] = {
        "webdataset, dropping": lambda: _dropping(kept.keys),
        "pipeline, no offsets noted": lambda: kept_pipeline(kept.older),
        "pipeline": lambda: kept_pipeline(kept.run),
    }
    found: dict[str, list[Round]] = {name: [] for name in readers}
    for number in range(rounds + 1):
        for name, reader in readers.items():
            counts()
            seconds, samples = timed(partial(_count, reader))
            if number:
                found[name].append(Round(seconds, samples, counts()))
    return found


def _count(reader: Callable[[], Iterable[Any]]) -> int:
    return sum(1 for _ in reader())


def _rows(found: dict[str, list[Round]], kept: Kept) -> list[Row]:
    rows = []
    for name, rounds in found.items():
        if {one.samples for one in rounds} != {kept.count}:
            sys.exit(f"{name} did not find the {kept.count} samples that are kept")
        seconds, counted = statistics.median(one.seconds for one in rounds), rounds[-1].counts
        rows.append(
            {
                "reader": name,
                "kept samples/s": round(kept.count / seconds),
                "seconds": round(seconds, 3),
                "MB read": round(counted["read_bytes"] / 1e6, 1),
                "share of bytes": round(counted["read_bytes"] / kept.size, 3),
                "requests": counted.get("requests", 0),
            }
        )
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
